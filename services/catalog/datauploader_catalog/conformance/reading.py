"""Duties that are tried by reading alone: who somebody is, what is theirs, and how an absence is told."""

from contextlib import suppress

from pydantic import SecretStr

from datauploader.plugins.catalogue.errors import (
    CatalogueForbids,
    CatalogueRefused,
    NoSuchInvestigation,
    UnknownSession,
)
from datauploader.plugins.catalogue.port import CatalogueInvestigation
from datauploader.wording import count
from datauploader_catalog.conformance.duty import NOBODY, Duty, DutyFailedError, NotTriedError, Trial, require


def _answers(trial: Trial) -> str:
    trial.catalogue.probe_catalogue()
    with suppress(CatalogueRefused):
        trial.catalogue.investigations(NOBODY)
    return ""


def _unknown_session(trial: Trial) -> str:
    with suppress(UnknownSession):
        user = trial.catalogue.identify(SecretStr("datauploader-check"))
        raise DutyFailedError(f"It was taken for a session of user {user.id!r}.")
    return ""


def _own_session(trial: Trial) -> str:
    if trial.request.session is None:
        raise NotTriedError("no session is given; give --session")
    user = trial.catalogue.identify(trial.request.session)
    require(user.id, "It has no id for the person.")
    asked = trial.request.person
    require(asked in {"", user.id}, f"It says that the session is of user {user.id!r}, not of {asked!r}.")
    trial.person = user.id
    return f"user {user.id!r}, account {user.name!r}"


def _listed(trial: Trial) -> str:
    person = trial.require_person()
    trial.listed = found = trial.catalogue.investigations(person)
    require(found, f"None is listed for user {person!r}.")
    bare = [one.id for one in found if not (one.id and one.title and one.base_dir)]
    require(not bare, f"Without id, title or folder: {', '.join(map(repr, bare))}.")
    require(len({one.id for one in found}) == len(found), "The same id is listed twice.")
    told = {
        "dates": sum(one.start is not None and one.end is not None for one in found),
        "a beamline": sum(bool(one.beamline) for one in found),
        "a principal investigator": sum(bool(one.principal_investigator) for one in found),
    }
    return ", ".join((count(len(found), "investigation"), *(f"{number} with {what}" for what, number in told.items())))


def _named(trial: Trial) -> str:
    wanted = trial.request.investigation
    if not wanted:
        raise NotTriedError("no investigation is named; give --investigation")
    trial.require_person()
    found = next((one for one in trial.listed if one.id == wanted), None)
    if found is None:
        raise DutyFailedError(f"Investigation {wanted!r} is not among them.")
    require(found.active, f"Investigation {wanted!r} is closed: {found.reason}")
    return ""


def _found_by_id(trial: Trial) -> str:
    if not trial.listed:
        raise NotTriedError("no investigation is listed")
    one = trial.listed[0]
    found = trial.catalogue.investigation(one.id)
    require(_key(found) == _key(one), f"{_key(one)} is listed, and {_key(found)} is found.")
    return ""


def _key(one: CatalogueInvestigation) -> tuple[str, str, str, str]:
    return one.id, one.name, one.visit, one.title


def _absent_investigation(trial: Trial) -> str:
    with suppress(NoSuchInvestigation):
        found = trial.catalogue.investigation(NOBODY)
        raise DutyFailedError(f"When it was asked for {NOBODY!r}, it answered {found.id!r}, {found.title!r}.")
    return ""


def _authorised(trial: Trial) -> str:
    grant = trial.catalogue.authorise(trial.require_person(), trial.require_open().id)
    require(grant.base_dir, "It names no folder for the data.")
    return f"in {grant.base_dir}"


def _strangers_refused(trial: Trial) -> str:
    one = trial.require_open()
    with suppress(CatalogueForbids):
        grant = trial.catalogue.authorise(NOBODY, one.id)
        raise DutyFailedError(f"User {NOBODY!r} may upload to investigation {one.id!r}, in {grant.base_dir!r}.")
    return ""


def _absent_dataset(trial: Trial) -> str:
    investigation = trial.request.investigation or trial.require_open().id
    found = trial.catalogue.find_dataset(investigation, trial.name)
    require(found is None, f"When it was asked for {trial.name!r}, which nobody has made, it answered {found}.")
    return ""


REACHED = Duty(
    "The catalogue answers, and trusts this service.",
    "Nothing is registered: files travel to the storage, everything else waits, and it is tried again every minute.",
    _answers,
)
READING = (
    Duty(
        "A session that nobody has is refused.",
        "Whoever comes with any text is signed in as that user. Do not let people sign in with sessions of this "
        "catalogue.",
        _unknown_session,
    ),
    Duty(
        "A person's session tells who they are.",
        "People cannot sign in with sessions of this catalogue; an identity provider or local accounts are needed.",
        _own_session,
    ),
    Duty(
        "The person's investigations are listed, each with an id, a title and a folder.",
        "The person can choose none of those that are missing, so nothing can be uploaded to them.",
        _listed,
    ),
    Duty(
        "The named investigation is listed for the person, and open.",
        "It is not offered to the person, or shown to them as closed.",
        _named,
    ),
    Duty(
        "An investigation that is listed is found by its id.",
        "A standing rule that has no owner is refused there; uploads that people ask for are not affected.",
        _found_by_id,
    ),
    Duty(
        "An investigation that does not exist is said to be absent.",
        "A standing rule that names a wrong id is not refused with that reason: it is tried again as a fault, or goes "
        "on until its dataset is to be made.",
        _absent_investigation,
    ),
    Duty(
        "The person may upload to an open investigation that is listed.",
        "Every upload of this person is refused, with the sentence that was seen.",
        _authorised,
    ),
    Duty(
        "Whoever does not belong to an investigation may not upload to it.",
        "Everybody who is signed in can upload to every investigation. Do not run the service on this catalogue.",
        _strangers_refused,
    ),
    Duty(
        "A dataset that does not exist is said to be absent.",
        "The service makes a dataset only where the catalogue itself has said that it is absent. With an error none is "
        "made; where another one is answered, files would go into that one.",
        _absent_dataset,
    ),
)
