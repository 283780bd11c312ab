"""Recovery of requests from the event log: where uploads go that were asked for while this harvester was not there."""

import threading
import time
from collections.abc import Callable

import structlog

from datauploader.contracts import UploadRequested
from datauploader.messaging import Bus, Consumer, Delivery, Start
from datauploader.plugins.harvester import file_queue
from datauploader.reliability import Store

log = structlog.get_logger()

EVERY_S = 3600.0
"""The log is read at most so often: any station can speak of an upload that nobody has asked for."""


class RequestRecovery:
    """Recovers requests: reads the log when an upload is not known; all but `recover_upload` is for one thread."""

    def __init__(self, bus: Bus, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        """Read nothing yet; `clock` counts seconds since the machine was started."""
        self._bus, self._store, self._clock = bus, store, clock
        self._missed, self._ended = threading.Event(), threading.Event()
        self._begun = float("-inf")
        self._reader: Consumer | None = None

    def recover_upload(self) -> None:
        """Say that an upload is not known."""
        self._missed.set()

    def run_due(self) -> None:
        """Begin to read where that is needed, and end it where it is over."""
        if self._ended.is_set():
            self.stop(2.0)
        if self._reader is None and self._missed.is_set() and self._clock() - self._begun >= EVERY_S:
            self._begun = self._clock()
            self._missed.clear()
            log.info("request_recovery_started", hint="an upload is not known here; the log says what was asked for")
            self._reader = self._bus.replay(Start(first=True), self._hear, at_end=self._ended.set)

    def stop(self, deadline_s: float) -> None:
        """Read no more."""
        reader, self._reader = self._reader, None
        self._ended.clear()
        if reader is not None:
            reader.stop(deadline_s)

    def _hear(self, delivery: Delivery) -> None:
        if isinstance(delivery.event.data, UploadRequested):
            with self._store.transaction() as db:
                file_queue.ask(db, delivery.event)
