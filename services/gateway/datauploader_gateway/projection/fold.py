"""How an event changes what is known of its upload: pure, and the same whatever the order and however often it comes.

Three rules make it so. A file's facts are only added to its newest version (`FileFacts`). Everything that is said more
than once, such as a scan, is a register in which the greatest order stays (`Event.order`). Counts are what the changed
files contribute now, less what they contributed before; a file that was announced, is left out now and of which nothing
is stored contributes nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

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
    FileReady,
    FileReleased,
    FileStored,
    FileVersion,
    InvestigationAnnotated,
    InvestigationDescribed,
    LeftOutFile,
    MetadataExtracted,
    RefusedFile,
    StoredFile,
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
from datauploader.contracts.rest.files import FileState
from datauploader_gateway.projection.audited import remember
from datauploader_gateway.projection.facts import (
    ANOTHER_WAY,
    CATALOGUED,
    HARVESTED,
    LEFT_OUT,
    METHODS,
    REFUSED,
    RELEASED,
    UNREAD,
    UNTAKEN,
    UNVERIFIED,
    VERIFIED,
    FileFacts,
    FileFailure,
    LeftOut,
)
from datauploader_gateway.projection.remarks import Remarks, Word, remarks_of
from datauploader_gateway.projection.timing import NEVER, Heard, Times, steps_between

_PROOF = {"verified": VERIFIED, "unverified": UNVERIFIED}
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


@dataclass(frozen=True, slots=True)
class Before:
    """What was known of the things that an event speaks about."""

    registers: Mapping[str, Register] = field(default_factory=dict)
    files: Mapping[bytes, FileFacts] = field(default_factory=dict)
    failures: Mapping[bytes, FileFailure] = field(default_factory=dict)
    left_out: Mapping[bytes, LeftOut] = field(default_factory=dict)
    remarks: Mapping[bytes, Remarks] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """What is different after an event."""

    registers: dict[str, Register] = field(default_factory=dict)
    files: dict[bytes, FileFacts] = field(default_factory=dict)
    moves: dict[bytes, tuple[FileState | None, FileState | None]] = field(default_factory=dict)
    """Files that changed their state: from what, to what; None: it is none of the upload's files."""
    failures: dict[bytes, FileFailure | None] = field(default_factory=dict)
    """None: an older version's failure that no longer matters."""
    left_out: dict[bytes, LeftOut] = field(default_factory=dict)
    remarks: dict[bytes, Remarks] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """What is to be added to each count, such as `verified.files` and `verified.bytes`."""
    retimed: Counter[tuple[Times, Times]] = field(default_factory=Counter)
    """How many files had those times and now have these: in one event they are mostly the same."""

    @property
    def timing(self) -> Counter[tuple[int, int]]:
        """What is to be added to each bucket of each step."""
        return steps_between(self.retimed)

    def __bool__(self) -> bool:
        return bool(self.registers or self.files or self.failures or self.left_out or self.remarks)


@dataclass(frozen=True, slots=True)
class FoldInput:
    """What must be looked up before an event can be folded."""

    registers: tuple[str, ...]
    files: tuple[bytes, ...] = ()
    failures: tuple[bytes, ...] = ()
    left_out: tuple[bytes, ...] = ()
    remarks: tuple[bytes, ...] = ()


def stamp(moment: datetime) -> str:
    """Write a time so that later ones sort behind earlier ones."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def wanted(event: Event[EventData]) -> FoldInput:
    """Name what `fold` needs to know for this event."""
    data = event.data
    registers = ("last", *_said(data))
    if isinstance(data, FileFailed):
        paths = tuple(failed.file.raw for failed in data.files)
        return FoldInput(registers, files=paths, failures=paths, left_out=paths)
    if isinstance(data, FileLeftOut):
        paths = tuple(file.raw for file in data.files)
    elif isinstance(data, DatasetPartlyRefused | MetadataExtracted):
        paths = tuple(one.file.raw for one in data.files)
        return FoldInput(registers, files=paths, left_out=paths, remarks=paths)
    else:
        paths = tuple(version.raw for version, _ in _news(data))
    return FoldInput(registers, files=paths, left_out=paths)


def fold(before: Before, event: Event[EventData]) -> Changes:
    """Say what the event changes."""
    changes, data = Changes(), event.data
    said = (event.order, event.id)
    _set_registers(changes, before, event)
    heard = Heard.of(event)
    for version, bits in _news(data):
        _, facts = _newest(changes, before, version)
        if facts is not None:
            times = heard.adding(facts.times, version.mtime_ns) if heard else facts.times
            _replace(changes, before, version.raw, facts.adding(bits, times))
    if isinstance(data, FileFailed):
        for failed in data.files:
            _fail(changes, before, failed, said)
    if isinstance(data, FileLeftOut):
        for left in data.files:
            _leave_out(changes, before, left, said)
    for version, source, word in remarks_of(data, said):
        _remark(changes, before, version, source, word)
    return changes


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


def _set_registers(changes: Changes, before: Before, event: Event[EventData]) -> None:
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


def _news(data: EventData) -> Iterable[tuple[FileVersion, int]]:
    """Yield each version that the event speaks about, with the facts that it adds; failures are not additions."""
    if isinstance(data, FileReady):
        return ((version, 0) for version in data.files)
    if isinstance(data, FileStored):
        return ((stored.file, _proof(stored)) for stored in data.files)
    if isinstance(data, FileCatalogued):
        return ((known.file, CATALOGUED | _PROOF[known.state]) for known in data.files)
    if isinstance(data, FileReleased):
        return ((version, RELEASED) for version in data.files)
    if isinstance(data, MetadataExtracted | DatasetPartlyRefused):
        # what is refused may be taken back, so it is no fact: see `_remark`
        return (
            (one.file, 0 if isinstance(one, RefusedFile) else UNREAD if one.problem else HARVESTED)
            for one in data.files
        )
    return ()


def _proof(stored: StoredFile) -> int:
    bits = _PROOF[stored.state]
    return bits | METHODS.get(stored.method, ANOTHER_WAY) if bits == VERIFIED else bits


def _newest(changes: Changes, before: Before, version: FileVersion) -> tuple[FileFacts | None, FileFacts | None]:
    """Return what is known of the path, and what is known of this version unless a newer one stands."""
    path, fresh = version.raw, FileFacts.of(version)
    known = changes.files.get(path) or before.files.get(path)
    if known is not None and known.abbreviates(fresh):
        return known, replace(known, digest=fresh.digest)
    if known is None or known.order < fresh.order:
        return known, fresh
    return known, known if known.order == fresh.order else None


def _replace(changes: Changes, before: Before, path: bytes, now: FileFacts) -> None:
    then = changes.files.get(path) or before.files.get(path)
    word = changes.left_out.get(path) or before.left_out.get(path)
    now = now.marked(LEFT_OUT, on=word is not None and not word.returned)
    if now == then:
        return
    if then is not None and then.order != now.order and then.facts:
        changes.failures[path] = None
    changes.files[path] = now
    first, last = _shown(before.files.get(path)), _shown(now)
    changes.moves.pop(path, None)
    if first != last:
        changes.moves[path] = (first, last)
    _count(changes, then, -1)
    _count(changes, now, +1)
    times = then.times if then is not None else NEVER
    if times != now.times:
        changes.retimed[times, now.times] += 1


def _shown(facts: FileFacts | None) -> FileState | None:
    """Return under which state a file is listed, None where it is not."""
    return facts.state if facts is not None and facts.belongs else None


def _count(changes: Changes, facts: FileFacts | None, sign: int) -> None:
    for word, size in facts.counts.items() if facts else ():
        changes.counts[f"{word}.files"] += sign
        changes.counts[f"{word}.bytes"] += sign * size


def _fail(changes: Changes, before: Before, failed: FailedFile, said: tuple[int, str]) -> None:
    path = failed.file.raw
    _, facts = _newest(changes, before, failed.file)
    if facts is None:
        return
    final = _is_final(failed)
    new = FileFailure(facts.order, said, failed.reason, failed.detail, failed.hint, final)
    old = changes.failures[path] if path in changes.failures else before.failures.get(path)
    if old is not None and old.order == new.order and _rank(old) >= _rank(new):
        _replace(changes, before, path, facts)
        return
    _replace(changes, before, path, facts.judged(final=final))
    changes.failures[path] = new


def _rank(word: FileFailure) -> tuple[object, ...]:
    return word.stamp, word.final, word.reason, word.detail, word.hint


def _remark(changes: Changes, before: Before, version: FileVersion, source: str, word: Word) -> None:
    path = version.raw
    _, facts = _newest(changes, before, version)
    known = changes.remarks.get(path) or before.remarks.get(path)
    if facts is None:
        return
    new = Remarks(facts.order, {source: word})
    both = known.adding(new) if known is not None else new
    if both != known:
        changes.remarks[path] = both
    _replace(
        changes, before, path, facts.marked(REFUSED, on=both.refused is not None).marked(UNTAKEN, on=bool(both.untaken))
    )


def _leave_out(changes: Changes, before: Before, left: LeftOutFile, said: tuple[int, str]) -> None:
    path = left.raw
    new = LeftOut(said, left.reason, left.detail, left.returned)
    old = changes.left_out.get(path) or before.left_out.get(path)
    if old is not None and (old.stamp, old.returned, old.reason, old.detail) >= (
        new.stamp, new.returned, new.reason, new.detail,
    ):  # fmt: skip
        return
    changes.left_out[path] = new
    changes.counts["left_out.files"] += (not new.returned) - (old is not None and not old.returned)
    if (known := changes.files.get(path) or before.files.get(path)) is not None:
        _replace(changes, before, path, known)
