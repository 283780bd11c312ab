"""Amounts, times and names as people read them; names from outside cannot steer the terminal."""

from datetime import datetime

from datauploader.contracts.rest.timing import StepTiming, Timing
from datauploader.contracts.rest.uploads import Upload

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SOON = 10
_STEPS = {
    "seen": ("Seen", "from the file's last change until its station saw it"),
    "announced": (
        "Found finished",
        "from then, or from its last change, until its station announced it: the quiet period, and reading it once",
    ),
    "moved": ("Moved", "from its announcement until it lay at the storage: the wait for its turn, and sending it"),
    "verified": ("Verified", "from then until the hashes of all files that were sent with it were compared"),
    "stored": (
        "Moved and verified",
        "from its announcement until its hash was compared, where it is not known when it lay at the storage",
    ),
    "registered": ("Registered", "from then until the catalogue knew it"),
    "shown": ("Shown", "from then until the page could show it; known only of what this gateway heard at once"),
}
TIMING_COLUMNS = ("Step", "What it is", "Files", "Half within", "95 % within", "All within")


def safe(text: str) -> str:
    r"""Write everything that does not print on one line, or reverses it, as an escape such as `\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def size(amount: float) -> str:
    """Write an amount of bytes in decimal units with three figures: `1.25 GB`."""
    unit = 0
    while amount >= _STEP - 0.5 and unit < len(_UNITS) - 1:
        amount /= _STEP
        unit += 1
    if unit == 0:
        return f"{amount:.0f} B"
    digits = 2 if amount < 10 else 1 if amount < 100 else 0  # noqa: PLR2004 - three figures
    return f"{amount:.{digits}f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """Write a time that is left no more exactly than it is known."""
    if seconds < _SOON:
        return "a few seconds"
    if seconds < 2 * _MINUTE:
        return f"{round(seconds / 10) * 10} s"
    if seconds < 2 * _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    if seconds < 2 * _DAY:
        return f"{round(seconds / _HOUR)} h"
    return f"{round(seconds / _DAY)} days"


def lasting(seconds: float) -> str:
    """Write how long something took: exactly where it was short."""
    if seconds < _SOON:
        return f"{seconds:.{2 if seconds < 1 else 1}f} s"
    return f"{seconds:.0f} s" if seconds < 2 * _MINUTE else duration(seconds)


def step(timing: StepTiming) -> tuple[str, str]:
    """Name a step of a file's way, and say what it is."""
    return _STEPS.get(timing.step, (timing.step, ""))


def timing_notes(timing: Timing) -> tuple[str, ...]:
    """Say what is to be known about the figures."""
    if not timing.steps:
        return ("Nothing is known of this upload's times: no file has come that far, or it is from an older release.",)
    first = (
        "Each figure is of the newest version of each file, and at most a quarter too long. "
        "The times are those of the computers that said them: where clocks differ, the difference is in the figures."
    )
    before = max(each.before or 0 for each in timing.steps)
    if not before:
        return (first,)
    seem = (
        f"As clocks differ, {count(before, 'file')} seem to have ended a step before it began, and count as 0 s there."
    )
    return first, f"{seem} Set the clocks of station and server by the network."


def count(number: int, one: str, many: str = "") -> str:
    """Write `1 file`, `2 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def local(moment: datetime | str | None) -> str:
    """Write a moment, or a time in ISO 8601, in the reader's own time."""
    try:
        known = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:  # it is not there, or another release writes it otherwise
        return str(moment)
    return known.astimezone().strftime("%Y-%m-%d %H:%M") if known else ""


def state(upload: Upload) -> str:
    """Say in a word or two how an upload is."""
    if upload.paused and not upload.over:
        return "paused"
    if upload.station_silent_since is not None:
        return "station not responding"
    if upload.closing and upload.state == "open":
        return "closing"
    names = {"open": "uploading", "sealed": "finishing", "refused": "refused by the catalogue"}
    return names.get(upload.state, upload.state)


def left(upload: Upload) -> str:
    """Say how long it will still take, if that is known, or why it is not."""
    if upload.over or upload.needs_person or upload.paused:
        return ""
    open_end = upload.mode == "sync" and upload.state == "open" and not upload.closing
    if upload.seconds_left is not None:
        return f"{duration(upload.seconds_left)} {'left for the files found so far' if open_end else 'left'}"
    return "" if open_end else "time left unknown"


def sentence(upload: Upload) -> str:
    """Say how an upload ended, or what it waits for, and what to do."""
    counts = upload.counts
    failed, done = count(counts.failed.files, "file"), count(counts.catalogued.files, "file")
    proof = f"{counts.unverified.files:,} of them not verified" if counts.unverified.files else "all verified"
    endings = {
        "completed": f"Complete: {done}, {size(counts.catalogued.bytes)}, {proof}."
        if counts.catalogued.files
        else "Complete: 0 files; the dataset is empty.",
        "cancelled": f"Cancelled; {count(counts.stored.files, 'stored file')} kept.",
        "rejected": "The station cannot carry out this upload.",
        "refused": f"The catalogue refuses the dataset. When the cause is fixed, run: datauploader retry {upload.id}",
    }
    if upload.state in endings:
        return endings[upload.state]
    if upload.needs_person and upload.state == "open":
        ways = f"To complete it as an empty dataset, run: datauploader close {upload.id}"
        if upload.restless:
            ways = f"To choose, run: datauploader take {upload.id} FILE, or datauploader leave-out {upload.id} FILE"
        return f"{' '.join(upload.troubles)} {ways}"
    if upload.station_silent_since is not None:
        since = local(upload.station_silent_since)
        return f"The station has not reported since {since}. Files written after that are not known here."
    if upload.needs_person:
        mended = f"When the cause is fixed, run: datauploader retry {upload.id}"
        see = f"{failed} could not be uploaded. To see them, run: datauploader files {upload.id} --state failed"
        return see if counts.failed.files else mended
    if upload.mode == "sync" and upload.state == "open" and not upload.closing:
        return f"New files are uploaded too, until you run: datauploader close {upload.id}"
    return ""
