"""Keeps a state file small: a thread that does it in slices, so that nobody waits long for the file."""

import sqlite3
from collections.abc import Callable

import structlog

from datauploader.reliability.store import Store
from datauploader.reliability.worker import PeriodicTask

log = structlog.get_logger()

LOOK_S = 60.0
"""How often it is looked for something to do."""
BREATH_S = 0.05
"""Between two slices the file belongs to others."""


class StateUpkeep(PeriodicTask):
    """Upkeep of a state file: what it need not hold row by row is compacted, and free pages go back to the disk."""

    def __init__(self, store: Store, *steps: Callable[[], bool]) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            store: the state file.
            steps: each does one slice in a transaction of its own, and says whether there may be more to do.
        """
        super().__init__("upkeep", BREATH_S)
        self._store, self._steps = store, steps

    def tidy(self) -> bool:
        """Do one slice of everything; return whether there may be more to do."""
        more = [step() for step in self._steps]
        return any(more) or self._store.shrink()

    def take_turn(self) -> float:
        """Do one slice, and leave the file to others for a while."""
        try:
            return BREATH_S if self.tidy() else LOOK_S
        except sqlite3.DatabaseError as error:  # a full disk: nothing is lost by waiting
            log.warning("state_file_upkeep_failed", path=str(self._store.path), problem=str(error))
            return LOOK_S
