"""Runs uvicorn in a thread of its own: returns once it listens, ends within a deadline, open streams included."""

import asyncio
import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from datauploader.errors import ConfigurationError
from datauploader_gateway.http.connections import RequestTimeoutProtocol, most_connections

START_S = 30.0


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its grip on the process's signals, which belong to the runtime."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.listening.set()


class WebServer:
    """The HTTP server of one application."""

    def __init__(self, app: ASGIApp, host: str, port: int, *, trusted_proxies: tuple[str, ...]) -> None:
        """Bind the address, so that its port is known.

        Raises:
            ConfigurationError: somebody else has the address, or it is none of this machine.
        """
        self._socket = _bind(host, port)
        self._host = host
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=5,
            http=RequestTimeoutProtocol,
            limit_concurrency=most_connections(),
        )
        self._server = _Uvicorn(config)
        self._thread = threading.Thread(target=self._run, name="gateway-http", daemon=True)
        self._failed: BaseException | None = None

    @property
    def url(self) -> str:
        """The address that it listens on."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def alive(self) -> bool:
        """The server runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: the application could not start.
        """
        self._thread.start()
        end = time.monotonic() + START_S
        while not self._server.listening.wait(0.05):
            if not self._thread.is_alive() or time.monotonic() > end:
                raise ConfigurationError(f"the gateway could not start on {self.url}: {self._failed or 'see the log'}")

    def stop(self, deadline_s: float) -> None:
        """Let running requests end, cut what has not ended by then."""
        if not self._thread.is_alive():
            self._socket.close()
            return
        self._server.config.timeout_graceful_shutdown = max(1, int(deadline_s) - 1)
        self._server.should_exit = True
        self._thread.join(deadline_s)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
                runner.run(self._server.serve(sockets=[self._socket]))
        except BaseException as error:  # noqa: BLE001 - the starting thread tells it
            self._failed = error


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigurationError(
            f"the gateway cannot listen on {host}:{port} ({error.strerror}): "
            "choose another gateway.port, or 0 for a free one"
        ) from error
    return sock
