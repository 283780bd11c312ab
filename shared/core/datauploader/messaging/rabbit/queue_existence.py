"""Whether the queues exist that must hear an event; the log's binding makes `mandatory` blind to it."""

import time
from collections.abc import Iterable

from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.connection import BrokerConnection
from datauploader.messaging.rabbit.refusals import ChannelRefused


class QueueExistenceCache:
    """A cache of the queues that exist, kept for a short while; an absence is looked up every time."""

    def __init__(self, connection: BrokerConnection, believed_s: float) -> None:
        self._connection, self._believed_s = connection, believed_s
        self._seen: dict[str, float] = {}
        self._channel: Channel | None = None

    def forget_queue(self) -> None:
        """Believe nothing any more, as after a reconnect."""
        self._seen.clear()

    def unsure(self, names: Iterable[str]) -> list[str]:
        """Name those that must be looked for."""
        oldest = time.monotonic() - self._believed_s
        return [name for name in names if self._seen.get(name, oldest) <= oldest]

    async def missing(self, names: Iterable[str]) -> set[str]:
        """Look for these queues, and name those that are not there."""
        absent = set()
        for name in names:
            if self._channel is None or not self._channel.is_open:
                self._channel = await self._connection.channel()
            try:
                await self._channel.declare_queue(name, passive=True)
            except ChannelRefused:
                absent.add(name)
            else:
                self._seen[name] = time.monotonic()
        return absent
