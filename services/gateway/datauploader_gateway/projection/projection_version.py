"""The version of the view, a projection: the number of its latest change, which shows a Redis that has gone back."""

import threading

from datauploader.reliability import Schema, Store

SCHEMA = Schema(
    "view", ("CREATE TABLE view_commits (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);",)
)


class ProjectionVersion:
    """The version, the greatest number that Redis showed: exact in memory, in the state file as of the latest `save`.

    Redis counts each change of the view together with the change. After a power cut, or with a copy put back, it shows
    a number again that it has shown before.
    """

    def __init__(self, store: Store | None = None) -> None:
        """Go on from what a former run has kept."""
        self._store = store
        self._lock = threading.Lock()
        row = None
        if store is not None:
            with store.reading() as db:
                row = db.execute("SELECT number FROM view_commits").fetchone()
        self._highest = self._kept = int(row["number"]) if row else 0
        self.behind = threading.Event()
        """Redis has counted from a number again that it was past before."""

    @property
    def highest(self) -> int:
        """The greatest number that was ever shown."""
        with self._lock:
            return self._highest

    def made(self, before: int, number: int) -> None:
        """Take note of a change; `before` is what `highest` was before it was made."""
        if number <= before:
            self.behind.set()
        with self._lock:
            self._highest = max(self._highest, number)

    def save(self) -> None:
        """Remember the number over a restart."""
        highest = self.highest
        if self._store is None or highest == self._kept:
            return
        with self._store.transaction() as db:
            db.execute("INSERT OR REPLACE INTO view_commits VALUES (1, ?)", (highest,))
        self._kept = highest
