"""`datauploader desktop`: one at a time, asked at the first start, then all services until it is quit."""

import os
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from datauploader.errors import DataUploaderError, StateInUse
from datauploader.reliability import FolderLock
from datauploader.runtime import logging
from datauploader_gateway.desktop.one_time_login import new_link
from datauploader_gateway.desktop.place import DesktopFolder

PORT = 8642
"""Where the page is, so that it can be bookmarked; another one while somebody else has it."""
OTHER_S = 60.0
"""How long the one that runs may take to say where it is, or to stop: it may have begun to start a moment ago."""

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
        from datauploader_gateway.desktop.running import Desktop  # noqa: PLC0415 - `--quit` need not wait for it

        show = partial(_show, browse=browse, say=say)
        return Desktop(place, PORT if port is None else port, show=show, say=say).run()
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
