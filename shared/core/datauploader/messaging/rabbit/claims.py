"""One state for one queue: who consumes it has left its claim at the broker, where whoever comes later reads it."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from pika import DeliveryMode
from pika.spec import BasicProperties

from datauploader.errors import BrokerRefused
from datauploader.messaging.blueprint import claim
from datauploader.messaging.port import Ownership
from datauploader.messaging.rabbit.channel import FORBIDDEN, Channel, ChannelRefused
from datauploader.messaging.rabbit.connection import BrokerConnection
from datauploader.messaging.rabbit.message import Outgoing
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.topology import QueueCounter, establish
from datauploader.messaging.topology import CLAIMS, Queue

_PAUSE_S = (0.05, 0.3)
"""Between two tries to be the one who decides, at random: of two that look at the same moment none is alone."""
_LATE_S = 0.3
"""What a claim may need to come from another node of the broker."""


@dataclass(frozen=True, slots=True)
class _Claimed:
    state: str
    host: str


class _Delivered:
    """The claim, when it comes."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.first: tuple[Any, _Claimed | None] | None = None

    def take(self, method: Any, _properties: BasicProperties, body: bytes) -> None:
        """Note the claim; a later one is what was just written."""
        self.first = self.first or (method, _parse(body))
        self.came.set()


class ClaimedQueue:
    """A queue, and the claim of one state to it; it needs no right but to read and to write the claim."""

    def __init__(
        self,
        queue: Queue,
        ownership: Ownership,
        connection: BrokerConnection,
        publisher: Publisher,
        tuning: Tuning,
        *,
        declare: bool,
    ) -> None:
        self._queue, self._ownership, self._declare = queue, ownership, declare
        self._connection, self._publisher, self._tuning = connection, publisher, tuning
        self._counter = QueueCounter(connection)
        self._mine = _Claimed(ownership.state, ownership.host)

    async def claim_queue(self) -> None:
        """Claim the queue, unless somebody with another state consumes it, or did until a moment ago.

        Raises:
            BrokerRefused: somebody does.
        """
        await establish(self._connection, claim(self._queue), declare=self._declare)
        loop = asyncio.get_running_loop()
        back_until: float | None = None
        """Until when an owner who consumes nothing now has time to come back."""
        while not await self._claimed(given_up=back_until is not None and loop.time() > back_until):
            back_until = back_until or loop.time() + self._tuning.owned_s
            await asyncio.sleep(min(1.0, self._tuning.owned_s / 4))
        self._ownership.held()

    async def _claimed(self, *, given_up: bool) -> bool:
        """Decide about the claim while nobody else does; False where its owner may still come back.

        Raises:
            BrokerRefused: somebody with another state consumes the queue.
        """
        async with self._alone() as (channel, delivered):
            method, found = delivered or (None, None)
            if found == self._mine:
                return True
            used = (await self._counter.queue_state(self._queue.name)).consumers
            if found is not None and used:
                self._refuse(found)
            if not given_up and (found is not None or used):  # a claim of somebody who consumes may be late to come
                return False
            if method is not None:
                channel.ack(method.delivery_tag)
            body = json.dumps(asdict(self._mine)).encode()
            properties = BasicProperties(content_type="application/json", delivery_mode=DeliveryMode.Persistent)
            message = Outgoing(CLAIMS, self._queue.claim, body, properties)
            await asyncio.wrap_future(self._publisher.send(message).future)
            return True

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[tuple[Channel, "tuple[Any, _Claimed | None] | None"]]:
        """Be the only one who decides: alone is who consumes the claim when nobody else does.

        Gives the channel and the claim as it was delivered, which goes back when the block ends; None: there is none.
        """
        while True:
            channel, delivered = await self._connection.channel(), _Delivered()
            try:
                await channel.prefetch(1)
                await channel.consume(self._queue.claim, delivered.take, "claim", exclusive=True)
                if (await channel.count(self._queue.claim))[1] == 1:  # none: the queue has no leader just now
                    break
            except ChannelRefused as refusal:  # queues of former releases are given to one channel at a time
                if refusal.code != FORBIDDEN or "exclusive" not in str(refusal):
                    raise
            channel.close()
            await asyncio.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 - hides nothing
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(delivered.came.wait(), _LATE_S)
            yield channel, delivered.first
        finally:
            channel.close()

    async def renew_claim(self) -> None:
        """See that the claim stands: an administrator may have taken it away, and another one may have come then.

        Raises:
            BrokerRefused: another state has claimed the queue.
        """
        found = None
        channel = await self._connection.channel()
        try:
            if (got := await channel.get(self._queue.claim)) is not None:
                method, _properties, body = got
                channel.requeue(method.delivery_tag)
                found = _parse(body)
        except ChannelRefused as refusal:  # "exclusive": somebody decides about the claim now
            if refusal.code != FORBIDDEN or "exclusive" not in str(refusal):
                raise
        finally:
            channel.close()
        if found is None:  # somebody decides about it, or an administrator has taken it away
            await self._claimed(given_up=True)
        elif found != self._mine:
            self._refuse(found)

    def _refuse(self, found: _Claimed | None) -> None:
        rival = found.host if found is not None else ""
        self._ownership.lost("" if rival == self._mine.host else rival)
        raise BrokerRefused(
            f"{self._queue.name} is consumed by a process with another state folder: stop that one, or give both "
            "the same folder; until then nothing is taken from the queue here"
        )


def _parse(body: bytes) -> _Claimed | None:
    """Read a claim; what is none claims nothing, and is written over."""
    try:
        document = json.loads(body)
        return _Claimed(str(document["state"]), str(document["host"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
