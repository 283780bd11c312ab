"""The threads of the in-process broker's consumers."""

import threading
import time
from collections.abc import Callable
from typing import Self

from datauploader.reliability.worker import WorkerThread


class WorkerLoop:
    """A worker loop: threads that repeat a step while it has something to do, until stopped."""

    problem = None

    def __init__(
        self, changed: threading.Condition, name: str, workers: int, *, on_stop: Callable[[], None] = lambda: None
    ) -> None:
        """Wait for something to do until `changed` says that there may be; call `on_stop` once, holding it."""
        self._changed = changed
        self._on_stop = on_stop
        self._stopping = False
        self._threads = [WorkerThread(self._run, name=f"{name}.{n}") for n in range(workers)]

    def start(self, take: Callable[[], Callable[[], object] | None]) -> Self:
        """Begin; `take` is called holding `changed`, and returns the next piece of work, if there is one."""
        self._take = take
        for thread in self._threads:
            thread.start()
        return self

    @property
    def stopping(self) -> bool:
        """True once `stop` was called."""
        return self._stopping

    def stop(self, deadline_s: float = 10.0) -> None:
        """Take nothing new and wait for what runs."""
        with self._changed:
            if not self._stopping:
                self._on_stop()
            self._stopping = True
            self._changed.notify_all()
        end = time.monotonic() + deadline_s
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0, end - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._changed:
                work = None
                while not self._stopping and (work := self._take()) is None:
                    self._changed.wait()
            if work is None:
                return
            work()
