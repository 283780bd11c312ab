"""What Windows says of its watches and watchdog (7.1) passes over: imported on Windows alone."""

import ctypes
import os
from collections.abc import Callable, Sequence
from ctypes.wintypes import DWORD, HANDLE
from functools import partial
from queue import Empty
from typing import Any

from watchdog.events import FileSystemEvent
from watchdog.observers import winapi
from watchdog.observers.api import BaseObserver, EventQueue, ObservedWatch
from watchdog.observers.read_directory_changes import WindowsApiEmitter
from watchdog.observers.winapi import DirectoryChangeReader


class OverflowReader(DirectoryChangeReader):
    """Reads changes, and tells when some were lost (an answer of 0 bytes) and when it ends without being asked to.

    watchdog takes every error for a removed folder. So the watch of one that is still there would end as well, after
    `ERROR_NOTIFY_ENUM_DIR` (changes were lost) or a network that was away for a moment.
    """

    def __init__(
        self, path: str, overflow: Callable[[], None], ended: Callable[[bytes], None], *, recursive: bool
    ) -> None:
        """Say whom to tell."""
        super().__init__(path, recursive=recursive)
        self._overflow, self._ended = overflow, ended

    def _run_inner(self, handle: HANDLE, event_buffer: "ctypes.Array[ctypes.c_char]", nbytes: DWORD) -> None:
        super()._run_inner(handle, event_buffer, nbytes)
        if self._should_stop and self._reader_thread is None:  # it was asked to stop
            return
        if self._should_stop or nbytes.value == 0:
            self._overflow()
        if self._should_stop:
            self._ended(os.fsencode(self._path))

    def get_events(self, timeout: float) -> list[winapi.WinAPINativeEvent]:
        """Return what was read, or what comes within `timeout` seconds.

        watchdog's own goes on until nothing has come for so long: an instrument that never pauses would not be heard.
        """
        try:
            read = [self._buf_queue.get(timeout=timeout)]
        except Empty:
            return []
        read += [self._buf_queue.get_nowait() for _ in range(self._buf_queue.qsize())]
        events: list[winapi.WinAPINativeEvent] = []
        for buffer, extended in read:
            if extended:
                found = winapi._parse_extended_event_buffer(buffer)  # noqa: SLF001 - there is no other door
            else:
                found = [(*change, False) for change in winapi._parse_event_buffer(buffer)]  # noqa: SLF001 - likewise
            events += [winapi.WinAPINativeEvent(action, path, is_attrib=attrib) for action, path, attrib in found]
        return winapi._drop_case_only_rename_deletions(events)  # noqa: SLF001 - likewise


class OverflowEmitter(WindowsApiEmitter):
    """An emitter whose reader tells."""

    def __init__(
        self,
        event_queue: EventQueue,
        watch: ObservedWatch,
        *,
        overflow: Callable[[], None],
        ended: Callable[[bytes], None],
        timeout: float = 1.0,
        event_filter: Sequence[type[FileSystemEvent]] | None = None,
    ) -> None:
        """Say whom to tell."""
        super().__init__(event_queue, watch, timeout=timeout, event_filter=list(event_filter or ()) or None)
        self._tell = overflow, ended

    def on_thread_start(self) -> None:
        """Start the reader.

        Raises:
            OSError: the folder cannot be watched; the reader would only end then, in its own thread.
        """
        winapi._close_directory_handle(winapi._get_directory_handle(self.watch.path))  # noqa: SLF001 - it offers no trial
        with self._lock:
            reader = self._reader = OverflowReader(self.watch.path, *self._tell, recursive=self.watch.is_recursive)
        reader.start()


def overflow_observer(overflow: Callable[[], None], ended: Callable[[bytes], None]) -> BaseObserver:
    """Return an observer of Windows' folders that tells when events were lost, and which watches end by themselves."""
    emitter: Any = partial(OverflowEmitter, overflow=overflow, ended=ended)  # watchdog names a class, and only calls it
    return BaseObserver(emitter)
