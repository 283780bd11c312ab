"""How full queues are and who consumes them, over plain AMQP: to look needs no right, and no management interface."""

from collections.abc import Sequence

from datauploader.messaging.ports import QueueState
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.link import Link
from datauploader.messaging.rabbit.refusals import NOT_FOUND, ChannelRefused


async def count_all(link: Link, names: Sequence[str], patience_s: float) -> list[QueueState]:
    """Look at each of these queues; one that is absent costs a channel, because the broker closes it."""
    await link.reach(patience_s)
    found, channel = [], None
    try:
        for name in names:
            channel = channel if channel and channel.is_open else await link.channel()
            found.append(await _look(channel, name))
    finally:
        if channel is not None:
            channel.close()
    return found


async def _look(channel: Channel, name: str) -> QueueState:
    try:
        waiting, consumers = await channel.count(name)
    except ChannelRefused as refusal:
        if refusal.code != NOT_FOUND:
            raise
        return QueueState(name, there=False)
    return QueueState(name, waiting=waiting, consumers=consumers)
