"""A storage's HTTP server on a bad day: it answers every request with the same refusal, and remembers when."""

import contextlib
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from datauploader_testing.servers.ports import LOOPBACK

__all__ = ["PickyServer", "RefusingServer", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request that was refused, and when it came (monotonic seconds)."""

    at: float
    method: str
    path: str


class _Server:
    """An HTTP server on loopback in a thread of its own; a context manager."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer((LOOPBACK, 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name=type(self).__name__, daemon=True)

    @property
    def port(self) -> int:
        """Tell where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class RefusingServer(_Server):
    """Answer everything with one status, with Retry-After where it is given, and by a clock that may be ahead."""

    def __init__(self, status: int, retry_after: str = "", *, ahead_s: float = 0) -> None:
        self.status, self.retry_after, self.ahead_s = status, retry_after, ahead_s
        self.requests: list[Request] = []
        super().__init__(_handler_of(self))


def _handler_of(server: RefusingServer) -> type[BaseHTTPRequestHandler]:
    class Refusal(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def refuse(self) -> None:
            server.requests.append(Request(time.monotonic(), self.command, self.path))
            self.close_connection = True  # a body that was announced is not read
            self.send_response(server.status)
            if server.retry_after:
                self.send_header("Retry-After", server.retry_after)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + server.ahead_s)

        def log_message(self, *_: object) -> None:
            """Keep the output of tests clean."""

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PROPFIND", "MKCOL", "MOVE", "COPY", "LOCK"):
        setattr(Refusal, f"do_{method}", Refusal.refuse)
    return Refusal


class PickyServer(_Server):
    """Pass everything on to a storage's server, except that files of one name are answered with a status."""

    def __init__(self, behind: int, name: str, status: int) -> None:
        super().__init__(_chooser(behind, name, status))


def _chooser(behind: int, name: str, status: int) -> type[BaseHTTPRequestHandler]:
    class Chooser(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.command == "PUT" and self.path.endswith(f"/{name}"):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            with contextlib.closing(HTTPConnection(LOOPBACK, behind, timeout=30)) as storage:
                storage.request(self.command, self.path, body, dict(self.headers))
                answer = storage.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(key, value)
                self.send_header("Content-Length", answer.headers.get("Content-Length", str(len(content))))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep the output of tests clean."""

    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND", "MKCOL", "MOVE"):
        setattr(Chooser, f"do_{method}", Chooser.pass_on)
    return Chooser
