"""What changes, as it changes: one reader of Redis for each thing that is watched, however many watch it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway import metrics, redis_client
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.redis_client import Entries

log = structlog.get_logger()

PAUSE_S = 0.2
"""How often changes are looked for; those within this time are told together."""
TOLD_PER_S = 250
"""Watchers of one thing that are told in a second: a crowd hears less often, and nobody else waits behind it."""
SLICE = 10
"""Watchers that are told without a pause."""
MOST = 1000
"""Entries that are read at once."""
REFRESH_S = 5.0
"""How often somebody who watches an upload is told how it is although nothing was said: silence is news as well."""
BACKLOG = 200
"""Batches that a slow browser may be behind before its stream ends; it comes back with its position."""


@dataclass(frozen=True, slots=True)
class Message:
    """One server-sent event, already in JSON."""

    event: str
    data: str
    position: str
    upload: Upload | None = None
    """What it is about, for deciding who may see it; None: everybody."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What is told together, in one object for all who watch; an empty one only says that the stream still lives."""

    messages: Sequence[Message] = ()

    @property
    def ends(self) -> bool:
        """Nothing more will be told."""
        return any(message.event == "end" for message in self.messages)


Queue = asyncio.Queue[Batch | None]
Build = Callable[[Entries], Awaitable[Batch]]
Refresh = Callable[[str], Awaitable[Batch]]
"""Says how something is now, under the position of what was told last."""


class StreamHandle:
    """A handle by which the reader of a stream is reached from elsewhere."""

    def __init__(self) -> None:
        """Begin with nobody at its end."""
        self._queue: Queue | None = None
        self.over = False

    def attach_queue(self, queue: Queue) -> None:
        """Say where the reader waits."""
        self._queue = queue

    def send_keepalive(self) -> None:
        """Let the reader show that it still lives."""
        if self._queue is not None and self._queue.empty():
            self._queue.put_nowait(Batch())

    def end_stream(self) -> None:
        """End the stream."""
        self.over = True
        if self._queue is not None:
            _end(self._queue)


class LiveStreams:
    """Live streams for everybody who watches; lives in the gateway's event loop."""

    def __init__(self, client: Redis, reader: ViewReader, stations: Sequence[str]) -> None:
        """Read through this client."""
        self._redis = client
        self._reader = reader
        self._stations = stations
        self._feeds: dict[str, _Feed] = {}
        self._tail: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to listen for changes."""
        self._tail = asyncio.create_task(self._follow())

    def close(self) -> None:
        """End every stream; call it from the event loop."""
        self._closing = True
        if self._tail is not None:
            self._tail.cancel()
        for feed in list(self._feeds.values()):
            feed.end()

    async def upload(self, upload_id: str, after: str, handle: StreamHandle) -> AsyncGenerator[Batch]:
        """Yield what happens to one upload, from a position on; ends when it is over."""
        key = keys.live(upload_id)
        if not after or not await redis_client.entries(self._redis, key, f"({after}", count=1):
            after = await redis_client.newest(self._redis, key)
            greeting = Batch(_state_messages(await self._reader.upload(upload_id), after))
            yield greeting
            if greeting.ends:
                return

        async def refresh(position: str) -> Batch:
            return Batch(_state_messages(await self._reader.upload(upload_id), position))

        async for batch in self._watch(key, self._of_upload(upload_id), after, handle, refresh):
            yield batch
            if batch.ends:
                return

    async def everything(self, after: str, handle: StreamHandle) -> AsyncGenerator[Batch]:
        """Yield what happens to all uploads and stations, from a position on."""
        async for batch in self._watch(keys.ALL_LIVE, self._of_all, after, handle):
            yield batch

    async def _watch(
        self, key: str, build: Build, after: str, handle: StreamHandle, refresh: Refresh | None = None
    ) -> AsyncGenerator[Batch]:
        now = await redis_client.newest(self._redis, key)
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = _Feed(self._redis, key, build, now, refresh)
        with metrics.STREAMS.track_inprogress(), feed.subscription() as queue:
            handle.attach_queue(queue)
            try:
                if after and _order(after) < _order(feed.position):
                    yield await build(await redis_client.entries(self._redis, key, f"({after}", feed.position))
                while not (self._closing or handle.over) and (batch := await queue.get()) is not None:
                    yield batch
            finally:
                if feed.unwatched_but_for(queue):
                    self._feeds.pop(key, None)
                    feed.stop()

    async def _follow(self) -> None:
        position = ""
        while True:
            try:
                position = position or await redis_client.newest(self._redis, keys.ALL_LIVE)
                while entries := await redis_client.entries(self._redis, keys.ALL_LIVE, f"({position}", count=MOST):
                    position = entries[-1][0].decode()
                    self._wake(entries)
            except RedisError as error:
                log.warning("live_reader_retry_scheduled", problem=str(error))
            except Exception:  # whatever it is, those who watch must not be left in silence
                log.exception("live_reader_failed")
            await asyncio.sleep(PAUSE_S)

    def _wake(self, entries: Entries) -> None:
        names = {keys.live(entry[b"upload"].decode()) for _, entry in entries if b"upload" in entry}
        for key in (*names, keys.ALL_LIVE):
            if feed := self._feeds.get(key):
                feed.changed.set()

    def _of_upload(self, upload_id: str) -> Build:
        async def build(entries: Entries) -> Batch:
            upload = await self._reader.upload(upload_id)
            if upload is not None and upload.over:  # what was said since the entries were read came before its end
                rest = await redis_client.entries(self._redis, keys.live(upload_id), f"({entries[-1][0].decode()}")
                entries = [*entries, *rest]
            messages: list[Message] = []
            for position, entry in entries:
                if b"progress" in entry:
                    messages.append(Message("progress", entry[b"progress"].decode(), position.decode()))
                groups = json.loads(entry.get(b"files", b"[]"))
                messages += [Message("files", json.dumps(group), position.decode()) for group in groups]
            return Batch(messages + _state_messages(upload, entries[-1][0].decode()))

        return build

    async def _of_all(self, entries: Entries) -> Batch:
        position = entries[-1][0].decode()
        ids = dict.fromkeys(entry[b"upload"].decode() for _, entry in entries if b"upload" in entry)
        uploads = [upload for upload in await self._reader.several(list(ids)) if upload is not None]
        messages = [Message("upload", upload.model_dump_json(), position, upload) for upload in uploads]
        named = {entry[b"station"].decode() for _, entry in entries if b"station" in entry}
        if named:
            known = await self._reader.stations(self._stations, datetime.now(UTC))
            messages += [Message("station", s.model_dump_json(), position) for s in known if s.station in named]
        return Batch(messages)


class _Feed:
    """Reads one stream of Redis once and hands it to all who watch."""

    def __init__(self, client: Redis, key: str, build: Build, position: str, refresh: Refresh | None) -> None:
        self._redis, self._key, self._build, self._refresh = client, key, build, refresh
        self._said = ""
        self.position = position
        self.changed = asyncio.Event()
        self.changed.set()  # something may have come since the position was read
        self._queues: set[Queue] = set()
        self._over = False
        self._task = asyncio.create_task(self._run())

    def subscription(self) -> "_Subscription":
        return _Subscription(self._queues)

    def unwatched_but_for(self, queue: Queue) -> bool:
        return self._queues <= {queue}

    def stop(self) -> None:
        self._over = True  # Redis' client may swallow the cancellation in the middle of a read
        self._task.cancel()

    def end(self) -> None:
        for queue in self._queues:
            _end(queue)

    async def _run(self) -> None:
        while not self._over:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), REFRESH_S if self._refresh else None)
            try:
                if self.changed.is_set():
                    self.changed.clear()
                    await self._hand_out()
                elif self._refresh is not None:
                    await self._tell(await self._refresh(self.position))
            except RedisError as error:
                log.warning("live_feed_retry_scheduled", problem=str(error))
                await asyncio.sleep(1)
                self.changed.set()
            except Exception:  # the watchers' streams end and come back
                log.exception("live_feed_failed")
                self.end()

    async def _hand_out(self) -> None:
        entries = await redis_client.entries(self._redis, self._key, f"({self.position}", count=MOST)
        if not entries:
            return
        batch = await self._build(entries)
        self.position = entries[-1][0].decode()
        if len(entries) == MOST:
            self.changed.set()
        await self._tell(batch)

    async def _tell(self, batch: Batch) -> None:
        """Hand a batch to all who watch, unless it says no more than what was said before."""
        states = [message.data for message in batch.messages if message.event == "upload"]
        if len(states) == len(batch.messages) == 1 and self._refresh is not None and states[0] == self._said:
            return
        self._said = states[-1] if states else self._said
        watching = tuple(self._queues)
        for start in range(0, len(watching), SLICE):
            if start:
                await asyncio.sleep(SLICE / TOLD_PER_S)
            for queue in watching[start : start + SLICE]:
                if queue.qsize() >= BACKLOG:
                    _end(queue)
                else:
                    queue.put_nowait(batch)


class _Subscription:
    """Somebody's place in a feed."""

    def __init__(self, queues: set[Queue]) -> None:
        self._queues = queues
        self._queue: Queue = asyncio.Queue()

    def __enter__(self) -> Queue:
        self._queues.add(self._queue)
        return self._queue

    def __exit__(self, *_: object) -> None:
        self._queues.discard(self._queue)


def _end(queue: Queue) -> None:
    with suppress(asyncio.QueueEmpty):
        while True:
            queue.get_nowait()
    queue.put_nowait(None)


def _state_messages(upload: Upload | None, position: str) -> list[Message]:
    if upload is None:
        return []
    text = upload.model_dump_json()
    messages = [Message("upload", text, position, upload)]
    return [*messages, Message("end", text, position, upload)] if upload.over else messages


def _order(position: str) -> tuple[int, int]:
    milliseconds, _, number = position.partition("-")
    return int(milliseconds), int(number or 0)
