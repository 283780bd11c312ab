"""What is said of many files at once, folded as columns where all of it is usual: pure.

Usual is what nearly all that is said is: that there is a file which is not known yet, or more of exactly the version
that is known. What has happened to a version is the same for hundreds of files, so it is decoded, changed and encoded
once for all of them, and their rows are never looked into. Anything else is left to `fold_all`, which says the same.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from datauploader.contracts import (
    DatasetPartlyRefused,
    Event,
    EventData,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    MetadataExtracted,
)
from datauploader_gateway.projection.facts import ROW, VERSION, FileFacts, news, packed
from datauploader_gateway.projection.fold import Before, Changes, FoldInput, Step, fold_all, set_registers, wanted
from datauploader_gateway.projection.shifts import Shift, counts_between
from datauploader_gateway.projection.timing import Heard

_UNUSUAL = FileFailed | FileLeftOut | DatasetPartlyRefused | MetadataExtracted
"""They say something that a later word takes back, or that is kept beside the files' facts."""
_HEAD, _TAIL = VERSION.start, VERSION.stop
_ANY_VERSION = bytes(_TAIL - _HEAD)


@dataclass(frozen=True, slots=True)
class Columns:
    """What an event says of its files, each of which it names once."""

    event: Event[EventData]
    paths: Sequence[bytes]
    versions: Sequence[bytes]
    """As rows have them."""
    bits: Sequence[int]
    """What facts are added to each."""
    told: Sequence[tuple[int, int]]
    """What is told of the times of each."""

    @property
    def wanted(self) -> FoldInput:
        """What must be looked up before this can be folded."""
        return wanted(self.event, self.paths)

    @classmethod
    def of(cls, event: Event[EventData]) -> Self | None:
        """Read them from an event; None where it says anything else of a file."""
        if isinstance(event.data, _UNUSUAL):
            return None
        heard, pairs = Heard.of(event), list(news(event.data))
        try:
            versions = [packed(version) for version, _ in pairs]
        except struct.error:
            return None
        paths = [version.raw for version, _ in pairs]
        if len(set(paths)) < len(paths):
            return None
        times = [heard.told(version.mtime_ns, n) if heard else (0, 0) for n, (version, _) in enumerate(pairs)]
        return cls(event, paths, versions, [bits for _, bits in pairs], times)

    def added(self, rows: Mapping[bytes, bytes]) -> dict[bytes, bytes] | None:
        """Return the rows that are different with this; None where they hold anything unusual."""
        found: dict[bytes, bytes] = {}
        additions = _Additions(Heard.of(self.event))
        for path, version, bits, told in zip(self.paths, self.versions, self.bits, self.told, strict=True):
            row = rows.get(path)
            if row is None:
                happened = b""
            elif row[VERSION] == version and len(row) == ROW:
                happened = row[:_HEAD] + row[_TAIL:]
            else:
                return None
            now = additions[happened, bits, told]
            if now is None:
                return None
            head, tail = now
            new = head + version + tail
            if new != row:
                found[path] = new
        return found


def columns_of(events: Sequence[Event[EventData]]) -> list[Columns] | None:
    """Read what events say as columns; None where one of them says anything unusual."""
    found = []
    for event in events:
        if (columns := Columns.of(event)) is None:
            return None
        found.append(columns)
    return found


def fold_together(
    before: Before, rows: Mapping[bytes, bytes], events: Sequence[Event[EventData]], columns: Sequence[Columns] | None
) -> tuple[Changes, list[Step]]:
    """Do what `fold_all` does, with the rows of the files, and by columns where that is possible."""
    if columns is not None and not before.left_out and (found := _fold_columns(before, rows, columns)) is not None:
        return found
    before.files = {path: FileFacts.unpack(row) for path, row in rows.items()}
    return fold_all(before, events)


def _fold_columns(
    before: Before, rows: Mapping[bytes, bytes], columns: Sequence[Columns]
) -> tuple[Changes, list[Step]] | None:
    said, known, total, steps = Before(dict(before.registers)), dict(rows), Changes(), []
    for one in columns:
        changes = Changes()
        set_registers(changes, said, one.event)
        if (added := one.added(known)) is None:
            return None
        changes.rows = added
        if isinstance(one.event.data, FileCatalogued):  # `shown` counts these alone
            changes.counts = counts_between(_shifts_between(known, added))
        if changes:
            steps.append((one.event, changes))
            for registers in (said.registers, total.registers):
                registers.update(changes.registers)
            for later in (known, total.rows):
                later.update(added)
    total.shifts = _shifts_between(rows, total.rows)
    total.counts = counts_between(total.shifts)
    return total, steps


class _Additions(dict[tuple[bytes, int, tuple[int, int]], tuple[bytes, bytes] | None]):
    """What stands around a version in its row, by what stood there, and the facts and times that are added to it."""

    def __init__(self, heard: Heard | None) -> None:
        super().__init__()
        self._heard = heard

    def __missing__(self, key: tuple[bytes, int, tuple[int, int]]) -> tuple[bytes, bytes] | None:
        happened, bits, told = key
        facts = _facts(happened)
        times = self._heard.adding(facts.times, told) if self._heard else facts.times
        row = facts.adding(bits, times).pack()
        now = self[key] = (row[:_HEAD], row[_TAIL:]) if len(row) == ROW else None
        return now


class _Shifts(dict[tuple[bytes, bytes], Shift]):
    """Shifts by what stood around a version in its row, and what stands there now."""

    def __missing__(self, key: tuple[bytes, bytes]) -> Shift:
        then, now = (_facts(happened) for happened in key)
        shift = self[key] = Shift(then.facts if key[0] else None, now.facts, (then.times, now.times))
        return shift


def _facts(happened: bytes) -> FileFacts:
    """Read what has happened to a version, whichever that is."""
    return FileFacts.unpack(happened[:_HEAD] + _ANY_VERSION + happened[_HEAD:]) if happened else _UNKNOWN


_UNKNOWN = FileFacts(0, 0, bytes(32))


def _shifts_between(before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> list[Shift]:
    """Group files by how they changed; `before` may lack some of them."""
    found = _Shifts()
    for path, row in after.items():
        was = before.get(path)
        size = int.from_bytes(row[10:14], "little")
        shift = found[b"" if was is None else was[:_HEAD] + was[_TAIL:], row[:_HEAD] + row[_TAIL:]]
        shift.paths.append(path)
        shift.bytes_now += size
        if was is not None:
            shift.bytes_then += size
    return list(found.values())
