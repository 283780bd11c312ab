"""RabbitMQ only: what was settled just before a channel is closed, while the broker's disk is slow."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from datauploader.errors import MessagingError
from datauploader.messaging.rabbit.connection import AmqpAddress, BrokerConnection
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader_testing.servers import RabbitServer

from .conftest import QUICK, Recorder

pytestmark = pytest.mark.rabbitmq

NUMBER = 200


@contextmanager
def slow_disk(server: RabbitServer) -> Iterator[None]:
    """Let the broker write nothing of its quorum queues."""
    server.ctl("eval", "sys:suspend(ra_log_wal).")
    try:
        yield
    finally:
        server.ctl("eval", "sys:resume(ra_log_wal).")


def test_what_was_settled_before_a_channel_is_closed_does_not_come_back(
    rabbitmq_server, rabbit, queue, consume, new_event, eventually
):
    """Every other one of many deliveries is done, the rest goes back, and the broker has written none of that yet."""
    bus = rabbit.bus()
    consume(bus, queue, Recorder()).stop(5)
    for future in [bus.publish(new_event()) for _ in range(NUMBER)]:
        future.result(30)
    owner = EventLoopThread("settling")
    connection = BrokerConnection(AmqpAddress(rabbit.address.url, "settling"), "consumer", owner, QUICK)

    async def settle_half() -> None:
        channel = await connection.channel()
        tags: list[int] = []
        came = asyncio.Event()

        def take(method: Any, *_message: object) -> None:
            tags.append(method.delivery_tag)
            if len(tags) == NUMBER:
                came.set()

        await channel.prefetch(NUMBER)
        await channel.consume(queue.name, take, "half")
        await came.wait()
        await channel.cancel("half")
        with slow_disk(rabbitmq_server):
            await channel.settle(tags[::2], back_up_to=tags[-1])
            channel.close()
            with suppress(MessagingError):  # it has ended: the broker has taken leave of it
                await channel.until_ended(30)

    try:
        owner.wait(settle_half(), 60)
    finally:
        owner.wait(connection.close(), 10)
        owner.end()
    eventually(
        lambda: bus.queues([queue.name])[0].waiting == NUMBER // 2,
        lambda: f"{NUMBER // 2} of {NUMBER} messages are left: {bus.queues([queue.name])}",
        30,
    )
