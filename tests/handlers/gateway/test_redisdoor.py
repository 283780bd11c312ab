"""The way to Redis: its stand-in is one for all threads at once, and a lost connection costs nothing."""

import threading
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
import uvloop

from datauploader_gateway import redis_client
from datauploader_testing.servers import RedisServer


def test_clients_that_connect_at_once_see_the_same_data() -> None:
    """What one thread writes first is there for every other."""
    for _ in range(50):
        url = f"memory://{uuid.uuid4()}"
        clients = [redis_client.connect(url) for _ in range(4)]
        gate = threading.Barrier(4)

        def write(number: int, of: Sequence[Any] = clients, barrier: threading.Barrier = gate) -> None:
            barrier.wait()
            of[number].set(f"k{number}", 1)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {client.dbsize() for client in clients} == {4}


@pytest.mark.redis
@pytest.mark.fault("F41")
def test_a_request_whose_connection_was_lost_a_moment_before_is_sent_over_a_new_one(redis_server: RedisServer) -> None:
    """Uvloop calls it an error of the program; people would see that something unforeseen had happened."""

    async def ask() -> int:
        client = redis_client.connect_async(redis_server.address.url)
        await client.exists("anything")
        pool: Any = client.connection_pool
        (connection,) = pool._available_connections
        connection._writer.transport.abort()
        found = await client.exists("anything")
        await client.aclose()
        return int(found)

    assert uvloop.run(ask()) == 0
