"""One state for one queue: who consumes it has left its claim at the broker, where whoever comes later reads it."""

import asyncio
import json
from dataclasses import asdict, dataclass

from pika import DeliveryMode
from pika.spec import BasicProperties

from datauploader.errors import BrokerRefused
from datauploader.messaging.blueprint import claim
from datauploader.messaging.ports import Ownership
from datauploader.messaging.rabbit.counting import Counter
from datauploader.messaging.rabbit.declaration import establish
from datauploader.messaging.rabbit.link import Link
from datauploader.messaging.rabbit.message import Outgoing
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.tuning import Tuning
from datauploader.messaging.topology import CLAIMS, Queue

_LOOKS, _PAUSE_S = 4, 0.1
"""Looks at a claim that seems to be missing: another one may hold it in this moment, to read it as well."""


@dataclass(frozen=True, slots=True)
class _Claimed:
    state: str
    host: str


class ClaimedQueue:
    """A queue, and the claim of one state to it; it needs no right but to read and to write the claim."""

    def __init__(
        self, queue: Queue, ownership: Ownership, link: Link, publisher: Publisher, tuning: Tuning, *, declare: bool
    ) -> None:
        self._queue, self._ownership, self._declare = queue, ownership, declare
        self._link, self._publisher, self._tuning = link, publisher, tuning
        self._counter = Counter(link)
        self._mine = _Claimed(ownership.state, ownership.host)

    async def take(self) -> None:
        """Claim the queue, unless somebody with another state consumes it, or did until a moment ago.

        Raises:
            BrokerRefused: somebody does.
        """
        await establish(self._link, claim(self._queue), declare=self._declare)
        found = await self._read()
        if found is None and await self._consumers():
            found = await self._read(_LOOKS)
        if found != self._mine:
            if found is not None and await self._consumed():
                self._refuse(found)
            await self._write()
            await self.confirm()
        self._ownership.held()

    async def confirm(self) -> None:
        """See that the claim stands: of two who came in the same moment, the later one has written over the other.

        Raises:
            BrokerRefused: another state has claimed the queue.
        """
        found = await self._read()
        if found not in (None, self._mine):
            self._refuse(found)

    async def _consumed(self) -> bool:
        """Tell whether somebody consumes the queue now, or again within the time that its owner has to come back."""
        until = asyncio.get_running_loop().time() + self._tuning.owned_s
        while True:
            if await self._consumers():
                return True
            if asyncio.get_running_loop().time() > until:
                return False
            await asyncio.sleep(min(1.0, self._tuning.owned_s / 4))

    async def _consumers(self) -> int:
        return (await self._counter.look(self._queue.name)).consumers

    async def _read(self, looks: int = 1) -> _Claimed | None:
        channel = await self._link.channel()
        try:
            for look in range(looks):
                await asyncio.sleep(_PAUSE_S if look else 0)
                if (got := await channel.get(self._queue.claim)) is not None:
                    method, _properties, body = got
                    channel.requeue(method.delivery_tag)
                    return _parse(body)
        finally:
            channel.close()
        return None

    async def _write(self) -> None:
        body = json.dumps(asdict(self._mine)).encode()
        properties = BasicProperties(content_type="application/json", delivery_mode=DeliveryMode.Persistent)
        message = Outgoing(CLAIMS, self._queue.claim, body, properties)
        await asyncio.wrap_future(self._publisher.send(message).future)

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
