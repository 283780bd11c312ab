"""Runs a double: as a process of its own, or in a thread of a test."""

import argparse
import socket
import sys
import threading
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STOP_WITHIN = 5.0


class Traffic:
    """Counts what a double is asked and answers, its own switches apart; bytes are those of the bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.calls = self.received = self.sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count."""
        if scope["type"] != "http" or scope["path"].startswith("/_double/"):
            await self._app(scope, receive, send)
            return
        self.calls += 1
        self.received += len(scope["raw_path"]) + len(scope["query_string"])

        async def received() -> Message:
            message = await receive()
            self.received += len(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            self.sent += len(message.get("body", b""))
            await send(message)

        await self._app(scope, received, sent)


class DoubleServer:
    """A double in a thread of this process; use it as a context manager or call `stop`."""

    def __init__(self, app: ASGIApp, name: str, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.url = _url(self._socket)
        self.traffic = Traffic(app)
        self._server = uvicorn.Server(_config(self.traffic))
        self._thread = threading.Thread(target=self._run, name=f"{name}-double", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, and forget all that is not in a file."""
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


def serve_until_signal(app: ASGIApp, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; the first line on stdout is the address, as port 0 takes a free one."""
    with _listen(host, port) as listening:
        sys.stdout.write(f"{_url(listening)}\n")
        sys.stdout.flush()
        uvicorn.Server(_config(app)).run(sockets=[listening])


def command_line(system: str) -> argparse.ArgumentParser:
    """Return a reader of the options that every double has."""
    parser = argparse.ArgumentParser(
        prog=f"{system.lower()}-double", description=f"A stand-in for {system}, for trials only."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it")
    return parser


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # addresses carry sessions
        lifespan="off",
        timeout_graceful_shutdown=1,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Listen with the protocol named: asyncio turns Nagle's delay off only for such sockets."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(128)
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
