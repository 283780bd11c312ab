"""Where each of the station's `roots` really was when it was first seen; whoever swaps one later is not believed."""

import os
from collections.abc import Collection
from pathlib import Path

from datauploader.reliability import Store


class RootPlaceTable:
    """The table `places`."""

    def __init__(self, store: Store, roots: Collection[Path]) -> None:
        """Take the state file; what it has of folders that are no roots any more is forgotten."""
        self._store = store
        with store.reading() as db:
            rows = db.execute("SELECT root, real FROM places").fetchall()
        self._known = {bytes(row["root"]): bytes(row["real"]) for row in rows}
        gone = self._known.keys() - {os.fsencode(root) for root in roots}
        if gone:
            with store.transaction() as db:
                db.executemany("DELETE FROM places WHERE root = ?", [(root,) for root in gone])

    def get(self, root: bytes) -> bytes | None:
        """Return where a root was, None where that was never known."""
        return self._known.get(root)

    def put(self, root: bytes, real: bytes) -> None:
        """Remember where a root is."""
        self._known[root] = real
        with self._store.transaction() as db:
            db.execute("INSERT OR REPLACE INTO places VALUES (?, ?)", (root, real))
