"""Messages that could not be handled: those that come back after a delay, and those parked for a person."""

import asyncio
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pika.spec import BasicProperties

from datauploader.contracts.envelope import decode
from datauploader.errors import ContractError
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
    tag: int
    properties: BasicProperties
    message: ParkedMessage
    first_hand: bool
    """The broker has parked it just as its sender wrote it, headers included."""


class DeadLetterQueues:
    """Works on dead-letter queues; a crash at any point leaves every message in place, or twice, never lost."""

    def __init__(self, connection: BrokerConnection, publisher: Publisher, tuning: Tuning) -> None:
        self._connection, self._publisher, self._tuning = connection, publisher, tuning

    async def list(self, queue: Queue) -> tuple[ParkedMessage, ...]:
        """List them, oldest first."""
        found: list[ParkedMessage] = []

        async def look(_channel: Channel, held: _Held) -> None:
            found.append(held.message)

        await self._each(queue, look)
        return tuple(found)

    async def replay(self, queue: Queue, ids: Collection[str]) -> int:
        """Put some back into their queue, by way of the shortest retry delay: no further right is needed for that."""
        way = retry_name(self._tuning.retry_delays_s[0])

        async def give_back(channel: Channel, held: _Held) -> None:
            properties = forwarded(held.properties, {SAID_BY: sender(held.properties, first_hand=held.first_hand)})
            message = self._publisher.send(Outgoing(way, held.message.queue, held.message.body, properties))
            await asyncio.wrap_future(message.future)
            channel.ack(held.tag)

        return await self._chosen(queue, ids, give_back, only=lambda message: message.replayable)

    async def drop(self, queue: Queue, ids: Collection[str]) -> int:
        """Remove some for good."""

        async def remove(channel: Channel, held: _Held) -> None:
            channel.ack(held.tag)

        return await self._chosen(queue, ids, remove)

    async def _chosen(
        self,
        queue: Queue,
        ids: Collection[str],
        step: Callable[[Channel, _Held], Coroutine[Any, Any, None]],
        *,
        only: Callable[[ParkedMessage], bool] = lambda _: True,
    ) -> int:
        chosen = 0

        async def choose(channel: Channel, held: _Held) -> None:
            nonlocal chosen
            if held.message.id in ids and only(held.message):
                await step(channel, held)
                chosen += 1

        await self._each(queue, choose)
        return chosen

    async def _each(self, queue: Queue, step: Callable[[Channel, _Held], Coroutine[Any, Any, None]]) -> None:
        """Hold all messages, do something with each, and give back in their order those that are still held."""
        await self._connection.reach(self._tuning.patience_s)
        channel = await self._connection.channel()
        try:
            retry_queues = retry_queue_names(self._tuning.retry_delays_s)
            held: list[_Held] = []
            size = 0
            while len(held) < MOST and size < MOST_BYTES and (got := await channel.get(queue.parked)) is not None:
                method, properties, body = got
                size += len(body)
                held.append(_read(queue, method, properties, body, retry_queues))
            for one in held:
                await step(channel, one)
            if held:
                channel.requeue(held[-1].tag, up_to=True)
        finally:
            channel.close()


def _read(queue: Queue, method: Any, properties: BasicProperties, body: bytes, retry_queues: Collection[str]) -> _Held:
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
    return _Held(method.delivery_tag, properties, message, first_hand)


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
