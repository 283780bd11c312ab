"""Making the blueprint true on the broker, or finding out where it is not, and how full its queues are."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from datauploader.errors import BrokerRefused
from datauploader.messaging.blueprint import EXCHANGE_ARGUMENTS, Blueprint
from datauploader.messaging.port import QueueState
from datauploader.messaging.rabbit.channel import CONTRADICTION, FORBIDDEN, NOT_FOUND, Channel, ChannelRefused
from datauploader.messaging.rabbit.connection import BrokerConnection

REMEDY = "run `datauploader topology apply` as a user who may configure the broker"


async def establish(connection: BrokerConnection, blueprint: Blueprint, *, declare: bool, renew: bool = False) -> None:
    """Make what is missing, or with `declare` False only look.

    A user who may not make everything must find made what is not its own: a harvester makes nothing. With `renew` a
    brief queue that was made with other arguments is made anew.

    Raises:
        BrokerRefused: something is missing or contradicts the blueprint; the sentence says what to run.
        MessagingError: the connection is lost.
    """
    if declare:
        try:
            await _make(connection, blueprint, renew=renew)
        except ChannelRefused as refusal:
            if refusal.code == CONTRADICTION:
                raise BrokerRefused(
                    f"{refusal}; it was made with other settings: delete it when it is empty, then {REMEDY}"
                ) from refusal
            if refusal.code != FORBIDDEN:
                raise
        else:
            return
    missing = await _missing(connection, blueprint)
    if missing and declare:
        with suppress(ChannelRefused):
            await _make(connection, blueprint.only(missing))
            return
    if missing:
        raise BrokerRefused(f"{next(iter(missing.values()))}; {REMEDY}")


async def missing_parts(connection: BrokerConnection, blueprint: Blueprint) -> list[str]:
    """Look for every exchange and queue, and write a sentence for each that is not there.

    Bindings cannot be looked at over AMQP 0-9-1; their consumer makes them again every minute.
    """
    return list((await _missing(connection, blueprint)).values())


async def _missing(connection: BrokerConnection, blueprint: Blueprint) -> dict[str, str]:
    """Look for every exchange and queue; return by name a sentence for each that is not there."""
    sentences = {}
    wanted = [("exchange", name) for name in blueprint.exchanges]
    wanted += [("queue", queue.name) for queue in blueprint.queues]
    channel = None
    for kind, name in wanted:
        channel = channel if channel and channel.is_open else await connection.channel()
        try:
            if kind == "exchange":
                await channel.declare_exchange(name, passive=True)
            else:
                await channel.declare_queue(name, passive=True)
        except ChannelRefused as refusal:
            reason = "does not exist" if refusal.code == NOT_FOUND else f"cannot be used: {refusal}"
            sentences[name] = f"the {kind} {name} {reason}"
    if channel:
        channel.close()
    return sentences


async def _make(connection: BrokerConnection, blueprint: Blueprint, *, renew: bool = False) -> None:
    channel = await connection.channel()
    try:
        for name in blueprint.exchanges:
            await channel.declare_exchange(name, EXCHANGE_ARGUMENTS.get(name))
        for queue in blueprint.queues:
            try:
                await channel.declare_queue(queue.name, queue.arguments, durable=True)
            except ChannelRefused as refusal:
                if refusal.code != CONTRADICTION or not queue.brief:
                    raise
                channel = await connection.channel()
                if renew:
                    await channel.delete_queue(queue.name)
                    await channel.declare_queue(queue.name, queue.arguments, durable=True)
        for binding in blueprint.bindings:
            await channel.bind(binding.queue, binding.exchange, binding.key)
    finally:
        channel.close()


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
