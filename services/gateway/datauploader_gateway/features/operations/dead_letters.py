"""Queues and dead letters (parked messages) as operators see them; asked in threads, one question at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from datauploader.contracts import Station
from datauploader.errors import MessagingError
from datauploader.messaging import Bus, ParkedMessage
from datauploader.messaging.parked_groups import ParkedGroup, group, shape
from datauploader.messaging.topology import ASTRAY, Queue, astray_queue, facility_queues
from datauploader_gateway.errors import BrokerAway, GroupBusy, NotFound, ParkedOutOfReach
from datauploader_gateway.features.operations.diagnosis import QueueBody

PORTION = 200
"""Messages of a group that are settled in one go; in between others are served."""
FRESH_S = 2.0
"""So long an answer of the broker's is shown to everybody who asks."""
MOST_PARKED = 500
"""Parked messages that are shown at once, oldest first: whose cause was mended goes first as well."""

Verb = Literal["replay", "drop"]
T = TypeVar("T")


@dataclass(slots=True)
class GroupJob:
    """All messages of a group on their way back or out: how far that is."""

    verb: Verb
    queue: str
    reason: str
    messages: int
    by: str
    done: int = 0
    problem: str = ""
    over: bool = False


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
        self._groups: tuple[dict[str, int], list[ParkedGroup]] = ({}, [])
        self._running: asyncio.Task[None] | None = None
        self.job: GroupJob | None = None
        """The last group that was settled, or is being settled."""

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
        return sorted(await self._all_parked(), key=lambda each: each[1].time)[:MOST_PARKED]

    async def groups(self) -> tuple[list[ParkedGroup], int]:
        """Return what is parked by queue and reason, and how many messages lie behind those that can be read at once.

        They are read again when their numbers have changed.

        Raises:
            ParkedOutOfReach: the gateway has no account for that.
            BrokerAway: the broker did not answer.
        """
        self._reach()
        numbers = {state.name: state.parked for state in await self.queue_states()}
        if numbers != self._groups[0]:
            found = await self._all_parked()
            self._groups = numbers, group((queue.name, message) for queue, message in found)
        read = sum(len(one.ids) for one in self._groups[1])
        return self._groups[1], max(0, sum(numbers.values()) - read)

    async def settle_group(self, verb: Verb, queue_name: str, reason: str, by: str) -> GroupJob:
        """Begin to give back, or to remove, all messages of this queue with a reason of this shape; return at once.

        Raises:
            NotFound: there is no such group.
            GroupBusy: another group is being settled.
        """
        if self._running is not None and not self._running.done():
            raise GroupBusy("another group of parked messages is being settled")
        queue, like = self._queue(queue_name), shape(reason)
        found = [one for one in (await self.groups())[0] if (one.queue, shape(one.reason)) == (queue.name, like)]
        if not found:
            raise _not_parked(queue_name, f"the reason {reason[:200]!r}")
        self.job = GroupJob(verb, queue.name, found[0].reason, len(found[0].ids), by)
        self._running = asyncio.create_task(self._settle(self.job, queue, list(dict.fromkeys(found[0].ids))))
        return self.job

    async def _settle(self, job: GroupJob, queue: Queue, ids: list[str]) -> None:
        bus = self._reach()
        step = bus.replay_parked if job.verb == "replay" else bus.drop_parked
        try:
            for first in range(0, len(ids), PORTION):
                portion = ids[first : first + PORTION]
                async with self._lock:
                    job.done += await self._asked(partial(step, queue, portion))
        except BrokerAway as error:
            job.problem = error.detail
        finally:
            job.over = True
            self._states, self._groups = (float("-inf"), []), ({}, [])

    async def _all_parked(self) -> list[tuple[Queue, ParkedMessage]]:
        bus = self._reach()
        filled = {state.name for state in await self.queue_states() if state.parked}
        queues = [queue for queue in self.topology if queue.name in filled]
        async with self._lock:
            return await self._asked(lambda: [(q, message) for q in queues for message in bus.parked(q)])

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
