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
    FileFailed,
    FileLeftOut,
    FileReady,
    FileVersion,
    MetadataExtracted,
)
from datauploader_gateway.projection.facts import ROW, VERSION, FileFacts, news, packed
from datauploader_gateway.projection.fold import Before, Changes, FoldInput, Step, fold_all, set_registers, wanted
from datauploader_gateway.projection.shifts import Shift, counts_between, shifts_between
from datauploader_gateway.projection.timing import Heard

_UNUSUAL = FileFailed | FileLeftOut | DatasetPartlyRefused | MetadataExtracted
"""They say something that a later word takes back, or that is kept beside the files' facts."""
_HEAD, _TAIL = VERSION.start, VERSION.stop
_ANY_VERSION = bytes(_TAIL - _HEAD)
_UNKNOWN = FileFacts(0, 0, bytes(32))
_NOTHING = (0, 0)
"""What most events tell of the times of single files."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What an event says of its files, each of which it names once."""

    event: Event[EventData]
    files: Sequence[tuple[FileVersion, int]]
    """Versions, and what facts are added to them."""
    paths: Sequence[bytes]
    versions: Sequence[bytes]
    """As rows have them."""

    @classmethod
    def of(cls, event: Event[EventData]) -> Self | None:
        """Read them from an event; None where it says anything else of a file."""
        if isinstance(event.data, _UNUSUAL):
            return None
        files = list(news(event.data))
        paths = [version.raw for version, _ in files]
        try:
            versions = packed(files)
        except struct.error:
            return None
        return cls(event, files, paths, versions) if len(set(paths)) == len(paths) else None

    @property
    def wanted(self) -> FoldInput:
        """What must be looked up before this can be folded."""
        return wanted(self.event, self.paths)

    def added(self, rows: Mapping[bytes, bytes]) -> tuple[dict[bytes, bytes], list[Shift]] | None:
        """Return the rows that are different with this, and how they shift; None where they hold anything unusual."""
        heard = Heard.of(self.event)
        told = heard.told if heard is not None and isinstance(self.event.data, FileReady) else None
        found: dict[bytes, bytes] = {}
        additions = _Additions(heard)
        for number, ((file, bits), path, version) in enumerate(zip(self.files, self.paths, self.versions, strict=True)):
            row = rows.get(path)
            if row is None:
                happened = b""
            elif row[VERSION] == version and len(row) == ROW:
                happened = row[:_HEAD] + row[_TAIL:]
            else:
                return None
            addition = additions[happened, bits, told(file.mtime_ns, number) if told else _NOTHING]
            if addition is None:
                return None
            head, tail, shift = addition
            if shift is not None:
                found[path] = head + version + tail
                shift.paths.append(path)
                shift.bytes_now += file.size
        return found, additions.shifts()


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
    changed = 0
    for one in columns:
        changes = Changes()
        set_registers(changes, said, one.event)
        if (added := one.added(known)) is None:
            return None
        changes.rows, changes.shifts = added
        changes.counts = counts_between(changes.shifts)
        if changes:
            steps.append((one.event, changes))
            for registers in (said.registers, total.registers):
                registers.update(changes.registers)
            for later in (known, total.rows):
                later.update(changes.rows)
            total.shifts += changes.shifts
            changed += len(changes.rows)
    if changed > len(total.rows):  # some came several stages further
        then, now = ({path: FileFacts.unpack(row) for path, row in kept.items()} for kept in (rows, total.rows))
        total.shifts = shifts_between(then, now)
    total.counts = counts_between(total.shifts)
    return total, steps


_Key = tuple[bytes, int, tuple[int, int]]
_Addition = tuple[bytes, bytes, Shift | None]


class _Additions(dict[_Key, _Addition | None]):
    """What stands around a version in its row, by what stood there, and the facts and times that are added to it.

    With it goes how such files shift, if they do; None where it does not fit into a usual row.
    """

    def __init__(self, heard: Heard | None) -> None:
        super().__init__()
        self._heard = heard

    def __missing__(self, key: _Key) -> _Addition | None:
        happened, bits, told = key
        then = FileFacts.unpack(happened[:_HEAD] + _ANY_VERSION + happened[_HEAD:]) if happened else _UNKNOWN
        now = then.adding(bits, self._heard.adding(then.times, told) if self._heard else then.times)
        row = now.pack()
        shift = Shift(then.facts if happened else None, now.facts, (then.times, now.times))
        around = (row[:_HEAD], row[_TAIL:], shift if not happened or now != then else None)
        addition = self[key] = around if len(row) == ROW else None
        return addition

    def shifts(self) -> list[Shift]:
        """Return how files have shifted, each of which has kept its size."""
        found = [addition[2] for addition in self.values() if addition is not None and addition[2] is not None]
        for shift in found:
            shift.bytes_then = 0 if shift.then is None else shift.bytes_now
        return found
