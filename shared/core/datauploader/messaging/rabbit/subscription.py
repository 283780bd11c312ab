"""What every consumer has in common: a channel that comes back, threads for its jobs, and an orderly end."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import structlog
from pika.spec import BasicProperties

from datauploader.errors import BrokerUnreachable, MessagingError
from datauploader.messaging.provenance import DeliveryPath
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.connection import BrokerConnection, keep
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.message import came
from datauploader.messaging.rabbit.options import Tuning
from datauploader.reliability.worker import WorkerThread

log = structlog.get_logger()

_MARGIN_S = 0.5
"""What the owner's thread may take beyond a deadline to say that it has passed."""
_CANCEL_S = 2.0
"""What a broker that does not answer may take to stop delivering."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came, with the channel that alone may carry its verdict: that is the connection's epoch."""

    channel: Channel
    tag: int
    properties: BasicProperties
    body: bytes
    came: DeliveryPath
    redelivered: bool
    """It may have been delivered before."""


Settle = Callable[[], Awaitable[None] | None]
"""What the owner's thread has to do after a job: at once, or by awaiting what it returns."""


class Source(Protocol):
    """What makes one consumer different from another."""

    most: int
    """Messages that it works on together, at most."""

    async def attach(
        self, channel: Channel, on_message: Callable[[Any, BasicProperties, bytes], None], tag: str
    ) -> None:
        """Declare what is needed, and begin to consume on the channel."""

    async def heal(self) -> None:
        """Put right what somebody may have deleted."""

    def work(self, received: Sequence[Received], stopping: threading.Event) -> list[Settle]:
        """Do the work for messages, in a worker's thread, and return what is left of each for the owner's."""


class HandlerThreads:
    """A pool of handler threads, fixed in number, that take messages in order; none that hangs keeps the process."""

    def __init__(self, count: int, name: str, work: Callable[[list[Received]], None], most: int) -> None:
        """Start the threads: each gives what waits, up to `most` messages, to `work`, which deals with exceptions."""
        self._jobs: SimpleQueue[Received | None] = SimpleQueue()
        self._count, self._most = count, most

        def repeat() -> None:
            while batch := self._take():
                work(batch)

        for number in range(count):
            WorkerThread(repeat, name=f"{name}.{number}").start()

    def submit(self, message: Received) -> None:
        """Have a thread take this when those before it are begun."""
        self._jobs.put(message)

    def _take(self) -> list[Received]:
        """Wait for a message; return it with those behind it, or nothing when the thread is to end."""
        batch: list[Received] = []
        with suppress(Empty):
            while len(batch) < self._most:
                if (message := self._jobs.get(block=not batch)) is None:
                    if batch:
                        self._jobs.put(None)
                    break
                batch.append(message)
        return batch

    def end(self) -> None:
        """Let the threads end when they have done what was submitted; do not wait for them."""
        for _ in range(self._count):
            self._jobs.put(None)


class Subscription:
    """A running consumer; also the `Consumer` that the port returns."""

    def __init__(
        self,
        source: Source,
        connection: BrokerConnection,
        owner: EventLoopThread,
        tuning: Tuning,
        *,
        tag: str,
        workers: int,
    ) -> None:
        """Begin to consume."""
        self._source, self._connection, self._event_loop, self._tuning, self._tag = (
            source,
            connection,
            owner,
            tuning,
            tag,
        )
        self._workers = HandlerThreads(workers, tag, self._work, source.most)
        self._channel: Channel | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled: deque[Settle | None] = deque()
        self._woken = False
        self._pending = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped: Future[None] = Future()
        self.stopping = threading.Event()
        self.problem: MessagingError | None = BrokerUnreachable(f"{tag} does not consume yet")
        owner.call(self._begin)

    def stop(self, deadline_s: float = 10.0) -> None:
        """Take nothing new, let running handlers finish, settle their verdicts; then return."""
        until = time.monotonic() + deadline_s
        self.stopping.set()
        if self._event_loop.call(lambda: self._event_loop.start(self.finish(until))):
            try:
                self._stopped.result(deadline_s + _MARGIN_S)
            except TimeoutError:
                log.warning("consumer_stop_timed_out", consumer=self._tag)
        self._workers.end()

    async def finish(self, until: float) -> None:
        """Take nothing new, wait for the running jobs and their verdicts, close the channel."""
        self.stopping.set()
        if self._channel is not None and self._channel.is_open:
            await self._quietly(self._channel.cancel(self._tag), min(until, time.monotonic() + _CANCEL_S))
        await self._quietly(self._idle.wait(), until)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._pending:
            log.warning("handlers_still_running", consumer=self._tag, count=self._pending)
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _begin(self) -> None:
        if not self.stopping.is_set():
            self._task = self._event_loop.start(keep(self._session, self._note, self._tuning))

    async def _session(self) -> None:
        """Consume on one channel until it ends."""
        self._channel = channel = await self._connection.channel()

        def take(method: Any, properties: BasicProperties, body: bytes) -> None:
            path = came(method, properties)
            received = Received(channel, method.delivery_tag, properties, body, path, bool(method.redelivered))
            self._pending += 1
            self._idle.clear()
            self._workers.submit(received)

        try:
            await self._source.attach(channel, take, self._tag)
            self.problem = None
            while True:
                await channel.until_ended(self._tuning.heal_s)
                await self._source.heal()
        finally:
            channel.close()

    def _work(self, received: list[Received]) -> None:
        """Run in a worker's thread; a message of a lost channel is not begun, the broker delivers it again."""
        begun = [one for one in received if one.channel.is_open and not self.stopping.is_set()]
        settled = self._source.work(begun, self.stopping) if begun else []
        self._settled.extend([*settled, *[None] * (len(received) - len(begun))])
        if not self._woken:
            self._woken = True
            self._event_loop.call(self._settle_all)

    def _settle_all(self) -> None:
        """Settle what the workers have done; they wake the owner's thread once for all that is there by then."""
        self._woken = False
        while self._settled:
            settle = self._settled.popleft()
            try:
                step = settle() if settle is not None else None
            except MessagingError as error:
                log.info("settlement_lost", consumer=self._tag, problem=str(error))
                step = None
            if step is None:
                self._done()
            else:
                self._event_loop.start(self._settle_later(step))

    async def _settle_later(self, step: Awaitable[None]) -> None:
        try:
            await step
        except MessagingError as error:
            log.info("settlement_lost", consumer=self._tag, problem=str(error))
        finally:
            self._done()

    def _done(self) -> None:
        self._pending -= 1
        if not self._pending:
            self._idle.set()

    def _note(self, error: MessagingError) -> None:
        if str(error) != str(self.problem) and self._connection.problem is None:
            log.warning("consumer_interrupted", consumer=self._tag, problem=str(error))
        self.problem = error

    async def _quietly(self, step: Awaitable[object], until: float) -> None:
        try:
            await asyncio.wait_for(step, max(0.0, until - time.monotonic()))
        except (TimeoutError, MessagingError):
            log.debug("consumer_stop_step_skipped", consumer=self._tag)
