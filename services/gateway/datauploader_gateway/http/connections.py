"""Connections that cost something and bring nothing: a request must come whole and soon, and all have an end."""

import asyncio
import contextlib
import os
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

PATIENCE_S = 20.0
"""Within so many seconds a request must be here, head and body."""
_SPARE = 200
"""File descriptors for everything but people: Redis, the broker, state files, the log."""
_MOST = 65_536


def most_connections() -> int:
    """Ask the system for as many file descriptors as it allows; return how many connections that leaves room for."""
    if os.name != "posix":
        return _MOST
    import resource  # noqa: PLC0415 - there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, _MOST) if hard != resource.RLIM_INFINITY else _MOST
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE)


class RequestTimeoutProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type] # uvicorn chooses the class when it is imported
    """HTTP with a request timeout: Uvicorn's, which by itself waits for ever for the rest of a request."""

    _since: float | None = None
    """Since when a request is awaited of which something may be here; None: nothing is."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        if not self._awaits():
            self._since = None
        elif self._since is None:
            self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _awaits(self) -> bool:
        cycle = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body

    def _look(self) -> None:
        if self._since is not None and self._awaits() and self.loop.time() - self._since >= PATIENCE_S:
            self.transport.close()
            return
        self._timer = self.loop.call_later(PATIENCE_S / 4, self._look)
