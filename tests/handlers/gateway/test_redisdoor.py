"""The stand-in for Redis is one for all threads of the process, from the first moment on."""

import threading
import uuid
from collections.abc import Sequence
from typing import Any

from datauploader_gateway import redisdoor


def test_clients_that_connect_at_once_see_the_same_data() -> None:
    """What one thread writes first is there for every other."""
    for _ in range(50):
        url = f"memory://{uuid.uuid4()}"
        clients = [redisdoor.connect(url) for _ in range(4)]
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
