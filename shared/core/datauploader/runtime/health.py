"""The small HTTP door of a process for machines: is it alive, is it ready, how much has it done."""

import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from datauploader.runtime.service import Check


class HealthServer:
    """Serves `/live`, `/ready` (503 with the failing checks) and `/metrics` (Prometheus text format)."""

    def __init__(self, host: str, port: int, checks: Callable[[], Sequence[Check]]) -> None:
        """Listen on this address; port 0 takes any free one."""
        self._server = ThreadingHTTPServer((host, port), _handler(checks))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def _handler(checks: Callable[[], Sequence[Check]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/live":
                self._answer(200, "application/json", b'{"live": true}')
            elif self.path == "/ready":
                found = checks()
                ready = all(check.ok for check in found)
                listed = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in found]
                body = json.dumps({"ready": ready, "checks": listed}).encode()
                self._answer(200 if ready else 503, "application/json", body)
            elif self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest())
            else:
                self._answer(404, "text/plain", b"/live, /ready or /metrics")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the interface
            """Write nothing: probes come every few seconds."""

    return Handler
