"""`datauploader desktop`: one at a time, asked at the first start, then all services until it is quit."""

import os
import secrets
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from datauploader.errors import ConfigurationError, DataUploaderError, StateInUse
from datauploader.files import win32
from datauploader.reliability import FolderLock
from datauploader.runtime import logging
from datauploader.runtime.config import CONFIG_VARIABLE, Settings, load
from datauploader.runtime.process import Runtime
from datauploader.runtime.settings_index import settings_in_use
from datauploader_gateway.desktop.one_time_login import new_link
from datauploader_gateway.desktop.pages import DOOR
from datauploader_gateway.desktop.place import DesktopFolder
from datauploader_gateway.desktop.setup import SetupServer
from datauploader_gateway.service import GatewayService

log = structlog.get_logger()

SERVICES = ("gateway", "catalog", "watcher", "transfer")
"""The gateway first, because the others ask it how far their state files had come."""
PORT = 8642
"""Where the page is, so that it can be bookmarked; another one while somebody else has it."""
OTHER_S = 20.0
"""How long the one that runs may take to say where it is."""
ONWARD_S = 15.0
STOP_S = 8.0

Say = Callable[[str], None]


def run(folder: Path | None, port: int | None, *, browse: bool, end: bool = False, say: Say) -> int:
    """Run the desktop until Ctrl-C, SIGTERM or its Quit button; or open, or `end`, the one that runs already.

    Returns:
        The exit code: 0 after a clean end, 1 when the one that runs does not answer, 2 when it cannot be started.
    """
    place = DesktopFolder(folder.resolve()) if folder else DesktopFolder.usual()
    if end:
        return _end_running(place, say)
    # a program of Windows without a window of its own has no stderr
    logging.configure("desktop", level="WARNING", file=None if sys.stderr else place.folder / "desktop.log")
    try:
        lock = FolderLock(place.folder, "desktop")
    except StateInUse:
        return _open_running(place, browse=browse, say=say)
    place.asked_to_end.unlink(missing_ok=True)  # it was meant for one that is gone
    try:
        return Desktop(place, PORT if port is None else port, browse=browse, say=say).run()
    except DataUploaderError as error:
        say(f"DataUploader cannot start: {error}")
        return 2
    finally:
        place.running.unlink(missing_ok=True)
        lock.release()


def _open_running(place: DesktopFolder, *, browse: bool, say: Say) -> int:
    end = time.monotonic() + OTHER_S
    while time.monotonic() < end:
        found = place.found_running()
        if found and _answers(found[0]):
            say("DataUploader is already running.")
            _show(*found, browse=browse, say=say)
            return 0
        time.sleep(0.2)
    say(f"Another DataUploader uses {place.folder}, but its page does not answer. End that process, then start again.")
    return 1


def _end_running(place: DesktopFolder, say: Say) -> int:
    if not place.folder.is_dir():
        say("DataUploader is not running.")
        return 0
    place.asked_to_end.touch()
    end = time.monotonic() + OTHER_S
    while time.monotonic() < end:
        try:
            FolderLock(place.folder, "desktop").release()
        except StateInUse:
            time.sleep(0.2)
            continue
        place.asked_to_end.unlink(missing_ok=True)
        say("DataUploader is not running.")
        return 0
    say(f"The DataUploader that uses {place.folder} has not stopped. End that process.")
    return 1


def _answers(door: str) -> bool:
    parts = urlsplit(door)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=2).close()
    except OSError:
        return False
    return True


def _show(door: str, secret: str, *, browse: bool, say: Say) -> None:
    """Open the page in the browser; the link is good once, because other people see what a browser was started with."""
    say(f"Open this link on this computer (it works once): {new_link(door, secret)}")
    if browse and (
        sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        threading.Thread(target=webbrowser.open, args=(new_link(door, secret),), daemon=True).start()


class Desktop:
    """The one that runs."""

    def __init__(self, place: DesktopFolder, port: int, *, browse: bool, say: Say) -> None:
        """Be about to run on this place."""
        self._place, self._port, self._browse, self._say = place, port, browse, say
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
            _show(door, self._secret, browse=self._browse, say=self._say)

    @staticmethod
    def _door(runtime: Runtime) -> str:
        for service in runtime.services:
            if isinstance(service, GatewayService):
                return f"{service.url}{DOOR}"
        raise ConfigurationError("the gateway is not running")
