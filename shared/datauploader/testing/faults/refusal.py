"""A storage's HTTP server on a bad day: it answers every request with the same refusal, and remembers when."""

import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from datauploader.testing.servers.ports import LOOPBACK

__all__ = ["RefusingServer", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request that was refused, and when it came (monotonic seconds)."""

    at: float
    method: str
    path: str


class RefusingServer:
    """Answer everything with one status, and with Retry-After where it is given."""

    def __init__(self, status: int, retry_after: str = "") -> None:
        self.status, self.retry_after = status, retry_after
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, name="refusing server", daemon=True)

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

        def log_message(self, *_: object) -> None:
            """Keep the output of tests clean."""

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PROPFIND", "MKCOL", "MOVE", "COPY", "LOCK"):
        setattr(Refusal, f"do_{method}", Refusal.refuse)
    return Refusal
