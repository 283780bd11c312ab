"""The fault proxy: a thread with an event loop that stands between a client and a server on loopback."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Self

from datauploader_testing.faults.connection import ProxiedConnection
from datauploader_testing.faults.toxics import Toxic
from datauploader_testing.servers.ports import LOOPBACK, free_port


class FaultProxy:
    """Forward a loopback port to another one, with toxics that come and go while it runs.

    All methods may be called from any thread. Toxics act on connections that are open already as well.
    """

    def __init__(self, upstream: int) -> None:
        self.port = free_port()
        self._upstream = upstream
        self._toxics: list[Toxic] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"fault proxy {self.port}", daemon=True)

    def add(self, *toxics: Toxic) -> None:
        """Put toxics behind those that are there."""
        self._call(lambda: self._toxics.extend(toxics))

    def remove(self, *toxics: Toxic) -> None:
        """Take toxics away; what they kept back goes on."""
        self._call(lambda: self._remove(toxics))

    def clear(self) -> None:
        """Take all toxics away."""
        self._call(lambda: self._remove(tuple(self._toxics)))

    @contextlib.contextmanager
    def having(self, *toxics: Toxic) -> Iterator[None]:
        """Have toxics for the time of a `with` block."""
        self.add(*toxics)
        try:
            yield
        finally:
            self.remove(*toxics)

    def refuse(self) -> None:
        """Refuse new connections, as a server that is down does; open ones live on."""
        self._run(self._stop_listening()).result()

    def accept(self) -> None:
        """Accept connections (again)."""
        self._run(self._listen()).result()

    def cut(self) -> None:
        """Cut every open connection."""
        self._run(self._cut()).result()

    def lead_to(self, upstream: int) -> None:
        """Lead to another port of loopback from now on, as when another server takes over; open connections are cut."""
        self._upstream = upstream
        self.cut()

    @property
    def open_connections(self) -> int:
        """Count the connections that are open now."""
        return len(self._connections)

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        """Accept by ourselves: asyncio's server forgets whom it accepted in the moment in which it is closed."""
        if self._listener is None:
            self._listener = socket.create_server((LOOPBACK, self.port), backlog=100)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._take_on, self._listener)

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _take_on(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # gone again before it was its turn
        task = self._loop.create_task(ProxiedConnection(client, self._toxics).run(self._upstream))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: client.close())  # here, since a task that was cut early never ran

    async def _cut(self) -> None:
        tasks = tuple(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _remove(self, toxics: tuple[Toxic, ...]) -> None:
        for toxic in toxics:
            if toxic in self._toxics:
                self._toxics.remove(toxic)
            toxic.removed.set()

    def _call(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        self._run(act()).result()

    def _run(self, coroutine: Coroutine[None, None, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
