"""The engine for one process: the same rules as the broker's, kept in memory; the stations' ledgers make up for it."""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar

import structlog
from typing_extensions import override

from datauploader.contracts.address import Station, matches
from datauploader.contracts.envelope import EncodedEvent, Event, encode
from datauploader.contracts.model import EventData, Question
from datauploader.errors import MessagingError, Unroutable
from datauploader.messaging.memory import rpc
from datauploader.messaging.memory.log import Entry, MemoryLog, log_file_of
from datauploader.messaging.memory.worker_loop import WorkerLoop
from datauploader.messaging.port import (
    A,
    Answer,
    Answerer,
    Bus,
    BusHealth,
    Consumer,
    Delivery,
    Handler,
    Ownership,
    ParkedMessage,
    QueueState,
    Skips,
    Start,
    StationAnswerer,
    Together,
    skip_nothing,
    told_by_key,
)
from datauploader.messaging.settlement import handle, identify, read_entry
from datauploader.messaging.topology import RETRY_DELAYS_S, Queue, facility_queues, question_key, stations_key
from datauploader.runtime import metrics

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Message:
    body: bytes
    attempt: int = 1
    failures: int = 0


@dataclass(slots=True)
class _Queue:
    """A queue with its bindings, its waiting messages and its parked ones."""

    topology: Queue
    waiting: deque[_Message] = field(default_factory=deque)
    consumers: int = 0
    parked: list[ParkedMessage] = field(default_factory=list)


class MemoryBroker:
    """What the buses of one process share: queues, the log, the timer of the retry queues."""

    _shared: ClassVar[dict[str, "MemoryBroker"]] = {}
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, delays: tuple[float, ...] = RETRY_DELAYS_S, log_file: Path | None = None) -> None:
        """Begin with empty queues, these retry delays in seconds, and the log that the file holds."""
        self.retry_delays_s = delays
        self.changed = threading.Condition()
        self._queues: dict[str, _Queue] = {}
        self._log = MemoryLog(log_file)
        self._later: list[tuple[float, int, str, _Message]] = []
        self._sequence = itertools.count()
        self.answerers: rpc.Servers = {}
        threading.Thread(target=self._release, name="memory-broker", daemon=True).start()

    @classmethod
    def shared(cls, url: str) -> "MemoryBroker":
        """Return the broker that all services of this process reach under `url`."""
        with cls._shared_lock:
            if url not in cls._shared:
                cls._shared[url] = cls(log_file=log_file_of(url))
            return cls._shared[url]

    def bus(self, name: str) -> "MemoryBus":
        """Connect a service."""
        return MemoryBus(self, name)

    def declare(self, queue: Queue) -> bool:
        """Make the queue if it is not there, and set its bindings; return whether it was made."""
        with self.changed:
            new = queue.name not in self._queues
            self._queues.setdefault(queue.name, _Queue(queue)).topology = queue
            return new

    def delete(self, queue: Queue) -> None:
        """Remove a queue with all that waits in it."""
        with self.changed:
            self._queues.pop(queue.name, None)

    def publish(self, event: EncodedEvent) -> None:
        """Route an event to every queue bound to its topic, and keep it in the log.

        Raises:
            Unroutable: a queue that must hear it does not exist or is not bound.
            BrokerUnreachable: the log cannot be written; nobody has heard the event.
        """
        key, kind = event.routing_key, event.kind
        with self.changed:
            reached = {n for n, queue in self._queues.items() if any(matches(p, key) for p in queue.topology.bindings)}
            required = {q.name for q in facility_queues([event.station]) if q.must_hear(kind, event.station)}
            if missing := sorted(required - reached):
                raise Unroutable(f"nobody receives {key} yet: queue {missing[0]} is missing; is its service running?")
            if not kind.lossy:
                self._log.append(event)
            for name in reached:
                self._queues[name].waiting.append(_Message(event.body))
            self.changed.notify_all()

    def put_message(self, queue: str, message: _Message) -> None:
        """Put a message at the end of a queue."""
        with self.changed:
            self._queues[queue].waiting.append(message)
            self.changed.notify_all()

    def put_later(self, queue: str, message: _Message, delay_s: float) -> None:
        """Put a message at the end of a queue after a while."""
        with self.changed:
            heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._sequence), queue, message))
            self.changed.notify_all()

    def take_message(self, queue: str) -> _Message | None:
        """Take the first message; call it holding `changed`."""
        known = self._queues.get(queue)
        return known.waiting.popleft() if known and known.waiting else None

    def park(self, queue: str, message: _Message, reason: str) -> None:
        """Set a message aside with its reason."""
        event_id, trace_id = identify(message.body)
        now = datetime.now(UTC)
        parked = ParkedMessage(event_id, queue, reason, now, message.body, trace_id=trace_id, attempts=message.attempt)
        with self.changed:
            self._queues[queue].parked.append(parked)
            self.changed.notify_all()
        log.warning("message_parked", queue=queue, event_id=event_id, reason=reason)

    def parked(self, queue: str) -> list[ParkedMessage]:
        """List a queue's parked messages."""
        with self.changed:
            return list(self._queues[queue].parked) if queue in self._queues else []

    def take_parked(self, queue: str, ids: Sequence[str]) -> list[ParkedMessage]:
        """Remove parked messages and return them."""
        with self.changed:
            known = self._queues.get(queue)
            if known is None:
                return []
            taken = [message for message in known.parked if message.id in ids]
            known.parked[:] = [message for message in known.parked if message.id not in ids]
            return taken

    def count_consumer(self, queue: str, change: int) -> None:
        """Note that a consumer has come (1) or gone (-1)."""
        with self.changed:
            if queue in self._queues:
                self._queues[queue].consumers += change

    def state(self, name: str) -> QueueState:
        """Say how a queue is; the parked ones of each have names of their own, as on the broker."""
        with self.changed:
            for queue in self._queues.values():
                if name == queue.topology.name:
                    return QueueState(name, waiting=len(queue.waiting), consumers=queue.consumers)
                if name == queue.topology.parked:
                    return QueueState(name, waiting=len(queue.parked))
        return QueueState(name, there=False)

    def next_logged(self, offset: int, since: datetime | None) -> Entry | None:
        """Return the log's first entry from `offset` and `since` on; call it holding `changed`."""
        return self._log.next(offset, since)

    def log_end(self) -> int:
        """Return the offset behind the log's last entry."""
        with self.changed:
            return self._log.end()

    def keep_log(self, kept_s: float) -> None:
        """Say how long the log must know an upload."""
        with self.changed:
            self._log.keep(kept_s)

    def _release(self) -> None:
        with self.changed:
            while True:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    _, _, queue, message = heapq.heappop(self._later)
                    if queue in self._queues:
                        self._queues[queue].waiting.append(message)
                        self.changed.notify_all()
                self.changed.wait(self._later[0][0] - now if self._later else None)


class MemoryBus(Bus):
    """One service's connection to the broker of its process."""

    user = ""

    def __init__(self, broker: MemoryBroker, name: str) -> None:
        """Connect under a name that people read."""
        self.broker = broker
        self.name = name
        self._consumers: list[Consumer] = []
        self._closed = False

    @override
    def publish(self, event: Event[EventData] | EncodedEvent) -> "Future[None]":
        future: Future[None] = Future()
        try:
            if self._closed:
                raise MessagingError("the bus is closed")  # noqa: TRY301 - one way out for every failure
            self.broker.publish(event if isinstance(event, EncodedEvent) else EncodedEvent.of(event))
        except MessagingError as error:
            future.set_exception(error)
        else:
            future.set_result(None)
        return future

    @override
    def consume(
        self, queue: Queue, handler: Handler, *, together: Together | None = None, workers: int = 1,
        prefetch: int = 32, skips: Skips = skip_nothing, on_new: Callable[[], None] | None = None,
        ownership: Ownership | None = None,
    ) -> Consumer:  # fmt: skip
        """Deliver to the handler; in one process nobody else has a state, so an `ownership` is held at once."""
        if self.broker.declare(queue) and on_new is not None:
            on_new()
        if ownership is not None:
            ownership.held()

        def deliver(message: _Message) -> None:
            attempt, failures, delays = message.attempt, message.failures, self.broker.retry_delays_s
            began = time.perf_counter()
            verdict = handle(message.body, handler, attempt=attempt, failures=failures, delays=delays, skips=skips)
            metrics.note_handled(queue.name, (verdict.what,), time.perf_counter() - began)
            if verdict.what == "park":
                self.broker.park(queue.name, message, verdict.reason)
            elif verdict.what == "again":
                again = replace(message, attempt=attempt + 1, failures=verdict.failures)
                self.broker.put_later(queue.name, again, verdict.delay_s)

        def take() -> Callable[[], None] | None:
            message = self.broker.take_message(queue.name)
            return None if message is None else partial(deliver, message)

        self.broker.count_consumer(queue.name, 1)
        gone = partial(self.broker.count_consumer, queue.name, -1)
        return self._keep(WorkerLoop(self.broker.changed, queue.name, workers, on_stop=gone).start(take))

    @override
    def replay(self, start: Start, handler: Handler, *, at_end: Callable[[], None] | None = None) -> Consumer:
        position, end, untold = start.offset or 0, self.broker.log_end(), at_end
        consumer = WorkerLoop(self.broker.changed, f"{self.name} replay", 1)

        def ended(seconds: float) -> bool:
            with self.broker.changed:
                return self.broker.changed.wait_for(lambda: consumer.stopping, seconds)

        def take() -> Callable[[], object] | None:
            nonlocal position, untold
            found = self.broker.next_logged(position, start.time)
            if untold is not None and (found is None or found[0] >= end):
                told, untold = untold, None
                return told
            if found is None:
                return None
            offset, _, body = found
            position = offset + 1
            return lambda: read_entry(body, handler, offset=offset, ended=ended)

        return self._keep(consumer.start(take))

    @override
    def keep_log(self, kept_s: float) -> None:
        self.broker.keep_log(kept_s)

    @override
    def ask(
        self, question: Question, answer: type[A], *, station: Station | None = None, timeout_s: float = 5.0
    ) -> "Future[A]":
        return rpc.ask(self.broker.answerers, question, answer, station, timeout_s)

    @override
    def answer(self, service: str, answerer: Answerer, *, station: Station | None = None, workers: int = 4) -> Consumer:
        return self._answer(question_key(service, station), lambda question, _key: answerer(question), workers)

    @override
    def answer_stations(self, service: str, answerer: StationAnswerer, *, workers: int = 2) -> Consumer:
        return self._answer(stations_key(service), told_by_key(answerer), workers)

    def _answer(self, address: str, answerer: Callable[[Question, str], Answer], workers: int) -> Consumer:
        return self._keep(rpc.AnswerServer(self.broker.answerers, address, answerer, workers))

    @override
    def queues(self, names: Sequence[str]) -> Sequence[QueueState]:
        return [self.broker.state(name) for name in names]

    @override
    def parked(self, queue: Queue) -> Sequence[ParkedMessage]:
        return self.broker.parked(queue.name)

    @override
    def replay_parked(self, queue: Queue, ids: Sequence[str]) -> int:
        for message in (taken := self.broker.take_parked(queue.name, ids)):
            self.broker.put_message(queue.name, _Message(message.body))
        return len(taken)

    @override
    def redeliver(self, queue: Queue, logged: Delivery) -> "Future[None]":
        future: Future[None] = Future()
        self.broker.put_later(queue.name, _Message(encode(logged.event)), self.broker.retry_delays_s[0])
        future.set_result(None)
        return future

    @override
    def drop_parked(self, queue: Queue, ids: Sequence[str]) -> int:
        return len(self.broker.take_parked(queue.name, ids))

    @override
    def health(self) -> BusHealth:
        return BusHealth(ok=not self._closed, detail="the bus is closed" if self._closed else "")

    @override
    def close(self, deadline_s: float = 10.0) -> None:
        self._closed = True
        end = time.monotonic() + deadline_s
        for consumer in self._consumers:
            consumer.stop(max(0, end - time.monotonic()))

    def _keep(self, consumer: Consumer) -> Consumer:
        self._consumers.append(consumer)
        return consumer
