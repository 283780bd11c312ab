"""Keeps a state file small: a thread that does it in slices, so that nobody waits long for the file."""

import sqlite3
import threading
from collections.abc import Callable

import structlog

from datauploader.reliability.store import Store
from datauploader.reliability.worker import WorkerThread

log = structlog.get_logger()

LOOK_S = 60.0
"""How often it is looked for something to do."""
BREATH_S = 0.05
"""Between two slices the file belongs to others."""


class StateUpkeep:
    """Upkeep of a state file: what it need not hold row by row is compacted, and free pages go back to the disk."""

    def __init__(self, store: Store, *steps: Callable[[], bool]) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            store: the state file.
            steps: each does one slice in a transaction of its own, and says whether there may be more to do.
        """
        self._store, self._steps = store, steps
        self._ended = threading.Event()
        self._thread = WorkerThread(self._run, name="upkeep")

    def start(self) -> None:
        """Begin, with what a former run left."""
        self._thread.start()

    def stop(self, deadline_s: float) -> None:
        """End after the slice that is being done; the rest is done after the next start."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(deadline_s)

    def tidy(self) -> bool:
        """Do one slice of everything; return whether there may be more to do."""
        more = [step() for step in self._steps]
        return any(more) or self._store.shrink()

    def _run(self) -> None:
        pause = BREATH_S
        while not self._ended.wait(pause):
            try:
                pause = BREATH_S if self.tidy() else LOOK_S
            except sqlite3.DatabaseError as error:  # a full disk: nothing is lost by waiting
                log.warning("state_file_upkeep_failed", path=str(self._store.path), problem=str(error))
                pause = LOOK_S
