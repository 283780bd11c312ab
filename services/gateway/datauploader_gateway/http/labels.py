"""Labels, with which pages say how an upload is: pure, from its summary."""

from typing import Literal, NamedTuple

from datauploader.contracts.rest.audits import Audit
from datauploader.contracts.rest.files import FileState
from datauploader.contracts.rest.uploads import Upload
from datauploader.contracts.uploads import Action
from datauploader_gateway.projection.projection_status import READING, ProjectionStatus

Mood = Literal["", "good", "warn", "bad"]


class Label(NamedTuple):
    """A label: a word or two, and how it looks."""

    text: str
    mood: Mood
    since: str = ""
    """The moment that stands at `{since}` in the text, where it has one."""


class Button(NamedTuple):
    """Something that a person can do to an upload."""

    action: Action
    label: str
    look: Literal["", "quiet", "danger"]
    confirm: str = ""
    """What is asked before, "" where nothing is."""


STATES = {
    "requested": Label("waiting for the station", ""),
    "open": Label("uploading", "warn"),
    "sealed": Label("finishing", "warn"),
    "completed": Label("complete", "good"),
    "cancelled": Label("cancelled", ""),
    "rejected": Label("rejected", "bad"),
    "refused": Label("refused by the catalogue", "bad"),
}
_FILE_STATES: dict[FileState, Label] = {
    "failed": Label("failed", "bad"),
    "retrying": Label("retrying", "warn"),
    "ready": Label("waiting", ""),
    "unverified": Label("stored, not verified", "warn"),
    "verified": Label("stored, verified", "good"),
    "catalogued": Label("catalogued", "good"),
}
_EMPTY = "Close this upload without any files? The dataset will be complete and empty."
_CANCEL = "Cancel this upload? Stored files are kept, but the dataset will not be completed."


def old_view(view: ProjectionStatus) -> str:
    """Say that what pages show is old, and why; "" where it is not."""
    if view.trouble == READING:
        return "DataUploader is loading its history. Numbers may be out of date until this is done. Uploads continue."
    return f"This status is {view.age} old: {view.trouble}." if view.trouble else ""


def state(upload: Upload) -> Label:
    """Say in a word or two how an upload is."""
    if upload.needs_person:
        return Label("needs attention", "bad")
    if upload.paused:
        return Label("paused", "warn")
    if upload.station_silent_since:
        return Label("station not responding", "warn")
    if upload.closing and upload.state == "open":
        return Label("closing", "warn")
    return STATES[upload.state]


def file_state(word: FileState) -> Label:
    """Say how far a file is."""
    return _FILE_STATES[word]


def share(upload: Upload) -> float:
    """Return the part of the found bytes that is stored, from 0 to 1."""
    if upload.state == "completed":
        return 1.0
    found, stored = upload.counts.found, upload.counts.stored
    return min(1.0, stored.bytes / found.bytes if found.bytes else stored.files / max(1, found.files))


def safety(upload: Upload) -> Label | None:
    """Say whether the station's computer may be switched off; None where nothing depends on it.

    Each sentence is a claim about now: it says no more than what was heard, and since when nothing was.
    """
    if upload.state in ("cancelled", "rejected"):
        return None
    if upload.state == "completed":
        return _safety_completed(upload)
    stored = upload.looked and not upload.settling and upload.counts.stored.files >= upload.counts.found.files
    return _safety_sealed(upload, stored=stored) if upload.sealed else _safety_open(upload, stored=stored)


_LEAVE_ON = "Leave this computer on: not everything is stored yet."
_NOT_HEARD = "The station has not reported since {since}. Files written after that are not known here."


def _safety_sealed(upload: Upload, *, stored: bool) -> Label:
    if not stored:
        return Label(_LEAVE_ON, "warn")
    if upload.state == "refused":
        return Label(
            "It is safe to switch off this computer: every file is stored. The dataset is not complete, because the "
            "catalogue refuses it.",
            "warn",
        )
    audit = _look(upload)
    if upload.state == "sealed" and (audit is None or not audit.well):
        return Label("Leave this computer on: the storage is being compared with the manifest.", "warn")
    return Label(
        "It is safe to switch off this computer: every file is stored. The catalogue is being updated.", "good"
    )


def _safety_open(upload: Upload, *, stored: bool) -> Label:
    if upload.station_silent_since:
        return Label(_NOT_HEARD, "warn", upload.station_silent_since)
    if not upload.looked:
        return Label("Leave this computer on: the station has not checked all files yet.", "warn")
    if upload.mode == "batch" or upload.closing or not stored:
        return Label(_LEAVE_ON, "warn")
    if upload.state == "refused":
        return Label(
            "Everything that the station has reported is stored, but the catalogue refuses the dataset. Leave "
            "this computer on for new files, until you close the dataset.",
            "warn",
        )
    return Label(
        "Everything written so far is stored. Leave this computer on for new files, until you close the dataset.", ""
    )


def _safety_completed(upload: Upload) -> Label:
    """Speak of what was sealed: what the folder has now is known only as far as somebody has looked."""
    audit = _look(upload)
    if audit is not None and not audit.well and not audit.only_foreign:
        return Label("Keep the files on this computer: the storage no longer holds everything as verified.", "warn")
    sealed = f"the {_files(upload.counts.catalogued.files)} that the dataset had when it was sealed"
    if upload.later is None:
        return Label(f"It is safe to switch off this computer: {sealed} are stored and catalogued.", "good")
    came, belong = _files(upload.later.files), "is" if upload.later.files == 1 else "are"
    return Label(f"Stored and catalogued: {sealed}. {came} added or changed later {belong} in no dataset yet.", "warn")


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"


def _look(upload: Upload) -> Audit | None:
    """Return the latest look at what lies on the storage, if it was for this manifest."""
    audit = upload.audited
    return (
        audit if audit is not None and not audit.trouble and audit.manifest_sha256 == upload.manifest_sha256 else None
    )


def actions(upload: Upload) -> list[Button]:
    """List what a person can do to an upload now, the likeliest first."""
    if upload.over:
        return [Button("retry", "Retry", "")] if upload.state == "rejected" else []
    offered = []
    if upload.state == "open" and not upload.closing and upload.mode == "sync":
        offered.append(Button("close", "Close dataset", ""))
    elif upload.state == "open" and not upload.closing and upload.needs_person:
        offered.append(Button("close", "Complete as empty dataset", "", _EMPTY))
    waits = upload.delayed or (upload.needs_person and upload.state == "sealed")
    failed = bool(upload.counts.failed.files)
    if failed or upload.state == "refused" or waits:
        audit = _look(upload)
        whole = upload.state == "refused" or upload.delayed or (audit is not None and not audit.well)
        # where files are not all there is to try again, hints say "press Retry"
        offered.append(Button("retry", "Retry failed files" if failed and not whole else "Retry", ""))
    offered.append(Button("resume", "Resume", "") if upload.paused else Button("pause", "Pause", "quiet"))
    return [*offered, Button("cancel", "Cancel upload", "danger", _CANCEL)]
