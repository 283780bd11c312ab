"""How full queues are and who consumes them, over plain AMQP: to look needs no right, and no management interface."""

import asyncio
from collections.abc import Sequence

from datauploader.messaging.port import QueueState
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.connection import BrokerConnection
from datauploader.messaging.rabbit.refusals import NOT_FOUND, ChannelRefused


class QueueCounter:
    """Counts messages and consumers over one channel; an absent queue costs it, because the broker closes it."""

    def __init__(self, connection: BrokerConnection) -> None:
        self._connection, self._turn = connection, asyncio.Lock()
        self._channel: Channel | None = None

    async def queue_state(self, name: str) -> QueueState:
        """Say how a queue is."""
        async with self._turn:
            if self._channel is None or not self._channel.is_open:
                self._channel = await self._connection.channel()
            try:
                waiting, consumers = await self._channel.count(name)
            except ChannelRefused as refusal:
                if refusal.code != NOT_FOUND:
                    raise
                return QueueState(name, there=False)
            return QueueState(name, waiting=waiting, consumers=consumers)

    def close(self) -> None:
        """Give the channel back."""
        if self._channel is not None:
            self._channel.close()


async def count_all(connection: BrokerConnection, names: Sequence[str], patience_s: float) -> list[QueueState]:
    """Look at each of these queues."""
    await connection.reach(patience_s)
    counter = QueueCounter(connection)
    try:
        return [await counter.queue_state(name) for name in names]
    finally:
        counter.close()
