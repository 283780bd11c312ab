"""How an event changes what is known of its upload: pure, and the same whatever the order and however often it comes.

Three rules make it so. A file's facts are only added to its newest version (`FileFacts`). Everything that is said more
than once, such as a scan, is a register in which the greatest order stays (`Event.order`). Counts are what the changed
files contribute now, less what they contributed before; a file that was announced, is left out now and of which nothing
is stored contributes nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Self, TypeVar

from datauploader.contracts import (
    AuditReported,
    AuditRequested,
    DatasetAnnotated,
    DatasetCompleted,
    DatasetDelayed,
    DatasetDescribed,
    DatasetEnsured,
    DatasetPartlyRefused,
    DatasetRefused,
    Event,
    EventData,
    FailedFile,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    FileVersion,
    InvestigationAnnotated,
    InvestigationDescribed,
    LeftOutFile,
    MetadataExtracted,
    TransferProgressed,
    UploadCancelled,
    UploadControlled,
    UploadOpened,
    UploadOutgrown,
    UploadRejected,
    UploadRequested,
    UploadScanned,
    UploadSealed,
)
from datauploader.contracts.model import microseconds
from datauploader_gateway.projection.audited import remember
from datauploader_gateway.projection.facts import (
    LEFT_OUT,
    REFUSED,
    UNREAD,
    UNTAKEN,
    FileFacts,
    FileFailure,
    LeftOut,
    newest,
    news,
)
from datauploader_gateway.projection.harvest import FirstFiles, What, harvests_of
from datauploader_gateway.projection.remarks import Remarks, Word, remarks_of
from datauploader_gateway.projection.shifts import Shift, counts_between, shifts_between, timing_between
from datauploader_gateway.projection.timing import Heard

_REGISTERS: dict[type[EventData], str] = {
    UploadRequested: "request",
    UploadOpened: "life",
    UploadRejected: "life",
    UploadScanned: "scan",
    UploadSealed: "seal",
    UploadOutgrown: "later",
    UploadCancelled: "cancelled",
    TransferProgressed: "speed",
    DatasetEnsured: "dataset",
    DatasetRefused: "dataset",
    DatasetDelayed: "delay",
    DatasetCompleted: "completed",
    DatasetDescribed: "described",
    DatasetAnnotated: "annotated",
    InvestigationDescribed: "described",
    InvestigationAnnotated: "annotated",
    AuditRequested: "audit",
    AuditReported: "audits",
}
_STEERING = {"pause": "pause", "resume": "pause", "close": "close", "cancel": "cancel", "retry": "retry"}
"""The register of each action; what is chosen for single files shows in what the station says next."""
WORDS = (*dict.fromkeys(_STEERING.values()), "described")
"""Registers that people's words stay in: who says something after having seen them says it later."""
STATION_LOOKS = frozenset(("source-gone", "source-changed"))
"""Reasons of a failure that no person need mend: the watcher looks, and announces the file anew or leaves it out."""
N = TypeVar("N", str, bytes)


@dataclass(frozen=True, slots=True)
class Register:
    """Something that is said again and again; the greatest order stays."""

    time: str
    event_id: str
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    station: str = ""
    number: int | None = None
    """The order of the event; None where an older release wrote this: then its time in microseconds is that."""

    @property
    def order(self) -> tuple[int, str, str]:
        """Of two the one with the greater order stays."""
        number = self.number if self.number is not None else microseconds(datetime.fromisoformat(self.time))
        return number, self.time, self.event_id

    def dump(self) -> str:
        """Write it as JSON."""
        words = [self.time, self.event_id, self.kind, self.data, self.station, self.number]
        return json.dumps(words, ensure_ascii=False)

    @classmethod
    def load(cls, text: str | bytes) -> "Register":
        """Read what `dump` wrote."""
        return cls(*json.loads(text))


@dataclass(slots=True)
class Before:
    """What was known of the things that an event speaks about."""

    registers: dict[str, Register] = field(default_factory=dict)
    files: dict[bytes, FileFacts] = field(default_factory=dict)
    failures: dict[bytes, FileFailure | None] = field(default_factory=dict)
    """None: an older version's failure that no longer matters."""
    left_out: dict[bytes, LeftOut] = field(default_factory=dict)
    remarks: dict[bytes, Remarks] = field(default_factory=dict)
    harvests: dict[What, FirstFiles] = field(default_factory=dict)

    def update(self, other: "Before") -> None:
        """Put what is known later over it."""
        self.registers.update(other.registers)
        self.files.update(other.files)
        self.failures.update(other.failures)
        self.left_out.update(other.left_out)
        self.remarks.update(other.remarks)
        self.harvests.update(other.harvests)


@dataclass(slots=True)
class Changes(Before):
    """What is different after an event, or after several: what is known now, and what that comes to."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    """Files as they are kept, where nobody looked into them: see `columns`."""
    shifts: list[Shift] = field(default_factory=list)
    """What happened to how many of the files."""
    counts: Counter[str] = field(default_factory=Counter)
    """What is to be added to each count, such as `verified.files` and `verified.bytes`."""

    @property
    def timing(self) -> Counter[tuple[int, int]]:
        """What is to be added to each bucket of each step."""
        return timing_between(self.shifts)

    def sum_up(self, before: Before) -> Self:
        """Say what all of it comes to, beside what was known."""
        self.shifts = shifts_between(before.files, self.files)
        self.counts = counts_between(self.shifts)
        for path, word in self.left_out.items():
            known = before.left_out.get(path)
            self.counts["left_out.files"] += (not word.returned) - (known is not None and not known.returned)
        return self

    def __bool__(self) -> bool:
        return any((self.registers, self.files, self.rows, self.failures, self.left_out, self.remarks, self.harvests))


Step = tuple[Event[EventData], Changes]
"""An event, and what it changes."""


@dataclass(frozen=True, slots=True)
class FoldInput:
    """What must be looked up before events can be folded."""

    registers: tuple[str, ...]
    files: tuple[bytes, ...] = ()
    failures: tuple[bytes, ...] = ()
    left_out: tuple[bytes, ...] = ()
    remarks: tuple[bytes, ...] = ()
    harvests: tuple[bytes, ...] = ()
    returned: bool = False
    """What was left out and has come back matters as well."""


def stamp(moment: datetime) -> str:
    """Write a time so that later ones sort behind earlier ones."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def wanted_together(each: Sequence[FoldInput]) -> FoldInput:
    """Name what `fold_all` needs to know for events of which each wants this."""
    return FoldInput(
        _union(want.registers for want in each), _union(want.files for want in each),
        _union(want.failures for want in each), _union(want.left_out for want in each),
        _union(want.remarks for want in each), _union(want.harvests for want in each),
        any(want.returned for want in each),
    )  # fmt: skip


def _union(parts: Iterable[tuple[N, ...]]) -> tuple[N, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(parts)))


def wanted(event: Event[EventData], known: Sequence[bytes] | None = None) -> FoldInput:
    """Name what `fold` needs to know for this event, the paths of whose files may be known."""
    data = event.data
    registers = ("last", *_said(data))
    if isinstance(data, FileFailed):
        paths = tuple(failed.file.raw for failed in data.files)
        return FoldInput(registers, files=paths, failures=paths, left_out=paths)
    if isinstance(data, FileLeftOut):
        paths = tuple(file.raw for file in data.files)
        return FoldInput(registers, files=paths, left_out=paths, returned=True)
    if isinstance(data, DatasetPartlyRefused | MetadataExtracted):
        paths = tuple(one.file.raw for one in data.files)
        read = paths if isinstance(data, MetadataExtracted) else ()
        return FoldInput(registers, files=paths, left_out=paths, remarks=paths, harvests=read)
    paths = tuple(known if known is not None else (version.raw for version, _ in news(data)))
    return FoldInput(registers, files=paths, left_out=paths)


def fold(before: Before, event: Event[EventData], *, summed: bool = True) -> Changes:
    """Say what the event changes and, where it is asked for, what that comes to."""
    changes, data = Changes(), event.data
    said = (event.order, event.id)
    set_registers(changes, before, event)
    heard = Heard.of(event)
    for number, (version, bits) in enumerate(news(data)):
        path = version.raw
        then = _known(changes, before, path)
        if (facts := newest(then, version)) is not None:
            times = heard.adding(facts.times, heard.told(version.mtime_ns, number)) if heard else facts.times
            _replace(changes, before, path, then, facts.adding(bits, times))
    if isinstance(data, FileFailed):
        for failed in data.files:
            _fail(changes, before, failed, said)
    if isinstance(data, FileLeftOut):
        for left in data.files:
            _leave_out(changes, before, left, said)
    for version, source, word in remarks_of(data, said):
        _remark(changes, before, version, source, word)
    if isinstance(data, MetadataExtracted):
        _take_back(changes, before, data)
        _keep(changes, before, data, said)
    return changes.sum_up(before) if summed else changes


def fold_all(before: Before, events: Sequence[Event[EventData]]) -> tuple[Changes, list[Step]]:
    """Say what events change together, and what each of them does after those before it, where it changes anything."""
    if len(events) == 1:
        total = fold(before, events[0])
        return total, [(events[0], total)] if total else []
    known, total, steps = Before(), Changes(), []
    known.update(before)
    for event in events:
        if changes := fold(known, event, summed=isinstance(event.data, FileCatalogued)):  # `shown` counts these alone
            steps.append((event, changes))
            known.update(changes)
            total.update(changes)
    return total.sum_up(before), steps


def _said(data: EventData) -> dict[str, Mapping[str, Any]]:
    """Return the registers that an event sets, with what it says in each."""
    found: dict[str, Mapping[str, Any]] = {}
    if isinstance(data, FileFailed):  # one failure of those that wait for a person, and one of those that do not
        for file in data.files:
            said = file.model_dump(mode="json", include={"reason", "detail", "hint", "final"})
            found.setdefault("failure" if _is_final(file) else "retrying", said)
        return found
    if isinstance(data, DatasetPartlyRefused):  # one refused file, and what is said of the dataset's own metadata
        refused = [one for one in data.files if one.what == "datafile" and one.detail]
        if refused:
            found["refusal"] = refused[0].model_dump(mode="json", include={"detail", "hint"})
        if data.metadata is not None:
            found["metadata"] = {"detail": data.metadata}
        return found
    name = _STEERING.get(data.action, "") if isinstance(data, UploadControlled) else _REGISTERS.get(type(data), "")
    return {name: data.model_dump(mode="json")} if name else {}


def _is_final(failed: FailedFile) -> bool:
    return failed.final and failed.reason not in STATION_LOOKS


def set_registers(changes: Changes, before: Before, event: Event[EventData]) -> None:
    """Note what the event says over what was said before."""
    candidates = {"last": Register(stamp(event.time), "", "")}
    data, kind, station = event.data, event.data.name, event.station.key
    for name, said in _said(data).items():
        # an answer is ordered by the word that it answers, so that the latest word's stays
        if isinstance(data, DatasetAnnotated | InvestigationAnnotated):
            candidates[name] = Register(stamp(data.said), data.word, kind, said, station, data.order)
        else:
            candidates[name] = Register(stamp(event.time), event.id, kind, said, station, event.order)
    for register, value in candidates.items():
        known = before.registers.get(register)
        if register == "audits":  # reports are kept beside one another: each says what was at its time
            both = remember(known.data if known else {}, {**value.data, "event": value.event_id})
            if known is None or both != known.data:
                last = value if known is None or known.order < value.order else known
                changes.registers[register] = replace(last, data=both)
        elif known is None or known.order < value.order:
            changes.registers[register] = value


def _known(changes: Changes, before: Before, path: bytes) -> FileFacts | None:
    return changes.files.get(path) or before.files.get(path)


def _replace(changes: Changes, before: Before, path: bytes, then: FileFacts | None, now: FileFacts) -> None:
    """Let this be known of a path now, instead of what was known then."""
    if changes.left_out or before.left_out:
        word = changes.left_out.get(path) or before.left_out.get(path)
        now = now.marked(LEFT_OUT, on=word is not None and not word.returned)
    if now == then:
        return
    if then is not None and then.facts and then[:3] != now[:3]:
        changes.failures[path] = None
    changes.files[path] = now


def _fail(changes: Changes, before: Before, failed: FailedFile, said: tuple[int, str]) -> None:
    path = failed.file.raw
    then = _known(changes, before, path)
    facts = newest(then, failed.file)
    if facts is None:
        return
    final = _is_final(failed)
    new = FileFailure(facts.order, said, failed.reason, failed.detail, failed.hint, final)
    old = changes.failures[path] if path in changes.failures else before.failures.get(path)
    if old is not None and old.order == new.order and _rank(old) >= _rank(new):
        _replace(changes, before, path, then, facts)
        return
    _replace(changes, before, path, then, facts.judged(final=final))
    changes.failures[path] = new


def _rank(word: FileFailure) -> tuple[object, ...]:
    return word.stamp, word.final, word.reason, word.detail, word.hint


def _remark(changes: Changes, before: Before, version: FileVersion, source: str, word: Word) -> None:
    path = version.raw
    then = _known(changes, before, path)
    facts = newest(then, version)
    known = changes.remarks.get(path) or before.remarks.get(path)
    if facts is None:
        return
    new = Remarks(facts.order, {source: word})
    both = known.adding(new) if known is not None else new
    if both != known:
        changes.remarks[path] = both
    _replace(changes, before, path, then, _marked(facts, both))


def _take_back(changes: Changes, before: Before, data: MetadataExtracted) -> None:
    """Whoever has read a file now may have said before that it could not."""
    for version in (read.file for read in data.files if not read.problem):
        then = _known(changes, before, version.raw)
        facts = newest(then, version)
        known = changes.remarks.get(version.raw) or before.remarks.get(version.raw)
        if facts is not None and known is not None and known.order == facts.order:
            _replace(changes, before, version.raw, then, _marked(facts, known))


def _marked(facts: FileFacts, known: Remarks) -> FileFacts:
    unread = facts.marked(UNREAD, on=bool(known.unread(facts)))
    return unread.marked(REFUSED, on=known.refused is not None).marked(UNTAKEN, on=bool(known.untaken))


def _keep(changes: Changes, before: Before, data: MetadataExtracted, said: tuple[int, str]) -> None:
    for found in harvests_of(data, said):
        facts = newest(_known(changes, before, found.file.raw), found.file)
        kept = changes.harvests.get(found.what) or before.harvests.get(found.what) or FirstFiles()
        if facts is not None and (now := kept.adding(found, facts.order)) is not kept:
            changes.harvests[found.what] = now


def _leave_out(changes: Changes, before: Before, left: LeftOutFile, said: tuple[int, str]) -> None:
    path = left.raw
    new = LeftOut(said, left.reason, left.detail, left.returned)
    old = changes.left_out.get(path) or before.left_out.get(path)
    if old is not None and (old.stamp, old.returned, old.reason, old.detail) >= (
        new.stamp, new.returned, new.reason, new.detail,
    ):  # fmt: skip
        return
    changes.left_out[path] = new
    if (known := _known(changes, before, path)) is not None:
        _replace(changes, before, path, known, known)
