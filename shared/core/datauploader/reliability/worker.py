"""Threads that work as long as their service: an error does not end them, and what keeps one from its work is told."""

import abc
import threading
import time
import weakref
from collections.abc import Callable

import structlog

log = structlog.get_logger()

PAUSE_S = 1.0
"""After an error that the work itself has not dealt with, before it begins again."""
SHOWN_S = 30.0
"""For so long after the last such error it is told."""
_all: "weakref.WeakSet[WorkerThread]" = weakref.WeakSet()
_lock = threading.Lock()


class WorkerThread(threading.Thread):
    """Runs a loop that returns when its service stops, and begins it anew where an error has ended it.

    The loop must find everything that it needs in its state again, as it does after a restart of the service.
    """

    def __init__(self, work: Callable[[], object], *, name: str) -> None:
        """Prepare a daemon thread."""
        super().__init__(name=name, daemon=True)
        self._work = work
        self.began_at = 0.0
        """When it was started (monotonic)."""
        self._error, self._stumbled_at, self._ended = "", 0.0, False
        with _lock:
            _all.add(self)

    def start(self) -> None:
        """Begin to work."""
        self.began_at = time.monotonic()
        super().start()

    def run(self) -> None:
        """Work until the loop returns by itself."""
        while True:
            try:
                self._work()
            except Exception as error:  # the boundary of every thread
                log.exception("thread_failed", thread=self.name)
                self._error, self._stumbled_at = f"{type(error).__name__}: {str(error)[:300]}", time.monotonic()
                time.sleep(PAUSE_S)
            except BaseException as error:
                self._error, self._ended = type(error).__name__, True
                log.exception("thread_ended", thread=self.name)
                raise
            else:
                return

    @property
    def problem(self) -> str:
        """What keeps it from its work, "" where nothing does."""
        if self._ended:
            return f"the thread {self.name} has ended ({self._error}): restart the service, and check its log"
        if self._error and time.monotonic() - self._stumbled_at < SHOWN_S:
            return f"the thread {self.name} met an error ({self._error}) and was restarted; see the log"
        return ""


class PeriodicTask(abc.ABC):
    """A periodic task: turns in a thread of its own, each after the pause that the one before asked for."""

    def __init__(self, name: str, first_s: float = 0.0) -> None:
        """Prepare; nothing runs before `start`, and the first turn comes so many seconds after it."""
        self._first_s = first_s
        self._stopping, self._woken = False, threading.Event()
        self._thread = WorkerThread(self._run, name=name)

    def start(self) -> None:
        """Begin, with what a former run left."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there may be something to do: the next turn comes at once."""
        self._woken.set()

    def stop(self, deadline_s: float) -> None:
        """End after the turn that is being done; what is left is done after the next start."""
        self._stopping = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(deadline_s)

    @abc.abstractmethod
    def take_turn(self) -> float | None:
        """Do what is due; return the seconds until the next turn, None to wait until somebody calls `wake`."""

    def _run(self) -> None:
        pause_s: float | None = self._first_s
        while not self._stopping:
            self._woken.wait(pause_s)
            self._woken.clear()
            if not self._stopping:
                pause_s = self.take_turn()


def problems(since: float = 0.0) -> list[str]:
    """Say what keeps the threads of this process from their work that were started since a moment (monotonic)."""
    with _lock:
        threads = sorted(_all, key=lambda thread: thread.name)
    return [trouble for thread in threads if thread.began_at >= since and (trouble := thread.problem)]
