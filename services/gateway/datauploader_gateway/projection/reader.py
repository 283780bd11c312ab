"""Reads the view back for people: uploads, their files page by page, what is left out, stations."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from redis.asyncio import Redis

from datauploader.contracts import StationReported
from datauploader.contracts.names import display, pack
from datauploader.contracts.rest.descriptions import Description
from datauploader.contracts.rest.files import File, FileState
from datauploader.contracts.rest.stations import ServiceReport, StationStatus
from datauploader.contracts.rest.timing import Timing
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.projection import keys, timing
from datauploader_gateway.projection.facts import STATES, FileFacts, FileFailure, LeftOut
from datauploader_gateway.projection.files import FAILING, KnownFile, describe
from datauploader_gateway.projection.flow import STATION_STEP_S, STATION_STEPS, Flow
from datauploader_gateway.projection.fold import WORDS, Register
from datauploader_gateway.projection.paging import NO_CURSOR, pack_cursor, unpack_cursor
from datauploader_gateway.projection.remarks import Remarks
from datauploader_gateway.projection.search import Search
from datauploader_gateway.projection.station_reports import SILENT_INTERVALS
from datauploader_gateway.projection.summary import Summary, as_of, of_dataset, of_investigation, summarise
from datauploader_gateway.redis_client import raw, text

WATCHER = "watcher"
"""The service whose reports say whether a station speaks: it alone knows what was written there."""
FACILITY_SERVICES = ("catalog", "gateway")
"""Services that report under the name of the server that they run on, and say nothing of a station of that name."""
_CHUNK = 200
_DESCRIBING = ("request", "dataset", "completed", "described", "annotated")


class LeftOutItem(BaseModel):
    """Something in the folder that is not uploaded."""

    path: str
    path_b64: str | None = None
    reason: str
    detail: str


Keep = Callable[[Upload], bool]


def statuses(said: Mapping[Any, Any], known: Sequence[str], now: datetime) -> list[StationStatus]:
    """Return every station that is known or has reported, from the latest reports as the view keeps them."""
    reports: dict[str, list[ServiceReport]] = {key: [] for key in known}
    for field, report in said.items():
        reports.setdefault(text(field).partition("|")[0], []).append(_report(json.loads(report), now))
    found: list[StationStatus] = []
    for key, told in sorted(reports.items()):
        services = tuple(sorted(told, key=lambda report: report.service))
        watchers = [report for report in services if report.service == WATCHER]
        own = [report for report in services if report.service not in FACILITY_SERVICES]
        judged = watchers if watchers or key in known else own
        silent = all(report.silent for report in judged) and bool(judged or key in known)
        last = max((report.time for report in judged), default=None)
        watched = bool(watchers) or key in known
        found.append(
            StationStatus(station=key, silent=silent, last_report=last, services=services, has_watcher=watched)
        )
    return found


class ViewReader:
    """Looks things up in the view, without ever writing to it."""

    def __init__(self, client: Redis) -> None:
        """Read through this client."""
        self._redis = client

    async def upload(self, upload_id: str) -> Upload | None:
        """Return one upload, None where there is none."""
        return (await self.several([upload_id]))[0]

    async def uploads(self, index: str, keep: Keep, after: str, limit: int) -> tuple[list[Upload], str | None]:
        """Return up to `limit` uploads of an index that `keep` accepts, newest first, and the next cursor."""
        found: list[Upload] = []
        created, last = unpack_cursor(after)
        border = (created, last.decode(errors="replace"))
        async for ids in self._ids(index, created, "-inf", "+inf"):
            for upload in await self.several(ids):
                if upload is None or (created and not _is_behind((upload.created, upload.id), border)):
                    continue
                if not keep(upload):
                    continue
                if len(found) == limit:
                    return found, pack_cursor(found[-1].created, found[-1].id)
                found.append(upload)
        return found, None

    async def description(self, upload_id: str) -> Description | None:
        """Return what is said about the dataset of an upload, None where there is none."""
        (found,) = await self._registers([keys.upload(upload_id)])
        return of_dataset(found)

    async def investigations(self, catalogued: Mapping[str, str]) -> dict[str, Description]:
        """Return what is said about investigations, of which the catalogue says this."""
        found = await self._registers([keys.investigation(each) for each in catalogued])
        pairs = zip(catalogued.items(), found, strict=True)
        return {each: of_investigation(registers, text) for (each, text), registers in pairs}

    async def _registers(self, names: Sequence[str]) -> list[dict[str, Register]]:
        """Return what the hashes of these names hold about descriptions."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(name, [f"r:{register}" for register in _DESCRIBING])
            heads = await pipe.execute() if names else []
        return [
            {name: Register.load(text) for name, text in zip(_DESCRIBING, head, strict=True) if text is not None}
            for head in heads
        ]

    async def latest(self, index: str, most: int) -> list[Upload]:
        """Return the newest uploads of an index."""
        ids = await self._redis.zrevrange(index, 0, most - 1)
        found = await self.several([text(upload_id) for upload_id in ids])
        return [upload for upload in found if upload is not None]

    async def files(
        self, upload_id: str, states: Sequence[FileState], after: str, limit: int
    ) -> tuple[list[File], str | None]:
        """Return up to `limit` files in these states, in the order of the states, then of the paths."""
        state, path = unpack_cursor(after)
        wanted = states[states.index(state) if state in states else 0 :]
        async with self._redis.pipeline(transaction=True) as pipe:  # else a file that changes its state comes twice
            for current in wanted:
                start = b"(" + path if current == state else b"-"
                pipe.zrangebylex(keys.in_state(upload_id, current), start, b"+", 0, limit + 1)
            lists = await pipe.execute()
        places = [(current, raw(path)) for current, found in zip(wanted, lists, strict=True) for path in found]
        more = len(places) > limit
        items = [describe(known) for known in await self._known(upload_id, [path for _, path in places[:limit]])]
        return items, pack_cursor(*places[limit - 1]) if more else None

    async def by_path(
        self, upload_id: str, states: Sequence[FileState] = STATES, most: int = 1000
    ) -> AsyncIterator[list[KnownFile]]:
        """Yield all files in these states in order of the bytes of their paths, some at a time."""
        after: bytes | None = b""
        while after is not None:
            files, after = await self.next_by_path(upload_id, after, most, states)
            if files:
                yield files

    async def next_by_path(
        self, upload_id: str, after: bytes, most: int, states: Sequence[FileState] = STATES
    ) -> tuple[list[KnownFile], bytes | None]:
        """Return the next files behind a path, `most` or more if there are so many, and where to go on, if anywhere."""
        start = b"(" + after if after else b"-"
        async with self._redis.pipeline(transaction=True) as pipe:
            for state in states:
                pipe.zrangebylex(keys.in_state(upload_id, state), start, b"+", 0, most)
            lists = await pipe.execute()
        # beyond the earliest end of a list that was cut off, other files may lie between
        border = min((found[-1] for found in lists if len(found) == most), default=None)
        paths = sorted(path for found in lists for path in found if border is None or path <= border)
        failures = any(found for state, found in zip(states, lists, strict=True) if state in FAILING)
        return await self._known(upload_id, paths, failures=failures), border

    async def registers(self, upload_id: str) -> dict[str, Register]:
        """Return what was last said of an upload, by its kind."""
        head = await self._redis.hgetall(keys.upload(upload_id))
        return _registers({raw(name): raw(said) for name, said in head.items()})

    async def last_description(self, upload_id: str, investigation: str = "") -> int:
        """Return the order of what people said last of an upload (or investigation), 0 where they said nothing."""
        key = keys.upload(upload_id) if upload_id else keys.investigation(investigation)
        found = await self._redis.hmget(key, [f"r:{name}" for name in WORDS])
        return max((Register.load(said).order[0] for said in found if said is not None), default=0)

    async def left_out(self, upload_id: str, after: str, limit: int) -> tuple[list[LeftOutItem], str | None]:
        """Return up to `limit` things that are left out, in order of their paths."""
        _, path = unpack_cursor(after)
        start = b"(" + path if after else b"-"
        found = await self._redis.zrangebylex(keys.in_state(upload_id, "left-out"), start, b"+", 0, limit + 1)
        paths = [raw(path) for path in found]
        page = paths[:limit]
        words = await self._redis.hmget(keys.left_out(upload_id), page) if page else []
        items = [
            LeftOutItem(path=display(path), path_b64=pack(path), reason=word.reason, detail=word.detail)
            for path, word in ((path, LeftOut.load(said)) for path, said in zip(page, words, strict=True) if said)
        ]
        return items, pack_cursor("left-out", page[-1]) if len(paths) > limit else None

    async def stations(self, known: Sequence[str], now: datetime) -> list[StationStatus]:
        """Return every station that is configured or has reported."""
        return statuses(await self._redis.hgetall(keys.STATIONS), known, now)

    async def flow(self, upload_id: str) -> Flow:
        """Return how much of an upload moved when."""
        packed = await self._redis.get(keys.flow(upload_id))
        return Flow.unpack(raw(packed)) if packed else Flow()

    async def timing(self, upload: Upload) -> Timing:
        """Return how long each step of an upload's files took."""
        found = await self._redis.hgetall(keys.timing(upload.id))
        parts = ((text(field).split(":"), int(number)) for field, number in found.items())
        return timing.summarise({(int(step), int(bucket)): number for (step, bucket), number in parts}, upload.mode)

    async def station_flow(self, station: str, now: datetime) -> Flow:
        """Return how much of a station moved within the last day."""
        last = int(now.timestamp()) // STATION_STEP_S
        steps = range(last - STATION_STEPS + 1, last + 1)
        found = await self._redis.mget([keys.station_flow(station, step) for step in steps])
        return Flow(STATION_STEP_S, steps.start, tuple(int(number or 0) for number in found))

    async def whole(self) -> bool:
        """Tell whether the view has everything, rather than being rebuilt."""
        return bool(await self._redis.exists(keys.MARKER))

    async def several(self, ids: Sequence[str]) -> list[Upload | None]:
        """Return these uploads, None where there is none."""
        if not ids:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for upload_id in ids:
                pipe.hgetall(keys.upload(upload_id))
            heads = await pipe.execute()
        found: list[Summary | None] = []
        for upload_id, head in zip(ids, heads, strict=True):
            numbers = {name[2:].decode(): int(number) for name, number in head.items() if name.startswith(b"n:")}
            found.append(summarise(upload_id, _registers(head), numbers))
        now = datetime.now(UTC)
        stations = {one.station for one in found if one is not None and not one.over}
        fields = [f"{station}|{WATCHER}" for station in stations]
        said = await self._redis.hmget(keys.STATIONS, fields) if fields else []
        silent: dict[str, str] = {}  # since when: of those whose watcher does not report any more
        for station, word in zip(stations, said, strict=True):
            if word and (report := _report(json.loads(word), now)).silent:
                silent[station] = report.time
        return [one and as_of(one, now, silent.get(one.station)) for one in found]

    async def find(self, search: Search, after: str, limit: int) -> tuple[list[Upload], str | None]:
        """Return up to `limit` uploads that are looked for, newest first, and the next cursor."""
        found: list[tuple[str, str]] = []
        created, last = unpack_cursor(after)
        border = (created, last.decode(errors="replace"))
        low, high = search.span
        names = [f"r:{name}" for name in search.registers]
        async for ids in self._ids(search.viewer.index, created, low, high):
            async with self._redis.pipeline(transaction=False) as pipe:  # of every one only what the search takes
                for upload_id in ids:
                    pipe.hmget(keys.upload(upload_id), names)
                heads = await pipe.execute()
            for upload_id, head in zip(ids, heads, strict=True):
                known = {n: Register.load(said) for n, said in zip(search.registers, head, strict=True) if said}
                if "request" not in known:
                    continue
                place = (known["request"].time, upload_id)
                if (created and not _is_behind(place, border)) or not search.wants(known):
                    continue
                if len(found) == limit:
                    return await self._still_there(found), pack_cursor(*found[-1])
                found.append(place)
        return await self._still_there(found), None

    async def _still_there(self, places: Sequence[tuple[str, str]]) -> list[Upload]:
        return [upload for upload in await self.several([upload_id for _, upload_id in places]) if upload is not None]

    async def _ids(self, index: str, created: str, low: str, high: str) -> AsyncIterator[list[str]]:
        top, start = high, 0
        if created:
            try:
                moment = datetime.fromisoformat(created)
            except ValueError:
                raise InvalidRequest(NO_CURSOR) from None
            top = f"{moment.timestamp():.6f}"
        while ids := await self._redis.zrevrangebyscore(index, top, low, start, _CHUNK):
            start += len(ids)
            yield [text(upload_id) for upload_id in ids]

    async def _known(self, upload_id: str, paths: Sequence[bytes], *, failures: bool = True) -> list[KnownFile]:
        if not paths:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(keys.files(upload_id), list(paths))
            if failures:
                pipe.hmget(keys.failures(upload_id), list(paths))
                pipe.hmget(keys.remarks(upload_id), list(paths))
            facts, *found = await pipe.execute()
        nothing = [None] * len(paths)
        words, remarks = found or (nothing, nothing)
        return [
            KnownFile(
                path,
                FileFacts.unpack(packed),
                FileFailure.load(word) if word else None,
                Remarks.load(remark) if remark else None,
            )
            for path, packed, word, remark in zip(paths, facts, words, remarks, strict=True)
            if packed is not None
        ]


def _registers(head: dict[bytes, bytes]) -> dict[str, Register]:
    return {name[2:].decode(): Register.load(text) for name, text in head.items() if name.startswith(b"r:")}


def _report(said: dict[str, Any], now: datetime) -> ServiceReport:
    data = StationReported.model_validate(said)
    age_s = (now - datetime.fromisoformat(str(said["time"]))).total_seconds()
    silent = age_s > SILENT_INTERVALS * data.interval_s or data.state == "stopping"
    told = {
        "time": said["time"],
        "age_s": max(0.0, age_s),
        "silent": silent,
        "others": tuple(sorted(said.get("others") or ())),
    }
    return ServiceReport.model_validate(data.model_dump() | told)


def _is_behind(place: tuple[str, str], border: tuple[str, str]) -> bool:
    """Tell whether an upload comes behind the border in a list of the newest first; of one moment by falling ids."""
    return place < border
