"""File-system events through watchdog: hints that save time, never the truth."""

import logging
import os
import queue
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from datauploader.reliability.worker import WorkerThread

log = structlog.get_logger()

_KINDS: list[type[FileSystemEvent]] = [
    DirCreatedEvent, DirMovedEvent, FileCreatedEvent, FileClosedEvent, FileModifiedEvent, FileMovedEvent,
]  # fmt: skip
RENEWED_S = 60.0
"""A watch that the system has ended is begun anew, but not twice within so many seconds: its folder is polled then."""
_OVERFLOWS = logging.getLogger("watchdog.observers")


class Notice(NamedTuple):
    """Something happened at this absolute path. A tuple, because each new file has three."""

    watch: bytes
    """The watched folder that it was heard through."""
    path: bytes
    folder: bool
    closed: bool = False
    """Its writer has closed it, or has given it another name, as writers do when they are done."""


class Events:
    """Watches folders; a thread of its own adds watches, because that walks whole trees."""

    def __init__(
        self,
        notice: Callable[[Notice], None],
        overflow: Callable[[], None],
        watched: Callable[[bytes, str], None],
    ) -> None:
        """Say where notices, losses and results go.

        Args:
            notice: called from watchdog's threads, must be quick.
            overflow: the operating system has dropped events.
            watched: a folder is watched now (""), or why it is not.
        """
        self._notice = notice
        self._lost = overflow
        self._overflow = _Overflow(overflow)
        self._watched = watched
        self._observer: BaseObserver | None = None
        self._watches: dict[bytes, ObservedWatch] = {}
        self._renewed: dict[bytes, float] = {}
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = WorkerThread(self._run, name="events")

    def start(self) -> None:
        """Begin to deliver events."""
        # A folder is reported twice when it appears while its parent is walked (7.1); nothing is wrong with that.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        _OVERFLOWS.addHandler(self._overflow)
        self._thread.start()

    def stop(self, deadline_s: float) -> None:
        """Stop delivering."""
        self._orders.put(None)
        if self._thread.is_alive():
            self._thread.join(deadline_s)
        _OVERFLOWS.removeHandler(self._overflow)

    def watch(self, folder: bytes, *, recursive: bool = True) -> None:
        """Watch a folder (with everything below it), anew if it was watched before."""
        self._orders.put(partial(self._begin, folder, recursive=recursive))

    def unwatch(self, folder: bytes) -> None:
        """Stop watching a folder."""
        self._orders.put(partial(self._remove, folder))

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            order()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def _begin(self, folder: bytes, *, recursive: bool) -> None:
        self._remove(folder)
        problem = ""
        try:
            if self._observer is None:
                observer = self._new_observer()
                observer.start()
                self._observer = observer
            self._watches[folder] = self._observer.schedule(
                _Handler(partial(self._forward, folder)), os.fsdecode(folder), recursive=recursive, event_filter=_KINDS
            )
        except OSError as error:
            log.warning("folder_cannot_be_watched", folder=os.fsdecode(folder), problem=str(error))
            problem = error.strerror or str(error)
        self._watched(folder, problem)

    def _new_observer(self) -> BaseObserver:
        if sys.platform == "win32":
            from datauploader_watcher.adapters.windows import overflow_observer  # noqa: PLC0415 - there is none elsewhere

            # where the system ends a watch by itself, that is told from its threads
            return overflow_observer(self._lost, lambda ended: self._orders.put(partial(self._renew, ended)))
        if sys.platform == "linux":  # its losses are heard through the log
            from datauploader_watcher.adapters.inotify import ForwardingObserver  # noqa: PLC0415 - likewise

            return ForwardingObserver(self._forward)
        return Observer()

    def _forward(self, watch: bytes, event: FileSystemEvent) -> None:
        """Turn one of watchdog's events into a notice."""
        if isinstance(event, FileMovedEvent | DirMovedEvent):
            self._notice(Notice(watch, os.fsencode(event.dest_path), event.is_directory, not event.is_directory))
        elif not event.is_directory or isinstance(event, DirCreatedEvent):
            closed = isinstance(event, FileClosedEvent)
            self._notice(Notice(watch, os.fsencode(event.src_path), event.is_directory, closed))

    def _renew(self, folder: bytes) -> None:
        if (watch := self._watches.get(folder)) is None:
            return
        now, before = time.monotonic(), self._renewed.get(folder)
        self._renewed[folder] = now
        log.warning("watch_ended", folder=os.fsdecode(folder))
        if before is None or now - before > RENEWED_S:
            self._begin(folder, recursive=watch.is_recursive)
        else:
            self._remove(folder)
            self._watched(folder, "the system ends the watch again and again")

    def _remove(self, folder: bytes) -> None:
        watch = self._watches.pop(folder, None)
        if watch is None or self._observer is None:
            return
        try:
            self._observer.unschedule(watch)
        except (KeyError, OSError) as error:  # the emitter of a deleted folder has ended by itself
            log.debug("watch_already_removed", folder=os.fsdecode(folder), problem=str(error))


class _Handler(FileSystemEventHandler):
    """Hands every event on."""

    def __init__(self, forward: Callable[[FileSystemEvent], None]) -> None:
        self._forward = forward

    def dispatch(self, event: FileSystemEvent) -> None:
        """Take an event."""
        self._forward(event)


class _Overflow(logging.Handler):
    """Hears watchdog say that the system's queue ran over; it says so nowhere else (7.1)."""

    def __init__(self, overflow: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = overflow

    def emit(self, record: logging.LogRecord) -> None:
        """Take a log record."""
        if "events were lost" in record.getMessage():
            self._tell()


def watches_left_out(folders: int, proc: Path = Path("/proc")) -> str:
    """Say when this process could not watch as many folders as there are, "" when it could or when nobody knows.

    watchdog passes over the folders below a root that it cannot watch (7.1), so the watches are counted.
    """
    try:
        limit = int((proc / "sys/fs/inotify/max_user_watches").read_text())
    except (OSError, ValueError):
        return ""
    held = sum(_watches(info) for info in (proc / "self/fdinfo").iterdir())
    if held >= folders:
        return ""
    return (
        f"only {held} of {folders} folders are watched (the system allows {limit} watches to each user), so new files "
        "are found by scanning: raise fs.inotify.max_user_watches with sysctl"
    )


def _watches(info: Path) -> int:
    try:
        return info.read_text().count("inotify wd:")
    except OSError:  # the descriptor was closed meanwhile
        return 0
