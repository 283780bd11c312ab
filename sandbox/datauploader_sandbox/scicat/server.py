"""Runs the double: in this process until it is told to stop, or beside it in a thread."""

import socket
import sys
import threading
from types import TracebackType
from typing import Self

import uvicorn

from datauploader_sandbox.scicat.app import create
from datauploader_sandbox.scicat.seed import ScicatSeed, default_seed
from datauploader_sandbox.scicat.store import Store

_STOP_WITHIN = 5.0


def serve(host: str = "127.0.0.1", port: int = 0, *, api: str = "v4") -> None:
    """Serve until SIGTERM or SIGINT; the first line on stdout is the address, as port 0 takes a free one."""
    with _listen(host, port) as listening:
        sys.stdout.write(f"{_url(listening)}\n")
        sys.stdout.flush()
        uvicorn.Server(_config(Store(default_seed()), api)).run(sockets=[listening])


class ScicatDouble:
    """The double in a thread of this process; use it as a context manager or call `stop`."""

    def __init__(self, *, port: int = 0, seed: ScicatSeed | None = None, api: str = "v4") -> None:
        self._socket = _listen("127.0.0.1", port)
        self.url = _url(self._socket)
        self._server = uvicorn.Server(_config(Store(seed or default_seed()), api))
        self._thread = threading.Thread(target=self._run, name="scicat-double", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, and forget."""
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


def _config(store: Store, api: str) -> uvicorn.Config:
    return uvicorn.Config(
        create(store, api), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )


def _listen(host: str, port: int) -> socket.socket:
    """Listen with the protocol named: asyncio turns Nagle's delay off only for such sockets."""
    listening = socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(128)
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
