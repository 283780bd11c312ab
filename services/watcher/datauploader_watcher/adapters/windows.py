"""Windows' way of saying that events were lost, which watchdog passes over (7.1): imported on Windows alone."""

import ctypes
from collections.abc import Callable, Sequence
from ctypes.wintypes import DWORD, HANDLE
from functools import partial
from typing import Any

from watchdog.events import FileSystemEvent
from watchdog.observers.api import BaseObserver, EventQueue, ObservedWatch
from watchdog.observers.read_directory_changes import WindowsApiEmitter
from watchdog.observers.winapi import DirectoryChangeReader


class OverflowReader(DirectoryChangeReader):
    """Reads changes, and tells when some were lost: an answer of 0 bytes, or the end after an error."""

    def __init__(self, path: str, overflow: Callable[[], None], *, recursive: bool) -> None:
        """Say whom to tell."""
        super().__init__(path, recursive=recursive)
        self._overflow = overflow

    def _run_inner(self, handle: HANDLE, event_buffer: "ctypes.Array[ctypes.c_char]", nbytes: DWORD) -> None:
        super()._run_inner(handle, event_buffer, nbytes)
        asked_to_stop = self._should_stop and self._reader_thread is None
        if (nbytes.value == 0 or self._should_stop) and not asked_to_stop:
            self._overflow()


class OverflowEmitter(WindowsApiEmitter):
    """An emitter whose reader tells."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        overflow: Callable[[], None],
        timeout: float = 1.0,
        event_filter: Sequence[type[FileSystemEvent]] | None = None,
    ) -> None:
        """Say whom to tell."""
        super().__init__(event_queue, watch, timeout=timeout, event_filter=list(event_filter or ()) or None)
        self._overflow = overflow

    def on_thread_start(self) -> None:
        """Start the reader."""
        with self._lock:
            reader = self._reader = OverflowReader(self.watch.path, self._overflow, recursive=self.watch.is_recursive)
        reader.start()


def overflow_observer(overflow: Callable[[], None]) -> BaseObserver:
    """Return an observer of Windows' folders that tells when events were lost."""
    emitter: Any = partial(OverflowEmitter, overflow=overflow)  # watchdog names a class, and only calls it
    return BaseObserver(emitter)
