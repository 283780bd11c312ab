"""Messages that could not be handled: those that come back after a delay, and those parked for a person."""

import asyncio
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pika.spec import BasicProperties

from datauploader.contracts.envelope import decode
from datauploader.errors import ContractError, MessagingError
from datauploader.messaging.port import ParkedMessage
from datauploader.messaging.provenance import DeliveryPath
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.connection import BrokerConnection
from datauploader.messaging.rabbit.message import FORGED, SAID_BY, Outgoing, came, count, forwarded, sender
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.settlement import identify
from datauploader.messaging.topology import ASTRAY, BACK, EVENTS, PARKED, Queue, retry_name, retry_queue_names

MOST = 5000
MOST_BYTES = 64 * 1024 * 1024
"""Bounds of what one look at a parked queue brings into memory."""
_PORTION = 500
"""Messages that are held on one channel."""
_NEXT_S = 0.1
"""So long the next one of them is waited for."""
_GRACE_S = 5.0
"""What the broker and this service may take beyond twice the delay."""
_FORGOTTEN_S = 3600.0
"""A retry that is so late was taken away by somebody, or came to another process that consumes the same queue."""


class DelayedRetries:
    """Delayed retries: when each message must be back; every method may be called from any thread.

    Of several processes that consume one queue another one may get it. A retry queue lets go in the order in which it
    took in: what is back tells that it does not stand, and then nothing is waited for any more that went in before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[bytes, tuple[float, str]] = {}
        """In the order of the sending: when it must be back, and the retry queue."""

    def note_sent(self, body: bytes, retry_queue: str, delay_s: float) -> None:
        """Note that a message waits in a retry queue for so many seconds."""
        with self._lock:
            key = _digest(body)
            self._due.pop(key, None)
            self._due[key] = self._clock() + 2 * delay_s + _GRACE_S, retry_queue

    def note_back(self, body: bytes) -> None:
        """Note that a message has come."""
        if self._due:  # the usual case costs no digest
            with self._lock:
                key = _digest(body)
                if key not in self._due:
                    return
                _, retry_queue = self._due[key]
                before = itertools.takewhile(lambda other: other != key, self._due)
                for other in [key, *(one for one in before if self._due[one][1] == retry_queue)]:
                    del self._due[other]

    def note_unsent(self, body: bytes) -> None:
        """Note that a message did not get into its retry queue."""
        with self._lock:
            self._due.pop(_digest(body), None)

    @property
    def problem(self) -> str:
        """Say which retry queue stands, "" while none is known to."""
        now = self._clock()
        with self._lock:
            self._due = {key: one for key, one in self._due.items() if now < one[0] + _FORGOTTEN_S}
            late = [retry_queue for due, retry_queue in self._due.values() if now > due]
        if not late:
            return ""
        return (
            f"the queue {late[0]} keeps messages ({len(late)}) beyond twice their time: one of the queues that they go "
            "back to takes none, because it is full or unavailable; see docs/operations.md"
        )


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


@dataclass(frozen=True, slots=True)
class _Held:
    channel: Channel
    tag: int
    properties: BasicProperties
    message: ParkedMessage
    first_hand: bool
    """The broker has parked it just as its sender wrote it, headers included."""


class DeadLetterQueues:
    """Works on dead-letter queues; a crash at any point leaves every message in place, or twice, never lost."""

    def __init__(self, connection: BrokerConnection, publisher: Publisher, tuning: Tuning) -> None:
        self._connection, self._publisher, self._tuning = connection, publisher, tuning

    async def _hold(self, queue: Queue, channels: list[Channel]) -> list[_Held]:
        """Take what lies there, up to the bounds, in portions: one message at a time would take seconds."""
        retry_queues = retry_queue_names(self._tuning.retry_delays_s)
        held: list[_Held] = []

        def keep(channel: Channel, method: Any, properties: BasicProperties, body: bytes) -> None:
            held.append(_read(queue, channel, method, properties, body, retry_queues))

        first = await self._connection.channel()
        channels.append(first)
        while len(held) < MOST and sum(len(one.message.body) for one in held) < MOST_BYTES:
            if (got := await first.get(queue.parked)) is None:  # the only answer that says that there is no more
                break
            keep(first, *got)
            channel = await self._connection.channel()
            channels.append(channel)
            await self._portion(queue, channel, keep)
        return sorted(held, key=lambda one: one.message.time)  # what was given back comes in any order

    async def _portion(self, queue: Queue, channel: Channel, keep: Callable[..., None]) -> None:
        """Have a portion of a queue delivered at once; less where there is less, or where the next one takes long."""
        got: asyncio.Queue[tuple[Any, BasicProperties, bytes]] = asyncio.Queue()
        await channel.prefetch(_PORTION)
        await channel.consume(queue.parked, lambda *message: got.put_nowait(message), "parked")
        with suppress(TimeoutError):
            for _ in range(_PORTION):
                keep(channel, *await asyncio.wait_for(got.get(), _NEXT_S))
        await channel.cancel("parked")
        while not got.empty():
            keep(channel, *got.get_nowait())

    async def list(self, queue: Queue) -> tuple[ParkedMessage, ...]:
        """List them, oldest first."""
        found: list[ParkedMessage] = []

        def look(held: _Held) -> None:
            found.append(held.message)

        await self._each(queue, look)
        return tuple(found)

    async def replay(self, queue: Queue, ids: Collection[str]) -> int:
        """Put some back into their queue, by way of the shortest retry delay: no further right is needed for that."""
        way = retry_name(self._tuning.retry_delays_s[0])

        def give_back(held: _Held) -> Future[None] | None:
            if held.message.id not in ids or not held.message.replayable:
                return None
            properties = forwarded(held.properties, {SAID_BY: sender(held.properties, first_hand=held.first_hand)})
            return self._publisher.send(Outgoing(way, held.message.queue, held.message.body, properties)).future

        return await self._each(queue, give_back)

    async def drop(self, queue: Queue, ids: Collection[str]) -> int:
        """Remove some for good."""
        removed: Future[None] = Future()
        removed.set_result(None)
        return await self._each(queue, lambda held: removed if held.message.id in ids else None)

    async def _each(self, queue: Queue, step: Callable[[_Held], "Future[None] | None"]) -> int:
        """Hold all messages and do something with each, the oldest first; return how many are parked no more.

        Those are the ones for which the step returned a future that has come to its end; the others are given back.

        Raises:
            MessagingError: the broker is away, or a step has failed, of which the message stays parked.
        """
        await self._connection.reach(self._tuning.patience_s)
        channels: list[Channel] = []
        failures: list[MessagingError] = []
        try:
            begun = [(held, step(held)) for held in await self._hold(queue, channels)]
            done: dict[Channel, list[int]] = {channel: [] for channel in channels}
            kept = dict.fromkeys(channels, 0)
            for held, future in begun:
                if future is not None:
                    try:
                        await asyncio.wrap_future(future)
                    except MessagingError as error:
                        failures.append(error)
                    else:
                        done[held.channel].append(held.tag)
                        continue
                kept[held.channel] = max(held.tag, kept[held.channel])
            for channel in channels:  # what was settled is not given back; and whoever looks next finds the rest
                if done[channel] or kept[channel]:
                    await channel.settle(done[channel], back_up_to=kept[channel])
        finally:
            for channel in channels:
                channel.close()
        if failures:
            raise failures[0]
        return sum(map(len, done.values()))


def _read(
    queue: Queue, channel: Channel, method: Any, properties: BasicProperties, body: bytes, retry_queues: Collection[str]
) -> _Held:
    """Read a parked message; one that came in another way than ours was put here by somebody who has no right to."""
    headers = properties.headers or {}
    event_id, trace_id = identify(body)
    how = came(method, properties)
    parked_by_broker = queue.name in how.died_in
    # first in `x-death` is what happened last
    first_hand = parked_by_broker and str(headers["x-death"][0].get("exchange", "")) == EVENTS
    problem = _problem(queue, how, retry_queues) or (_other_topic(headers, body) if first_hand else "")
    if queue.name == ASTRAY:
        reason = "the queue that it was to go back to after a delay no longer exists"
    else:
        reason = str(headers.get("x-reason", _without_reason(properties)))
    try:
        parked_at = datetime.fromisoformat(str(headers["x-parked-at"]))
    except (KeyError, ValueError):  # the broker has parked it by itself
        died = (headers.get("x-death") or [{}])[0].get("time")
        parked_at = died.replace(tzinfo=UTC) if isinstance(died, datetime) else datetime.now(UTC)
    message = ParkedMessage(
        id=event_id,
        queue=how.key if queue.name == ASTRAY else queue.name,
        reason=problem or reason,
        time=parked_at,
        body=body,
        trace_id=trace_id,
        attempts=count(properties, "x-attempts"),
        replayable=not problem and (first_hand or not headers.get(FORGED, False)),
    )
    return _Held(channel, method.delivery_tag, properties, message, first_hand)


def _without_reason(properties: BasicProperties) -> str:
    """Say why the broker has parked a message, of which its consumer has said nothing."""
    headers = properties.headers or {}
    if (headers.get("x-death") or [{}])[0].get("reason") == "rejected":
        return "its consumer refused it (a reject or nack without requeue) and gave no reason"
    deliveries = count(properties, "x-delivery-count")
    return f"delivered {deliveries} times or more without a verdict: its consumer crashed"


def _problem(queue: Queue, how: DeliveryPath, retry_queues: Collection[str]) -> str:
    """Say why a message did not come to where it lies in a way of ours, "" where it did."""
    astray = queue.name == ASTRAY
    known = {*retry_queues} if astray else {*retry_queues, queue.name}
    if how.exchange != (BACK if astray else PARKED) or not (astray or how.key == queue.name):
        return f"somebody put it here by way of {how.key!r}"
    if ((how.moved or astray) and not how.died_in) or not how.died_in <= known:
        return f"somebody put it here by way of {', '.join(sorted(how.died_in)) or 'an unknown queue'}"
    return ""


def _other_topic(headers: dict[str, Any], body: bytes) -> str:
    """Say how the body of an event differs from the key that its sender was allowed to say; nobody has compared yet."""
    keys = headers["x-death"][0].get("routing-keys") or [""]
    try:
        key = decode(body).routing_key
    except ContractError as error:
        return str(error)
    return "" if key == keys[0] else f"it says {key!r}, but its sender was only allowed to say {keys[0]!r}"
