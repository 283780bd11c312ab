"""Linux's own events in fewer steps than watchdog (7.1) takes by itself: imported on Linux alone."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from watchdog.events import FileSystemEvent
from watchdog.observers.api import BaseObserver, EventQueue, ObservedWatch
from watchdog.observers.inotify import InotifyEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyFD

BREATH_S = 0.01
"""The pause after a reading, so that a burst is read a hundred events at a time: each reading wakes three threads. The
kernel keeps 16,384 events meanwhile (`fs.inotify.max_queued_events`)."""

Forward = Callable[[bytes, FileSystemEvent], None]
"""Takes a watched folder and what happened in it."""


class BreathingReader(InotifyFD):
    """Reads what has come, hands it on, and lets more come."""

    def run(self) -> None:
        """Read until it is stopped."""
        while self.should_keep_running():
            for event in self.read_events():
                self.handle_event(event)
            self.stopped_event.wait(BREATH_S)


class ForwardingEmitter(InotifyEmitter):
    """Hands events on itself: the observer's queue and thread would only carry them there."""

    def __init__(self, event_queue: EventQueue, watch: ObservedWatch, *, forward: Forward, **options: Any) -> None:
        """Say whom to tell."""
        super().__init__(event_queue, watch, **options)
        self._forward = partial(forward, os.fsencode(watch.path))
        self._kinds = tuple(watch.event_filter or (FileSystemEvent,))

    def queue_event(self, event: FileSystemEvent) -> None:
        """Hand an event on, if its kind is asked for."""
        if isinstance(event, self._kinds):
            self._forward(event)


class ForwardingObserver(InotifyObserver):
    """An observer that tells of events itself; the handlers that it is given are not called."""

    def __init__(self, forward: Forward) -> None:
        """Say whom to tell."""
        self._inotify_fd = BreathingReader()
        self._inotify_fd.start()
        emitter: Any = partial(ForwardingEmitter, forward=forward)  # watchdog names a class, and only calls it
        BaseObserver.__init__(self, emitter, inotify_fd=self._inotify_fd)
