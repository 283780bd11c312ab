"""Runs the double: as a process of its own, or in a thread of a test."""

import socket
import sys
import threading
from types import TracebackType
from typing import Self

import uvicorn

from datauploader_sandbox.icat.app import Icat, create
from datauploader_sandbox.icat.seed import Seed, default_seed
from datauploader_sandbox.icat.soap import add_soap

_STOP_WITHIN = 5.0


def serve(host: str, port: int) -> None:
    """Serve until a signal comes; print the address first."""
    with _listen(host, port) as listening:
        sys.stdout.write(f"{_url(listening)}\n")
        sys.stdout.flush()
        uvicorn.Server(_config(Icat(default_seed()))).run(sockets=[listening])


class IcatDouble:
    """The double in a thread of this process; use it as a context manager or call `stop`."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, seed: Seed | None = None) -> None:
        self.seed = seed or default_seed()
        self._socket = _listen(host, port)
        self.url = _url(self._socket)
        self._server = uvicorn.Server(_config(Icat(self.seed)))
        self._thread = threading.Thread(target=self._run, name="icat-double", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; everything is forgotten."""
        self._server.should_exit = True
        self._thread.join(_STOP_WITHIN)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _config(icat: Icat) -> uvicorn.Config:
    app = create(icat)
    add_soap(app, icat)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # addresses carry sessions
        lifespan="off",
        timeout_graceful_shutdown=1,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Listen with the protocol named: asyncio turns Nagle's delay off only for such sockets."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(128)
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()
    return f"http://{host}:{port}"
