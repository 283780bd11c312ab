"""The bus of one service on RabbitMQ: one thread, a connection to publish and one to consume."""

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

import structlog
from typing_extensions import override

from datauploader.contracts.address import Station
from datauploader.contracts.envelope import EncodedEvent, Event
from datauploader.contracts.model import EventData, Question, WireModel
from datauploader.errors import ConfigurationError, MessagingError
from datauploader.messaging.port import (
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
from datauploader.messaging.rabbit.connection import AmqpAddress, BrokerConnection
from datauploader.messaging.rabbit.consumer import QueueSource
from datauploader.messaging.rabbit.dead_letters import DeadLetterQueues, DelayedRetries
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.message import outgoing, redelivered
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.rpc import RpcClient, RpcServerSource
from datauploader.messaging.rabbit.stream_consumer import StreamSource
from datauploader.messaging.rabbit.subscription import Source, Subscription
from datauploader.messaging.rabbit.topology import count_all
from datauploader.messaging.rights import Speakers
from datauploader.messaging.topology import Queue, asked_queue, question_key, stations_key, stations_queue

A = TypeVar("A", bound=WireModel)

log = structlog.get_logger()

_PARKED_S = 60.0
_COUNTED_S = 10.0
_LEAVING_S = 1.0
"""Seconds of a deadline that are kept for the connections to say goodbye."""
_DEFAULT = Tuning()


class RabbitBus(Bus):
    """A bus on RabbitMQ; only `queues`, the three about parked messages and the stops wait for the broker."""

    def __init__(
        self, url: str, *, name: str, declare: bool = True, tuning: Tuning = _DEFAULT,
        users: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Begin to connect; `health` says how that goes. `users` are those whose name does not say their role.

        Raises:
            ConfigurationError: the URL, or a role, cannot be read.
        """
        address = AmqpAddress(url, name)
        self._user = address.user
        try:
            self._speakers = Speakers(users, me=self._user)
        except ValueError as error:
            raise ConfigurationError(f"broker_users: {error}") from None
        declare = declare and self._speakers.who(self._user).role != "station"  # it may make nothing
        self._tuning, self._declare = tuning, declare
        self._service = name.split(" ", maxsplit=1)[0]
        self._numbers = itertools.count(1)
        self._subscriptions: list[Subscription] = []
        self._retries: list[tuple[Subscription, DelayedRetries]] = []
        self._closing = threading.Lock()
        self._event_loop = EventLoopThread(name)
        self._out = BrokerConnection(address, "publisher", self._event_loop, tuning)
        self._in = BrokerConnection(address, "consumer", self._event_loop, tuning)
        self._publisher = Publisher(self._out, self._event_loop, tuning, declare=declare)
        self._asking = RpcClient(
            self._in, self._publisher, self._event_loop, tuning, user=address.user, speakers=self._speakers,
            declare=declare,
        )  # fmt: skip
        self._parked = DeadLetterQueues(self._in, self._publisher, tuning)
        self._event_loop.call(self._publisher.begin)

    @property
    @override
    def user(self) -> str:
        return self._user

    @override
    def publish(self, event: Event[EventData] | EncodedEvent) -> "Future[None]":
        encoded = event if isinstance(event, EncodedEvent) else EncodedEvent.of(event)
        return self._publisher.send(outgoing(encoded, self._user)).future

    @override
    def consume(
        self, queue: Queue, handler: Handler, *, together: Together | None = None, workers: int = 1,
        prefetch: int = 32, skips: Skips = skip_nothing, on_new: Callable[[], None] | None = None,
        ownership: Ownership | None = None,
    ) -> Consumer:  # fmt: skip
        source = QueueSource(
            queue, handler, together, connection=self._in, publisher=self._publisher, tuning=self._tuning,
            declare=self._declare, speakers=self._speakers, prefetch=prefetch, skips=skips, on_new=on_new,
            ownership=ownership,
        )  # fmt: skip
        subscription = self._subscribe(source, workers)
        self._retries = [one for one in self._retries if not one[0].stopping.is_set()]
        self._retries.append((subscription, source.awaited))
        return subscription

    @override
    def replay(self, start: Start, handler: Handler, *, at_end: Callable[[], None] | None = None) -> Consumer:
        """Read the log; from a time, the broker begins with the chunk that holds it, so a little earlier."""
        source = StreamSource(
            start, handler, connection=self._in, tuning=self._tuning, declare=self._declare, speakers=self._speakers,
            at_end=at_end,
        )  # fmt: skip
        return self._subscribe(source, 1)

    @override
    def keep_log(self, kept_s: float) -> None:
        """Do nothing: the broker keeps the log by the arguments of its stream."""

    @override
    def ask(
        self, question: Question, answer: type[A], *, station: Station | None = None, timeout_s: float = 5.0
    ) -> "Future[A]":
        return self._asking.ask(question, answer, station=station, timeout_s=timeout_s)

    @override
    def answer(self, service: str, answerer: Answerer, *, station: Station | None = None, workers: int = 4) -> Consumer:
        queue, key = asked_queue(service, station), question_key(service, station)
        return self._answer(queue, key, lambda question, _key: answerer(question), workers)

    @override
    def answer_stations(self, service: str, answerer: StationAnswerer, *, workers: int = 2) -> Consumer:
        return self._answer(stations_queue(service), stations_key(service), told_by_key(answerer), workers)

    @override
    def queues(self, names: Sequence[str]) -> Sequence[QueueState]:
        return self._event_loop.wait(count_all(self._in, names, self._tuning.patience_s), _COUNTED_S)

    @override
    def parked(self, queue: Queue) -> Sequence[ParkedMessage]:
        """List parked messages, at most some thousands."""
        return self._event_loop.wait(self._parked.list(queue), _PARKED_S)

    @override
    def replay_parked(self, queue: Queue, ids: Sequence[str]) -> int:
        return self._event_loop.wait(self._parked.replay(queue, frozenset(ids)), _PARKED_S)

    @override
    def redeliver(self, queue: Queue, logged: Delivery) -> "Future[None]":
        return self._publisher.send(redelivered(queue, logged, self._tuning.retry_delays_s[0])).future

    @override
    def drop_parked(self, queue: Queue, ids: Sequence[str]) -> int:
        return self._event_loop.wait(self._parked.drop(queue, frozenset(ids)), _PARKED_S)

    @override
    def health(self) -> BusHealth:
        troubles = [self._publisher.problem, self._in.problem if self._in.used else None]
        troubles += [one.problem for one in self._subscriptions if not one.stopping.is_set()]
        # who has stopped to consume a queue does not hear what comes back to it
        standing = [retries.problem for one, retries in self._retries if not one.stopping.is_set()]
        detail = next((str(trouble) for trouble in (*troubles, *standing) if trouble), "")
        if self._out.blocked:
            detail = detail or f"the broker takes nothing at the moment ({self._out.blocked}): free its disk or memory"
        return BusHealth(
            ok=not detail,
            detail=detail or self._publisher.log_problem,
            unconfirmed=self._publisher.unconfirmed,
            blocked=bool(self._out.blocked),
            connected=self._out.problem is None and (self._in.problem is None or not self._in.used),
            certificate_until=self._out.certificate_until,
        )

    @override
    def close(self, deadline_s: float = 10.0) -> None:
        if not self._closing.acquire(blocking=False):
            return
        until = time.monotonic() + max(0.0, deadline_s - _LEAVING_S)

        async def shut() -> None:  # in the order in which the parts lean on each other
            await asyncio.gather(*(one.finish(until) for one in self._subscriptions))
            await self._asking.close()
            await self._publisher.close(until)
            await asyncio.gather(self._in.close(), self._out.close())

        try:
            self._event_loop.wait(shut(), max(deadline_s, _LEAVING_S))
        except MessagingError as error:
            log.warning("bus_close_timed_out", problem=str(error))
        self._event_loop.end()
        self._publisher.abandon()

    def _answer(
        self, queue: str, bound: str, answerer: Callable[[Question, str], Answer], workers: int
    ) -> Subscription:
        source = RpcServerSource(
            queue, bound, answerer, connection=self._in, publisher=self._publisher, tuning=self._tuning,
            speakers=self._speakers, user=self._user, declare=self._declare, workers=workers,
        )  # fmt: skip
        return self._subscribe(source, workers)

    def _subscribe(self, source: Source, workers: int) -> Subscription:
        tag = f"{self._service}@{socket.gethostname()}.{next(self._numbers)}"
        subscription = Subscription(source, self._in, self._event_loop, self._tuning, tag=tag, workers=workers)
        self._subscriptions.append(subscription)
        return subscription
