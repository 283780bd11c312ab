"""Threads that run handlers; daemons, so that a handler that hangs cannot keep the process from ending."""

from collections.abc import Callable
from queue import SimpleQueue

from datauploader.reliability.worker import WorkerThread


class HandlerThreads:
    """A pool of handler threads, fixed in number, that take jobs in order."""

    def __init__(self, count: int, name: str) -> None:
        """Start the threads."""
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = count
        for number in range(count):
            WorkerThread(self._run, name=f"{name}.{number}").start()

    def submit(self, job: Callable[[], None]) -> None:
        """Have a thread do this when those before it are begun; the job deals with its own exceptions."""
        self._jobs.put(job)

    def end(self) -> None:
        """Let the threads end when they have done what was submitted; do not wait for them."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
