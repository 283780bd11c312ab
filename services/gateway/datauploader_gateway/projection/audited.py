"""What people are told about audits: when the storage was compared with the manifest, and what was found."""

from collections.abc import Mapping, Sequence
from typing import Any

from datauploader.contracts import AuditReported
from datauploader.contracts.rest.audits import Audit

KEPT = 10
"""Audits of one upload that are remembered."""
_NAMED = 5
_LOST = (
    "Keep every other copy of the files and tell the administrator of the storage. If the files cannot be restored, "
    "upload them again as another dataset."
)
_WRONG = {
    "missing": "is missing",
    "cut": "has another size",
    "altered": "has different content",
    "doubled": "shares its object with another file",
}


def remember(known: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """Add a report to those that are remembered, the newest first; of older ones no objects are named."""
    items = {item["event"]: item for item in (*known.get("items", ()), report)}
    newest = sorted(items.values(), key=lambda item: (item["looked"], item["event"]), reverse=True)[:KEPT]
    nameless = [{**item, "differences": [{**one, "first": []} for one in item["differences"]]} for item in newest[1:]]
    return {"items": [newest[0], *nameless]}


def audits_of(said: Mapping[str, Any]) -> list[Audit]:
    """Return the remembered audits, the newest first."""
    return [_told(AuditReported.model_validate(item)) for item in said.get("items", ())]


def finding(audit: Audit, *, over: bool) -> str:
    """Say what is wrong, and what to do about it."""
    wrong = [one for one in audit.differences if one.kind in _WRONG]
    foreign = next((one for one in audit.differences if one.kind == "foreign"), None)
    said: list[str] = []
    if number := sum(one.files for one in wrong):
        names = [f"{name} {_WRONG[one.kind]}" for one in wrong for name in one.first][:_NAMED]
        are = "is no longer on the storage as" if number == 1 else "are no longer on the storage as"
        said.append(f"{_count(number, 'file')} of this dataset {are} verified: {_listed(names, number)}.")
    if foreign is not None:
        objects = _count(foreign.files, "unexpected object")
        said.append(f"The storage has {objects}: {_listed(list(foreign.first[:_NAMED]), foreign.files)}.")
    return " ".join([*said, *_what_to_do({one.kind for one in audit.differences}, over=over)])


def _what_to_do(kinds: set[str], *, over: bool) -> list[str]:
    if over and not kinds & set(_WRONG):
        return ["If they do not belong there, have them moved away."]
    if over:
        return [_LOST]
    found = []
    if kinds & {"missing", "cut"}:
        found.append("Press Retry to upload files that are missing or have another size again.")
    if "altered" in kinds:
        found.append("Files with different content are not overwritten: have them moved away, then press Retry.")
    if "doubled" in kinds:
        found.append(
            "This storage treats these names as the same: rename the files and upload them as another dataset."
        )
    if "foreign" in kinds:
        accept = "" if kinds & set(_WRONG) else ", or press Complete anyway to leave them there"
        found.append(f"Have unexpected objects moved away, then press Retry{accept}.")
    return found


def _told(report: AuditReported) -> Audit:
    ways = ["names", "sizes"]
    ways += [
        one.algorithm if one.files == report.files else f"{one.algorithm} of {one.files:,}" for one in report.hashes
    ]
    if report.read:
        ways.append(f"{_count(report.read, 'file')} read back")
    compared = ", ".join(ways) if len(ways) > 2 else "names and sizes only"  # noqa: PLR2004 - the two that are always there
    audit = Audit(
        audit=report.audit, looked=report.looked.isoformat().replace("+00:00", "Z"), well=report.well, says="",
        manifest_sha256=report.manifest_sha256 or "", files=report.files, objects=report.objects, compared=compared,
        differences=report.differences, accepted=report.accepted, requested_by=report.requested_by,
        trouble=report.trouble, final=report.final,
    )  # fmt: skip
    return audit.model_copy(update={"says": _sentence(audit)})


def _sentence(audit: Audit) -> str:
    if audit.trouble:
        return audit.trouble + (" It is retried automatically." if not audit.final else "")
    head = f"{_count(audit.files, 'file')} compared by {audit.compared}"
    if not audit.differences:
        return f"{head}; no difference."
    notes = ", ".join(f"{one.files:,} {_KINDS.get(one.kind, one.kind)}" for one in audit.differences)
    return f"{head}: {notes}."


_KINDS = {
    "foreign": "unexpected",
    "ours": "stored but not in the dataset",
    "leftover": "left over from interrupted transfers",
    "respelt": "spelt differently by the storage",
    "doubled": "sharing an object with another",
    "cut": "of another size",
    "altered": "with different content",
}


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str], number: int) -> str:
    return ", ".join(names) + (", …" if number > len(names) else "")
