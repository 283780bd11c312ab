"""Queues and dead letters (parked messages) as operators see them; asked in threads, one question at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from datauploader.contracts import Station
from datauploader.errors import MessagingError
from datauploader.messaging import Bus, ParkedMessage
from datauploader.messaging.topology import ASTRAY, Queue, astray_queue, facility_queues
from datauploader_gateway.errors import BrokerAway, NotFound, ParkedOutOfReach
from datauploader_gateway.features.operations.diagnosis import QueueBody

FRESH_S = 2.0
"""So long an answer of the broker's is shown to everybody who asks."""
MOST_PARKED = 500
"""Parked messages that are shown at once, oldest first: whose cause was mended goes first as well."""

Verb = Literal["replay", "drop"]
T = TypeVar("T")


class DeadLetterAdmin:
    """Administers dead letters: queues are seen with the gateway's account, parked messages with an operator's."""

    def __init__(
        self, bus: Bus, operations: Bus | None, stations: Sequence[Station], plug_ins: Sequence[Queue]
    ) -> None:
        """Know the queues of these stations and of plug-ins; without `operations` parked messages are only counted."""
        self._bus, self._operations = bus, operations
        self._stations, self._plug_ins = stations, plug_ins
        self._lock = asyncio.Lock()
        self._states: tuple[float, list[QueueBody]] = (float("-inf"), [])

    @property
    def topology(self) -> tuple[Queue, ...]:
        """The queues of all stations and plug-ins that are known now."""
        return (*facility_queues(self._stations), *self._plug_ins, astray_queue())

    @property
    def reaches_parked(self) -> bool:
        """Parked messages can be read and settled here, not only counted."""
        return self._operations is not None

    async def queue_states(self) -> list[QueueBody]:
        """Say how every queue is.

        Raises:
            BrokerAway: the broker did not answer.
        """
        async with self._lock:
            seen, states = self._states
            if time.monotonic() - seen > FRESH_S:
                states = await self._asked(self._count)
                self._states = time.monotonic(), states
            return states

    async def parked(self) -> list[tuple[Queue, ParkedMessage]]:
        """Read the parked messages without taking them, up to MOST_PARKED.

        Raises:
            ParkedOutOfReach: the gateway has no account for that.
            BrokerAway: the broker did not answer.
        """
        bus = self._reach()
        filled = {state.name for state in await self.queue_states() if state.parked}
        queues = [queue for queue in self.topology if queue.name in filled]
        async with self._lock:
            found = await self._asked(lambda: [(q, message) for q in queues for message in bus.parked(q)])
        return sorted(found, key=lambda each: each[1].time)[:MOST_PARKED]

    async def read_message(self, queue_name: str, message_id: str) -> ParkedMessage:
        """Read one parked message.

        Raises:
            NotFound: nothing is parked there under this id.
        """
        queue, bus = self._queue(queue_name), self._reach()
        async with self._lock:
            found = await self._asked(lambda: [m for m in bus.parked(queue) if m.id == message_id])
        if not found:
            raise _not_parked(queue_name, message_id)
        return found[0]

    async def settle_message(self, verb: Verb, queue_name: str, message_id: str) -> int:
        """Give a message back to its queue, or remove it for good; return how many had this id.

        Raises:
            NotFound: nothing that could be settled so is parked there under this id.
        """
        queue, bus = self._queue(queue_name), self._reach()
        step = bus.replay_parked if verb == "replay" else bus.drop_parked
        async with self._lock:
            number = await self._asked(lambda: step(queue, [message_id]))
            self._states = (float("-inf"), [])
        if not number:
            raise _not_parked(queue_name, message_id)
        return number

    def _count(self) -> list[QueueBody]:
        queues = self.topology
        found = self._bus.queues([name for queue in queues for name in (queue.name, queue.parked)])
        return [
            QueueBody(
                name=own.name, there=own.there or own.name == ASTRAY, waiting=own.waiting, consumers=own.consumers,
                parked=parked.waiting,
            )
            for own, parked in zip(found[::2], found[1::2], strict=True)
            if own.name != ASTRAY or parked.waiting
        ]  # fmt: skip

    def _queue(self, name: str) -> Queue:
        for queue in self.topology:
            if queue.name == name:
                return queue
        raise NotFound(f"there is no queue {name!r}", hint="GET /api/v1/operations lists them.")

    def _reach(self) -> Bus:
        if self._operations is None:
            raise ParkedOutOfReach("the gateway's account at the broker may not read parked messages")
        return self._operations

    @staticmethod
    async def _asked(step: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(step)
        except MessagingError as error:
            raise BrokerAway(f"the broker could not be reached: {error}") from error


def _not_parked(queue: str, message_id: str) -> NotFound:
    return NotFound(
        f"there is no such parked message in {queue} under the id {message_id}",
        hint="Someone may have replayed or dropped it already; check the list.",
    )
