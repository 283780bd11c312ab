"""Puts folded events into Redis: one round of reading, one transaction of writing, safe beside other writers."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import redis
from redis.client import Pipeline

from datauploader.contracts import (
    Event,
    EventData,
    InvestigationAnnotated,
    InvestigationDescribed,
    Station,
    StationReported,
    TransferProgressed,
    UploadRequested,
)
from datauploader.contracts.rest.files import FileState
from datauploader.errors import Park
from datauploader.runtime.crash_points import crash_point
from datauploader_gateway.metrics import ACTIVITY
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.columns import columns_of, fold_together
from datauploader_gateway.projection.facts import STATES, FileFailure, LeftOut
from datauploader_gateway.projection.flow import STATION_STEP_S, STATION_STEPS, Flow, moved
from datauploader_gateway.projection.fold import (
    Before,
    Changes,
    FoldInput,
    Register,
    Step,
    fold,
    wanted,
    wanted_together,
)
from datauploader_gateway.projection.harvest_store import late_pictures, read_harvests, write_harvests, write_pictures
from datauploader_gateway.projection.projection_version import ProjectionVersion
from datauploader_gateway.projection.remarks import Remarks
from datauploader_gateway.projection.shifts import Shift
from datauploader_gateway.projection.station_reports import fold_report
from datauploader_gateway.projection.timing import STEPS, until_shown, upper_s
from datauploader_gateway.redis_client import MemoryReserve, raw

KEPT_LIVE = 1000
"""Entries of one upload that a browser which was away can catch up on."""
KEPT_ALL_LIVE = 10_000
_WATCHED = (
    keys.upload, keys.files, keys.failures, keys.left_out, keys.remarks, keys.flow, keys.values, keys.pictures,
)  # fmt: skip
"""What is read before it is written."""
_SHOWN = 10
"""Paths that a live message names."""
_HOME = "home"
"""Field of an upload's hash: the station that it belongs to."""
_LEFT_OUT = "n:left_out.files"


class ViewWriter:
    """Folds one event after another; the same event twice changes nothing."""

    def __init__(self, client: redis.Redis, *, kept_s: float, commits: ProjectionVersion | None = None) -> None:
        """Write through this client; keep an upload for `kept_s` seconds after its last event."""
        self._redis = client
        self._version = commits or ProjectionVersion()
        self._reserve = MemoryReserve(client)
        self._kept_s = int(kept_s)

    def apply(self, *events: Event[EventData], live: bool = False) -> bool:
        """Fold events into the view, those of one upload together; return whether that changed anything.

        `live` ones were heard as they were said: they tell how long they took to be shown, which the event log does
        not know.

        Raises:
            redis.RedisError: Redis is away or full.
            Park: a station speaks about another one's upload.
        """
        self._reserve.require_room()
        changed = False
        for said in _by_subject(events).values():
            changed |= self._apply(said, live=live)
        return changed

    def _apply(self, events: Sequence[Event[EventData]], *, live: bool) -> bool:
        event, data = events[0], events[0].data
        if isinstance(data, StationReported):
            return self._report(event, data)
        while True:
            try:
                if isinstance(data, InvestigationDescribed | InvestigationAnnotated):
                    return self._describe(keys.investigation(data.investigation), event)
                return bool(data.upload_id) and self._fold(data.upload_id, events, live=live)
            except redis.WatchError:
                continue  # another gateway wrote to this upload in between

    def _fold(self, upload_id: str, events: Sequence[Event[EventData]], *, live: bool) -> bool:
        """Fold what one station says of one upload."""
        columns = columns_of(events)
        want = wanted_together([one.wanted for one in columns] if columns else [wanted(event) for event in events])
        with self._redis.pipeline() as pipe:
            pipe.watch(*(name(upload_id) for name in _WATCHED))  # type: ignore[no-untyped-call] # redis-py has no type here
            head = _read_head(pipe, upload_id, want)
            home = _home(head, events[0])
            before, rows = (Before(), {}) if home == "another's" else _read(pipe, upload_id, want, head)
            total, steps = fold_together(before, rows, events, columns)
            if not steps:
                return False
            flow = _flow(pipe, upload_id, before.registers.get("speed"), steps)
            late = late_pictures(pipe, total.harvests)
            pipe.multi()
            if home == "another's":
                pipe.delete(*_names(upload_id))
            if home != "here":
                pipe.hset(keys.upload(upload_id), _HOME, events[0].station.key)
            _write(pipe, upload_id, total)
            write_pictures(pipe, [event for event, _ in steps], late, self._kept_s)
            timing = _timing(total, steps, live=live)
            for (step, bucket), number in timing.items():
                pipe.hincrby(keys.timing(upload_id), f"{step}:{bucket}", number)
            _write_flow(pipe, upload_id, events[0].station, flow)
            for event, _ in steps:
                if isinstance(event.data, UploadRequested):
                    for index in (keys.UPLOADS, keys.of_person(event.data.requested_by.id)):
                        pipe.zadd(index, {upload_id: event.time.timestamp()})
            _tell(pipe, upload_id, total, steps)
            for name in _names(upload_id):
                pipe.expire(name, self._kept_s)
            crash_point("gateway.folding")
            self._commit(pipe)
        crash_point("gateway.folded")
        if live:
            told = [(STEPS[step], upper_s(bucket), number) for (step, bucket), number in timing.items()]
            ACTIVITY.note(events[0].station.key, total.counts, told)
        return True

    def _describe(self, key: str, event: Event[EventData]) -> bool:
        """Fold what is said of an investigation."""
        names = wanted(event).registers
        with self._redis.pipeline() as pipe:
            pipe.watch(key)  # type: ignore[no-untyped-call] # redis-py has no type here
            found = zip(names, pipe.hmget(key, [f"r:{name}" for name in names]), strict=True)
            changes = fold(Before({name: Register.load(text) for name, text in found if text is not None}), event)
            if not changes:
                return False
            pipe.multi()
            pipe.hset(key, mapping={f"r:{name}": value.dump() for name, value in changes.registers.items()})
            pipe.expire(key, self._kept_s)
            self._commit(pipe)
        return True

    def _commit(self, pipe: Pipeline) -> None:
        """Make a change, and count it in the same transaction."""
        before = self._version.highest
        pipe.set(keys.COMMITTED, int(time.time()))
        pipe.incr(keys.COMMITS)
        self._version.made(before, int(pipe.execute()[-1]))

    def _report(self, event: Event[EventData], data: StationReported) -> bool:
        field = f"{event.station.key}|{data.service}"
        known = self._redis.hget(keys.STATIONS, field)
        report = fold_report(event, data, json.loads(known) if known is not None else None)
        if report is None:
            return False
        with self._redis.pipeline() as pipe:
            pipe.hset(keys.STATIONS, field, json.dumps(report))
            pipe.xadd(keys.ALL_LIVE, {"station": event.station.key}, maxlen=KEPT_ALL_LIVE, approximate=True)
            self._commit(pipe)
        return True


def _names(upload_id: str) -> list[str]:
    """Name everything that is kept of an upload."""
    own = [name(upload_id) for name in (*_WATCHED, keys.live, keys.timing)]
    return own + [keys.in_state(upload_id, state) for state in (*STATES, "left-out")]


def _by_subject(events: Iterable[Event[EventData]]) -> dict[object, list[Event[EventData]]]:
    """Group events by their upload and the station that speaks; what is about something else stands alone."""
    groups: dict[object, list[Event[EventData]]] = {}
    for event in events:
        alone = isinstance(event.data, StationReported | InvestigationDescribed | InvestigationAnnotated)
        groups.setdefault(event.id if alone else (event.data.upload_id, event.station.key), []).append(event)
    return groups


def _home(head: Mapping[str, bytes | None], event: Event[EventData]) -> Literal["here", "unknown", "another's"]:
    """Say whether an upload belongs to the station that speaks about it; the first one that was heard of has it.

    Another's is given up for a request, as long as nobody else has asked for the upload.

    Raises:
        Park: the upload belongs to another station; the broker vouches for the station of an event alone.
    """
    if (home := head[_HOME]) is None:
        return "unknown"
    if (station := home.decode()) == event.station.key:
        return "here"
    if head[keys.REQUEST] is None and isinstance(event.data, UploadRequested):
        return "another's"
    raise Park(f"{event.station.key} speaks about upload {event.data.upload_id}, which belongs to {station}")


def _read_head(pipe: Pipeline, upload_id: str, want: FoldInput) -> dict[str, bytes | None]:
    """Read whose the upload is, how much is left out of it, and the registers."""
    fields = [_HOME, _LEFT_OUT, keys.REQUEST, *(f"r:{name}" for name in want.registers)]
    found = pipe.hmget(keys.upload(upload_id), fields)
    return {field: None if value is None else raw(value) for field, value in zip(fields, found, strict=True)}


def _read(
    pipe: Pipeline, upload_id: str, want: FoldInput, head: Mapping[str, bytes | None]
) -> tuple[Before, dict[bytes, bytes]]:
    """Read what is wanted, the files as they are kept."""
    registers = ((name, head[f"r:{name}"]) for name in want.registers)
    # what has come back is no longer left out: it matters to nothing but what is said of the same again
    left_out = want.left_out if want.returned or int(head[_LEFT_OUT] or 0) else ()
    before = Before(
        registers={name: Register.load(text) for name, text in registers if text is not None},
        failures={p: FileFailure.load(v) for p, v in _lookup(pipe, keys.failures(upload_id), want.failures)},
        left_out={p: LeftOut.load(v) for p, v in _lookup(pipe, keys.left_out(upload_id), left_out)},
        remarks={p: Remarks.load(v) for p, v in _lookup(pipe, keys.remarks(upload_id), want.remarks)},
        harvests=read_harvests(pipe, upload_id, want.harvests),
    )
    return before, dict(_lookup(pipe, keys.files(upload_id), want.files))


def _lookup(pipe: Pipeline, key: str, paths: tuple[bytes, ...]) -> Iterable[tuple[bytes, bytes]]:
    if not paths:
        return ()
    found = pipe.hmget(key, list(paths))
    return ((path, raw(value)) for path, value in zip(paths, found, strict=True) if value is not None)


def _write(pipe: Pipeline, upload_id: str, changes: Changes) -> None:
    head = keys.upload(upload_id)
    if changes.registers:
        pipe.hset(head, mapping={f"r:{name}": value.dump() for name, value in changes.registers.items()})
    for name, number in changes.counts.items():
        if number:
            pipe.hincrby(head, f"n:{name}", number)
    if rows := changes.rows or {path: facts.pack() for path, facts in changes.files.items()}:
        pipe.hset(keys.files(upload_id), mapping=_fields(rows))
    _move(pipe, upload_id, changes)
    if kept := {path: word.dump().encode() for path, word in changes.failures.items() if word is not None}:
        pipe.hset(keys.failures(upload_id), mapping=_fields(kept))
    if gone := [path for path, word in changes.failures.items() if word is None]:
        pipe.hdel(keys.failures(upload_id), *gone)
    if changes.remarks:
        said = {path: word.dump().encode() for path, word in changes.remarks.items()}
        pipe.hset(keys.remarks(upload_id), mapping=_fields(said))
    write_harvests(pipe, upload_id, changes.harvests)
    _write_left_out(pipe, upload_id, changes)


def _move(pipe: Pipeline, upload_id: str, changes: Changes) -> None:
    leaving: dict[FileState, list[bytes]] = {}
    arriving: dict[FileState, list[bytes]] = {}
    for shift in changes.shifts:
        then, now = shift.states
        if then is not None and then != now:
            leaving.setdefault(then, []).extend(shift.paths)
        if now is not None and then != now:
            arriving.setdefault(now, []).extend(shift.paths)
    for state, paths in leaving.items():
        pipe.zrem(keys.in_state(upload_id, state), *paths)
    for state, paths in arriving.items():
        pipe.zadd(keys.in_state(upload_id, state), dict.fromkeys(paths, 0))


def _write_left_out(pipe: Pipeline, upload_id: str, changes: Changes) -> None:
    if not changes.left_out:
        return
    pipe.hset(keys.left_out(upload_id), mapping=_fields({p: v.dump() for p, v in changes.left_out.items()}))
    index = keys.in_state(upload_id, "left-out")
    if out := {path: 0.0 for path, word in changes.left_out.items() if not word.returned}:
        pipe.zadd(index, out)
    if back := [path for path, word in changes.left_out.items() if word.returned]:
        pipe.zrem(index, *back)


def _timing(total: Changes, steps: Sequence[Step], *, live: bool) -> Counter[tuple[int, int]]:
    """Return what is to be added to each bucket of each step, that until it is shown included."""
    timing = total.timing
    for event, changes in steps if live else ():
        if (shown := changes.counts["catalogued.files"]) > 0:
            timing[until_shown(event.time, datetime.now(UTC))] += shown
    return Counter({key: number for key, number in timing.items() if number})


def _tell(pipe: Pipeline, upload_id: str, total: Changes, steps: Sequence[Step]) -> None:
    """Tell those who watch, in one entry."""
    entry: dict[str, str] = {"event": steps[-1][0].data.name}
    for event, _ in steps:
        if isinstance(data := event.data, TransferProgressed):
            progress = {
                "upload": upload_id,
                "waiting": data.waiting,
                "speed": data.bytes_per_s,
                "paused": data.paused,
                "trouble": data.trouble,
                "moving": [file.model_dump(mode="json") for file in data.moving],
            }
            entry["progress"] = json.dumps(progress)
    if groups := _summary_of_moves(total):
        entry["files"] = json.dumps([{"upload": upload_id} | group for group in groups])
    pipe.xadd(keys.live(upload_id), _fields(entry), maxlen=KEPT_LIVE, approximate=True)
    pipe.xadd(keys.ALL_LIVE, {"upload": upload_id}, maxlen=KEPT_ALL_LIVE, approximate=True)


def _flow(
    pipe: Pipeline, upload_id: str, last: Register | None, steps: Sequence[Step]
) -> tuple[Flow, list[tuple[float, int]]]:
    """Return how much has moved when, with what is said that is new: when, and how many bytes."""
    amounts, begun = [], last is not None
    for event, changes in steps:
        if isinstance(event.data, TransferProgressed) and (speed := changes.registers.get("speed")):
            if amount := moved(last.time if last else None, event.time, event.data.bytes_per_s):
                amounts.append((event.time.timestamp(), amount))
            last = speed
    packed = pipe.get(keys.flow(upload_id)) if amounts and begun else None
    series = Flow.unpack(raw(packed)) if packed else Flow()
    for at, amount in amounts:
        series = series.adding(at, amount)
    return series, amounts


def _write_flow(pipe: Pipeline, upload_id: str, station: Station, flow: tuple[Flow, list[tuple[float, int]]]) -> None:
    series, amounts = flow
    if amounts:
        pipe.set(keys.flow(upload_id), series.pack())
    now, kept_s = time.time(), STATION_STEPS * STATION_STEP_S
    for at, amount in amounts:
        if now - kept_s < int(at) < now + STATION_STEP_S:
            name = keys.station_flow(station.key, int(at) // STATION_STEP_S)
            pipe.incrby(name, amount)
            pipe.expire(name, kept_s + STATION_STEP_S)


def _fields(entry: Mapping[Any, str | bytes]) -> dict[Any, Any]:
    """Widen a mapping to what redis-py declares."""
    return dict(entry)


def _summary_of_moves(changes: Changes) -> list[dict[str, object]]:
    """Describe the files that changed their state, a line for each new state, for those who watch."""
    groups: dict[FileState, list[Shift]] = {}
    for shift in changes.shifts:
        then, now = shift.states
        if now is not None and then != now:
            groups.setdefault(now, []).append(shift)
    found: list[dict[str, object]] = []
    for state, shifts in groups.items():
        paths = [path for shift in shifts for path in shift.paths]
        found.append(
            {
                "state": state,
                "files": len(paths),
                "bytes": sum(shift.bytes_now for shift in shifts),
                "paths": [path.decode("utf-8", "replace") for path in paths[:_SHOWN]],
                "detail": _why(changes, paths),
            }
        )
    return found


def _why(changes: Changes, paths: Iterable[bytes]) -> str:
    """Return the first reason that is told of these files, "" where there is none."""
    if changes.failures or changes.remarks:
        for path in paths:
            failure, remarks = changes.failures.get(path), changes.remarks.get(path)
            if remarks is not None and remarks.refused is not None:
                return str(remarks.refused[2])
            if failure is not None and failure.detail:
                return failure.detail
    return ""
