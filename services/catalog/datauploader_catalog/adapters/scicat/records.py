"""Translates between SciCat's records and the port's values: proposals, datasets, people."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import Any
from uuid import UUID

from datauploader.days import today
from datauploader.plugins.catalogue.errors import BadAnswer, CatalogueRefused
from datauploader.plugins.catalogue.port import (
    NO_ACCOUNT,
    CatalogueInvestigation,
    CatalogueUser,
    Dataset,
    NewDataset,
    NewInvestigation,
)
from datauploader_catalog.adapters.beamtime import at_facility, reason_closed
from datauploader_catalog.settings import ScicatSettings

Record = Mapping[str, Any]
NOT_YET = "filesNotYetAvailable"
"""The status of a dataset whose files are still on their way; SciCat's own tools use the same word."""
FIRST_VISIT = "1"
"""The visit of a proposal that says nothing of visits."""
_OURS = "datauploader"
"""Under which key a proposal's metadata hold the name and the visit that its id is made of."""
_EMAIL = re.compile(r"[^@\s;]+@[^@\s;]+\.[^@\s;]+")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")
_NEW_LIFECYCLE = {"isOnCentralDisk": False, "archivable": False, "archiveStatusMessage": NOT_YET}
COMPLETE_LIFECYCLE = {"isOnCentralDisk": True, "archivable": True, "archiveStatusMessage": "datasetCreated"}


def text(record: Record, name: str) -> str:
    """Return a field that is a text, "" where it is missing."""
    value = record.get(name)
    return value if isinstance(value, str) else ""


def texts(record: Record, name: str) -> tuple[str, ...]:
    """Return a field that is a list of texts."""
    value = record.get(name)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def number(record: Record, name: str) -> int:
    """Return a field that is a whole number, 0 where it is missing."""
    value = record.get(name)
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def read_user(identity: Record, settings: ScicatSettings) -> CatalogueUser:
    """Read who somebody is; the numbers on the storage are what the identity provider claims, else 0."""
    profile = profile_of(identity)
    user_id = text(identity, "userId") if settings.people_by == "id" else text(profile, "username")
    if not user_id:
        raise BadAnswer(f"SciCat's answer does not say the {settings.people_by} of a user; it is retried.")
    claims = profile.get("oidcClaims")
    uid, gid = (_claim(claims, name) for name in (settings.uid_claim, settings.gid_claim))
    return CatalogueUser(user_id, text(profile, "username") or user_id, uid, gid)


def profile_of(identity: Record) -> Record:
    """Return what an identity says about a person."""
    profile = identity.get("profile")
    return profile if isinstance(profile, dict) else {}


def groups_of(identity: Record) -> frozenset[str]:
    """Return a person's groups, as the identity provider said them at their last sign-in."""
    return frozenset(texts(profile_of(identity), "accessGroups"))


def belongs(groups: frozenset[str], proposal: Record) -> bool:
    """Tell whether somebody in these groups belongs to a proposal."""
    return bool(groups & {text(proposal, "ownerGroup"), *texts(proposal, "accessGroups")} - {""})


def email_of(records: Iterable[Record], settings: ScicatSettings) -> str:
    """Return the first address that SciCat accepts, of a profile or a proposal."""
    found = (text(record, name) for record in records for name in ("email", "pi_email"))
    return next((one for one in found if _EMAIL.fullmatch(one)), settings.contact_email)


def read_investigation(
    proposal: Record, instruments: Mapping[str, str], settings: ScicatSettings
) -> CatalogueInvestigation:
    """Read a proposal; its dates and its beamline may be those of its measurement periods."""
    proposal_id = text(proposal, "proposalId")
    if not proposal_id:
        raise BadAnswer("SciCat's answer holds a proposal without an id; it is retried.")
    name, visit = _natural_key(proposal)
    found = proposal.get("MeasurementPeriodList")
    periods = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    start = _day(text(proposal, "startTime") or min((text(p, "start") for p in periods), default=""), settings)
    end = _day(text(proposal, "endTime") or max((text(p, "end") for p in periods), default=""), settings)
    named = [*texts(proposal, "instrumentIds"), *(text(p, "instrument") for p in periods)]
    beamline = next((instruments.get(one, one) for one in named if one), "")
    reason = reason_closed(end, settings.closed_after_days, today(settings.timezone))
    return CatalogueInvestigation(
        id=proposal_id, name=name, visit=visit, title=text(proposal, "title") or proposal_id,
        base_dir=_base_dir(proposal_id, text(proposal, "ownerGroup"), beamline, start, settings),
        active=not reason, reason=reason, beamline=beamline, start=start, end=end,
        principal_investigator=leader(proposal), description=text(proposal, "abstract"),
    )  # fmt: skip


def leader(proposal: Record) -> str:
    """Return the name of the principal investigator, else of the proposer."""
    for first, last in (("pi_firstname", "pi_lastname"), ("firstname", "lastname")):
        if name := f"{text(proposal, first)} {text(proposal, last)}".strip():
            return name
    return ""


def proposal_id(name: str, visit: str) -> str:
    """Return the id of an investigation: SciCat knows no visits, so another than the first is a part of it."""
    return name if visit == FIRST_VISIT else f"{name}.{visit}"


def new_proposal(
    wanted: NewInvestigation, profile: Record, instruments: Mapping[str, str], settings: ScicatSettings
) -> dict[str, Any]:
    """Write a proposal as SciCat takes it; `instruments` are names by id."""
    user = text(profile, "username")
    days = {"startTime": (wanted.start, clock.min), "endTime": (wanted.end, clock(23, 59, 59))}
    found = [pid for pid, name in instruments.items() if _word(name) == _word(wanted.beamline) and wanted.beamline]
    body: dict[str, Any] = {
        "proposalId": proposal_id(wanted.name, wanted.visit),
        "title": wanted.title,
        "email": email_of((profile,), settings),
        "ownerGroup": settings.create_group.format(investigation=wanted.name, visit=wanted.visit, user=user),
        **{
            name: at_facility(day, at, settings.timezone).astimezone(UTC).isoformat()
            for name, (day, at) in days.items()
            if day
        },
    }
    if found:
        body["instrumentIds"] = found[:1]
    if wanted.visit != FIRST_VISIT:
        body["metadata"] = {_OURS: {"name": wanted.name, "visit": wanted.visit}}
    return body


def pid_of(investigation_id: str, name: str, settings: ScicatSettings) -> str:
    """Return the pid of a dataset, the only key that SciCat keeps unique: the same for the same names, for ever."""
    digest = hashlib.sha256(f"{investigation_id}\0{name}".encode()).digest()
    uuid = str(UUID(bytes=digest[:16], version=4))
    return settings.pid.format(uuid=uuid, UUID=uuid.upper())


def read_dataset(record: Record) -> Dataset:
    """Read a dataset in either interface; it is complete once its files are not said to be still on their way."""
    pid, lifecycle = text(record, "pid"), record.get("datasetlifecycle")
    if not pid or not isinstance(lifecycle, dict):
        raise BadAnswer("SciCat's answer holds a dataset without pid or lifecycle; it is retried.")
    investigation = next(iter(texts(record, "proposalIds")), text(record, "proposalId"))
    complete = text(lifecycle, "archiveStatusMessage") != NOT_YET
    return Dataset(pid, investigation, text(record, "datasetName"), text(record, "sourceFolder"), complete)


def new_dataset(
    wanted: NewDataset, proposal: Record, investigation: CatalogueInvestigation, profile: Record, api: str,
    settings: ScicatSettings,
) -> dict[str, Any]:  # fmt: skip
    """Write a dataset as SciCat takes it in this interface: of the proposal's groups, and not there yet."""
    remote, _, path = wanted.location.rpartition(":")
    folder = settings.source_folder.format(remote=remote, path=path.strip("/") or wanted.name)
    person = text(profile, "displayName") or text(profile, "username")
    head = leader(proposal) or person or settings.contact_email
    instruments = list(texts(proposal, "instrumentIds"))
    body: dict[str, Any] = {
        "pid": pid_of(wanted.investigation_id, wanted.name, settings),
        "type": wanted.type,
        "datasetName": wanted.name,
        "description": wanted.description,
        "owner": person or head,
        "contactEmail": email_of((profile, proposal), settings),
        "sourceFolder": folder,
        "creationTime": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "creationLocation": settings.creation_location.format(beamline=investigation.beamline),
        "ownerGroup": text(proposal, "ownerGroup"),
        "accessGroups": list(texts(proposal, "accessGroups")),
        "datasetlifecycle": _NEW_LIFECYCLE,
    }
    if api == "v4":
        one = {"proposalIds": [wanted.investigation_id], "principalInvestigators": [head], "instrumentIds": instruments}
        return body | one
    old = {"proposalId": wanted.investigation_id, "principalInvestigator": head}
    return body | old | ({"instrumentId": instruments[0]} if instruments else {})


def after(moment: str) -> str:
    """Return a time just after this one: SciCat takes a record as changed also where the times are the same."""
    try:
        return (datetime.fromisoformat(moment) + timedelta(milliseconds=1)).isoformat(timespec="milliseconds")
    except ValueError:
        return ""


def _natural_key(proposal: Record) -> tuple[str, str]:
    metadata = proposal.get("metadata")
    ours = metadata.get(_OURS) if isinstance(metadata, dict) else None
    if isinstance(ours, dict) and text(ours, "name") and text(ours, "visit"):
        return text(ours, "name"), text(ours, "visit")
    return text(proposal, "proposalId"), FIRST_VISIT


def _base_dir(proposal: str, group: str, beamline: str, start: date | None, settings: ScicatSettings) -> str:
    """Fill the pattern; "" where a value cannot be one folder, so that nothing is stored outside."""
    year = str(start.year) if start else ""
    values = {"investigation": proposal, "group": group, "beamline": beamline, "year": year}
    for name, value in values.items():
        if f"{{{name}}}" in settings.base_dir and (value in {"", ".", ".."} or _UNSAFE.search(value)):
            return ""
    return settings.base_dir.format(**values)


def require_base_dir(one: CatalogueInvestigation) -> str:
    """Return where the data of an investigation belong.

    Raises:
        CatalogueRefused: the pattern of the settings makes no folder for it.
    """
    if not one.base_dir:
        raise CatalogueRefused(
            f"No folder can be made for proposal {one.id!r} of DATAUPLOADER_CATALOG_SCICAT__BASE_DIR; a part "
            "of it is empty or no name of a folder. Have the operator change the pattern, then retry."
        )
    return one.base_dir


def _day(moment: str, settings: ScicatSettings) -> date | None:
    if not moment:
        return None
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return today(settings.timezone, found if found.tzinfo else found.replace(tzinfo=UTC))


def _claim(claims: object, name: str) -> int:
    value = claims.get(name) if isinstance(claims, dict) and name else None
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else NO_ACCOUNT


def _word(name: str) -> str:
    """Write a beamline as stations do: in small letters, with `-` for other signs."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def if_other(record: Record, **values: Any) -> dict[str, Any]:
    """Return these values where one of them is another in a record, else none."""
    return values if any(record.get(name) != value for name, value in values.items()) else {}
