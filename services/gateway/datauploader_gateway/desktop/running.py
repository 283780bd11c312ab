"""The desktop that runs: its questions at the first start, then all services until the end is asked for."""

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable

from datauploader.errors import ConfigurationError, DataUploaderError
from datauploader.files import win32
from datauploader.runtime.config import CONFIG_VARIABLE, Settings, load
from datauploader.runtime.process import Runtime
from datauploader.runtime.settings_index import settings_in_use
from datauploader_gateway.desktop.one_time_login import new_link
from datauploader_gateway.desktop.pages import DOOR
from datauploader_gateway.desktop.place import DesktopFolder
from datauploader_gateway.desktop.setup import SetupServer
from datauploader_gateway.service import GatewayService

SERVICES = ("gateway", "catalog", "watcher", "transfer")
"""The gateway first, because the others ask it how far their state files had come."""
ONWARD_S = 15.0
STOP_S = 8.0

Say = Callable[[str], None]
Show = Callable[[str, str], None]
"""Shows the person the page behind this door, which this secret opens."""


class Desktop:
    """The one that runs."""

    def __init__(self, place: DesktopFolder, port: int, *, show: Show, say: Say) -> None:
        """Be about to run on this place."""
        self._place, self._port, self._show, self._say = place, port, show, say
        self._secret = secrets.token_urlsafe(32)
        self._ending = threading.Event()

    def run(self) -> int:
        """Ask if need be, run the services until the end is asked for, stop them."""
        for number in win32.STOP_SIGNALS:
            signal.signal(number, lambda *_: self._ending.set())
        runtime = self._started() if self._place.configured else self._asked()
        if runtime is None:
            return 0
        while not self._ends(0.5):  # a wait without end would keep Windows from seeing Ctrl-C
            pass
        self._say("Stopping. Unfinished uploads continue at the next start.")
        runtime.stop(STOP_S)
        return 0

    def _asked(self) -> Runtime | None:
        """Have the questions answered; return the services that run then, None when the end was asked for before."""
        with SetupServer(self._place, self._secret) as server:
            setup = server.setup
            self._announce(server.door)
            while not self._ends(0.0):
                if not setup.saved.wait(0.2):
                    continue
                try:
                    runtime = self._started(shown=False)
                except DataUploaderError as error:
                    setup.failed(str(error))
                    continue
                setup.onward = new_link(self._door(runtime), self._secret)
                end = time.monotonic() + ONWARD_S
                while not (setup.shown.wait(0.2) or self._ending.is_set() or time.monotonic() > end):
                    pass
                return runtime
        return None

    def _ends(self, within_s: float) -> bool:
        """Tell whether the end was asked for, here or by another start with `--quit`."""
        if self._place.asked_to_end.exists():
            self._ending.set()
        return self._ending.wait(within_s)

    def _started(self, *, shown: bool = True) -> Runtime:
        os.environ[CONFIG_VARIABLE] = str(self._place.config)
        os.environ["DATAUPLOADER_GATEWAY_DESKTOP"] = self._secret
        port = self._port
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                port = 0  # somebody has it: any other
        os.environ["DATAUPLOADER_GATEWAY_PORT"] = str(port)
        for kind in settings_in_use().values():  # all of them before anything is built
            load(kind)
        settings = load(Settings)
        runtime = Runtime(SERVICES, settings, end=self._ending.set)
        runtime.start()
        self._announce(self._door(runtime), shown=shown)
        return runtime

    def _announce(self, door: str, *, shown: bool = True) -> None:
        self._place.announce(door, self._secret)
        if shown:
            self._show(door, self._secret)

    @staticmethod
    def _door(runtime: Runtime) -> str:
        for service in runtime.services:
            if isinstance(service, GatewayService):
                return f"{service.url}{DOOR}"
        raise ConfigurationError("the gateway is not running")
