"""Puts folded events into Redis: one round of reading, one transaction of writing, safe beside other writers."""

import json
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import redis
from redis.client import Pipeline

from datauploader.contracts import (
    Event,
    EventData,
    InvestigationAnnotated,
    InvestigationDescribed,
    StationReported,
    TransferProgressed,
    UploadRequested,
)
from datauploader.contracts.model import microseconds
from datauploader.contracts.rest.files import FileState
from datauploader.errors import Park
from datauploader.runtime.crash_points import crash_point
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.facts import STATES, FileFacts, FileFailure, LeftOut
from datauploader_gateway.projection.flow import STATION_STEP_S, STATION_STEPS, Flow, moved
from datauploader_gateway.projection.fold import Before, Changes, FoldInput, Register, fold, stamp, wanted
from datauploader_gateway.projection.projection_version import ProjectionVersion
from datauploader_gateway.projection.remarks import Remarks
from datauploader_gateway.projection.timing import until_shown
from datauploader_gateway.redis_client import MemoryReserve, raw

SILENT_INTERVALS = 3
"""Reports that a service may miss before it is away."""
KEPT_LIVE = 1000
"""Entries of one upload that a browser which was away can catch up on."""
KEPT_ALL_LIVE = 10_000
_WATCHED = (keys.upload, keys.files, keys.failures, keys.left_out, keys.remarks, keys.flow)
"""What is read before it is written."""
_SHOWN = 10
"""Paths that a live message names."""
_HOME = "home"
"""Field of an upload's hash: the station that it belongs to."""


class ViewWriter:
    """Folds one event after another; the same event twice changes nothing."""

    def __init__(self, client: redis.Redis, *, kept_s: float, commits: ProjectionVersion | None = None) -> None:
        """Write through this client; keep an upload for `kept_s` seconds after its last event."""
        self._redis = client
        self._version = commits or ProjectionVersion()
        self._reserve = MemoryReserve(client)
        self._kept_s = int(kept_s)

    def apply(self, event: Event[EventData], *, live: bool = False) -> bool:
        """Fold an event into the view; return whether it changed anything.

        A `live` one was heard as it was said: it tells how long it took to be shown, which the event log does not know.

        Raises:
            redis.RedisError: Redis is away or full; nothing was changed.
            Park: a station speaks about another one's upload.
        """
        self._reserve.require_room()
        if isinstance(event.data, StationReported):
            return self._report(event, event.data)
        key = ""
        if isinstance(event.data, InvestigationDescribed | InvestigationAnnotated):
            key = keys.investigation(event.data.investigation)
        if not key and not event.data.upload_id:
            return False
        while True:
            try:
                return self._describe(key, event) if key else self._fold(event, live=live)
            except redis.WatchError:
                continue  # another gateway wrote to this upload in between

    def _fold(self, event: Event[EventData], *, live: bool) -> bool:
        upload_id, want = event.data.upload_id, wanted(event)
        with self._redis.pipeline() as pipe:
            pipe.watch(*(name(upload_id) for name in _WATCHED))  # type: ignore[no-untyped-call] # redis-py has no type here
            home = _home(pipe, event)
            before = Before() if home == "another's" else _read(pipe, upload_id, want)
            changes = fold(before, event)
            if not changes:
                return False
            flow = _flow(pipe, event, before, changes)
            timing = changes.timing
            if live and (shown := changes.counts["catalogued.files"]) > 0:
                timing[until_shown(event.time, datetime.now(UTC))] = shown
            pipe.multi()
            if home == "another's":
                pipe.delete(*_names(upload_id))
            if home != "here":
                pipe.hset(keys.upload(upload_id), _HOME, event.station.key)
            _write(pipe, upload_id, changes)
            for (step, bucket), number in timing.items():
                if number:
                    pipe.hincrby(keys.timing(upload_id), f"{step}:{bucket}", number)
            _write_flow(pipe, event, flow)
            if isinstance(event.data, UploadRequested):
                for index in (keys.UPLOADS, keys.of_person(event.data.requested_by.id)):
                    pipe.zadd(index, {upload_id: event.time.timestamp()})
            _tell(pipe, event, changes)
            for name in _names(upload_id):
                pipe.expire(name, self._kept_s)
            crash_point("gateway.folding")
            self._commit(pipe)
        crash_point("gateway.folded")
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
        moment = stamp(event.time)
        before = json.loads(known) if known is not None else None
        if before is not None and _is_older(event, data, before):
            return False
        report = data.model_dump(mode="json") | {"time": moment, "order": event.order}
        report["others"] = _others(before, data.host, event.time)
        with self._redis.pipeline() as pipe:
            pipe.hset(keys.STATIONS, field, json.dumps(report))
            pipe.xadd(keys.ALL_LIVE, {"station": event.station.key}, maxlen=KEPT_ALL_LIVE, approximate=True)
            self._commit(pipe)
        return True


def _others(before: Mapping[str, Any] | None, host: str, now: datetime) -> dict[str, str]:
    """Return the other computers that have said of late that they are this service of this station, and when."""
    if before is None:
        return {}
    said = dict(before.get("others", {}))
    if before["state"] != "stopping":
        said[before["host"]] = before["time"]
    late = now - SILENT_INTERVALS * timedelta(seconds=float(before["interval_s"]))
    return {one: time for one, time in said.items() if one != host and datetime.fromisoformat(time) > late}


def _is_older(event: Event[EventData], data: StationReported, before: Mapping[str, Any]) -> bool:
    """Tell whether a report is older than the one that is kept: by its number, which each computer counts for itself.

    Between two computers the times decide, unless the one that is kept was said by a clock that was ahead.
    """
    time = datetime.fromisoformat(before["time"])
    if before["host"] == data.host:
        return int(before.get("order") or microseconds(time)) >= event.order
    return event.time <= time <= datetime.now(UTC) + timedelta(minutes=1)


def _names(upload_id: str) -> list[str]:
    """Name everything that is kept of an upload."""
    own = [name(upload_id) for name in (*_WATCHED, keys.live, keys.timing)]
    return own + [keys.in_state(upload_id, state) for state in (*STATES, "left-out")]


def _home(pipe: Pipeline, event: Event[EventData]) -> Literal["here", "unknown", "another's"]:
    """Say whether an upload belongs to the station that speaks about it; the first one that was heard of has it.

    Another's is given up for a request, as long as nobody else has asked for the upload.

    Raises:
        Park: the upload belongs to another station; the broker vouches for the station of an event alone.
    """
    key = keys.upload(event.data.upload_id)
    home, asked = pipe.hmget(key, [_HOME, "r:request"])
    if home is None:
        return "unknown"
    station = raw(home).decode()
    if station == event.station.key:
        return "here"
    if asked is None and isinstance(event.data, UploadRequested):
        return "another's"
    raise Park(f"{event.station.key} speaks about upload {event.data.upload_id}, which belongs to {station}")


def _read(pipe: Pipeline, upload_id: str, want: FoldInput) -> Before:
    registers = zip(want.registers, pipe.hmget(keys.upload(upload_id), [f"r:{n}" for n in want.registers]), strict=True)
    return Before(
        registers={name: Register.load(text) for name, text in registers if text is not None},
        files={p: FileFacts.unpack(v) for p, v in _lookup(pipe, keys.files(upload_id), want.files)},
        failures={p: FileFailure.load(v) for p, v in _lookup(pipe, keys.failures(upload_id), want.failures)},
        left_out={p: LeftOut.load(v) for p, v in _lookup(pipe, keys.left_out(upload_id), want.left_out)},
        remarks={p: Remarks.load(v) for p, v in _lookup(pipe, keys.remarks(upload_id), want.remarks)},
    )


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
    if changes.files:
        pipe.hset(keys.files(upload_id), mapping=_fields({path: facts.pack() for path, facts in changes.files.items()}))
    _move(pipe, upload_id, changes)
    if kept := {path: word.dump().encode() for path, word in changes.failures.items() if word is not None}:
        pipe.hset(keys.failures(upload_id), mapping=_fields(kept))
    if gone := [path for path, word in changes.failures.items() if word is None]:
        pipe.hdel(keys.failures(upload_id), *gone)
    if changes.remarks:
        said = {path: word.dump().encode() for path, word in changes.remarks.items()}
        pipe.hset(keys.remarks(upload_id), mapping=_fields(said))
    _write_left_out(pipe, upload_id, changes)


def _move(pipe: Pipeline, upload_id: str, changes: Changes) -> None:
    leaving: dict[str, list[bytes]] = {}
    arriving: dict[str, dict[bytes, float]] = {}
    for path, (then, now) in changes.moves.items():
        if then is not None:
            leaving.setdefault(then, []).append(path)
        if now is not None:
            arriving.setdefault(now, {})[path] = 0
    for state, paths in leaving.items():
        pipe.zrem(keys.in_state(upload_id, state), *paths)
    for state, scores in arriving.items():
        pipe.zadd(keys.in_state(upload_id, state), scores)


def _write_left_out(pipe: Pipeline, upload_id: str, changes: Changes) -> None:
    if not changes.left_out:
        return
    pipe.hset(keys.left_out(upload_id), mapping=_fields({p: v.dump() for p, v in changes.left_out.items()}))
    index = keys.in_state(upload_id, "left-out")
    if out := {path: 0.0 for path, word in changes.left_out.items() if not word.returned}:
        pipe.zadd(index, out)
    if back := [path for path, word in changes.left_out.items() if word.returned]:
        pipe.zrem(index, *back)


def _tell(pipe: Pipeline, event: Event[EventData], changes: Changes) -> None:
    data = event.data
    entry: dict[str, str] = {"event": data.name}
    if isinstance(data, TransferProgressed):
        progress = {
            "upload": data.upload_id,
            "waiting": data.waiting,
            "speed": data.bytes_per_s,
            "paused": data.paused,
            "trouble": data.trouble,
            "moving": [file.model_dump(mode="json") for file in data.moving],
        }
        entry["progress"] = json.dumps(progress)
    if groups := _summary_of_moves(changes):
        entry["files"] = json.dumps([{"upload": data.upload_id} | group for group in groups])
    pipe.xadd(keys.live(data.upload_id), _fields(entry), maxlen=KEPT_LIVE, approximate=True)
    pipe.xadd(keys.ALL_LIVE, {"upload": data.upload_id}, maxlen=KEPT_ALL_LIVE, approximate=True)


def _flow(pipe: Pipeline, event: Event[EventData], before: Before, changes: Changes) -> tuple[Flow, int] | None:
    """Return how much has moved when, with what this event says, if it says something new."""
    data = event.data
    if not isinstance(data, TransferProgressed) or "speed" not in changes.registers:
        return None
    last = before.registers.get("speed")
    amount = moved(last.time if last else None, event.time, data.bytes_per_s)
    if not amount:
        return None
    packed = pipe.get(keys.flow(data.upload_id)) if last else None
    return (Flow.unpack(raw(packed)) if packed else Flow()).adding(event.time.timestamp(), amount), amount


def _write_flow(pipe: Pipeline, event: Event[EventData], flow: tuple[Flow, int] | None) -> None:
    if flow is None:
        return
    series, amount = flow
    pipe.set(keys.flow(event.data.upload_id), series.pack())
    at, now = int(event.time.timestamp()), time.time()
    kept_s = STATION_STEPS * STATION_STEP_S
    if now - kept_s < at < now + STATION_STEP_S:
        name = keys.station_flow(event.station.key, at // STATION_STEP_S)
        pipe.incrby(name, amount)
        pipe.expire(name, kept_s + STATION_STEP_S)


def _fields(entry: Mapping[Any, str | bytes]) -> dict[Any, Any]:
    """Widen a mapping to what redis-py declares."""
    return dict(entry)


def _summary_of_moves(changes: Changes) -> list[dict[str, object]]:
    """Describe the files that changed their state, a line for each new state, for those who watch."""
    groups: dict[FileState, list[bytes]] = {}
    for path, (_, now) in changes.moves.items():
        if now is not None:
            groups.setdefault(now, []).append(path)
    return [
        {
            "state": state,
            "files": len(paths),
            "bytes": sum(changes.files[path].size for path in paths),
            "paths": [path.decode("utf-8", "replace") for path in paths[:_SHOWN]],
            "detail": next((detail for path in paths if (detail := _why(changes, path))), ""),
        }
        for state, paths in groups.items()
    ]


def _why(changes: Changes, path: bytes) -> str:
    failure, remarks = changes.failures.get(path), changes.remarks.get(path)
    if remarks is not None and remarks.refused is not None:
        return remarks.refused[2]
    return failure.detail if failure is not None else ""
