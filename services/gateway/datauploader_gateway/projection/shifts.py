"""Files by how they have changed: of thousands that are said together nearly all change alike. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from datauploader.contracts.rest.files import FileState
from datauploader_gateway.projection.facts import FileFacts, counted, listed
from datauploader_gateway.projection.timing import NEVER, Times, steps_between


@dataclass(slots=True)
class Shift:
    """Files that differ in nothing but their paths and versions, neither in what they were nor in what they are."""

    then: int | None
    """Their facts before; None: there was no such file."""
    now: int
    retimed: tuple[Times, Times]
    """Their times before, and now."""
    paths: list[bytes] = field(default_factory=list)
    bytes_then: int = 0
    bytes_now: int = 0

    @property
    def states(self) -> tuple[FileState | None, FileState | None]:
        """Under which state they were listed, and are now; None: under none."""
        return None if self.then is None else listed(self.then), listed(self.now)


def shifts_between(before: Mapping[bytes, FileFacts], after: Mapping[bytes, FileFacts]) -> list[Shift]:
    """Group files by how they changed; `before` may lack some of them."""
    found: dict[object, Shift] = {}
    for path, now in after.items():
        then = before.get(path)
        was, times, size = (None, NEVER, 0) if then is None else (then.facts, then.times, then.size)
        key = was, now.facts, times, now.times
        shift = found.get(key)
        if shift is None:
            shift = found[key] = Shift(was, now.facts, (times, now.times))
        shift.paths.append(path)
        shift.bytes_then += size
        shift.bytes_now += now.size
    return list(found.values())


def counts_between(shifts: Iterable[Shift]) -> Counter[str]:
    """Say what is to be added to each count of the upload, such as `verified.files` and `verified.bytes`."""
    counts: Counter[str] = Counter()
    for shift in shifts:
        for word in counted(shift.then) if shift.then is not None else ():
            counts[f"{word}.files"] -= len(shift.paths)
            counts[f"{word}.bytes"] -= shift.bytes_then
        for word in counted(shift.now):
            counts[f"{word}.files"] += len(shift.paths)
            counts[f"{word}.bytes"] += shift.bytes_now
    return counts


def timing_between(shifts: Iterable[Shift]) -> Counter[tuple[int, int]]:
    """Say what is to be added to each bucket of each step."""
    files: Counter[tuple[Times, Times]] = Counter()
    for shift in shifts:
        files[shift.retimed] += len(shift.paths)
    return steps_between(files)
