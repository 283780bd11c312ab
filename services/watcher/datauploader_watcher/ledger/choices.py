"""What somebody has chosen for files that go on changing after their upload was closed."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestlessChoice:
    """A choice for a restless file: a row of the table `choices`."""

    take: bool
    """The file is taken as it is when it is read next; else it is left out."""
    who: str
    done: bool = False
    """It was read as it was then, or is on the record as left out."""
    tries: int = 0
    """How often it was read, and then was found to be something else."""


class RestlessChoiceTable:
    """The table `choices`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def put(self, upload: int, paths: Iterable[bytes], *, take: bool, who: str) -> None:
        """Keep a choice; the latest of a file counts."""
        query = "INSERT OR REPLACE INTO choices (upload, path, choice, who) VALUES (?, ?, ?, ?)"
        self._db.executemany(query, [(upload, path, "take" if take else "leave-out", who) for path in paths])

    def of(self, upload: int) -> dict[bytes, RestlessChoice]:
        """Return the choices for the files of an upload, by path."""
        rows = self._db.execute("SELECT * FROM choices WHERE upload = ?", (upload,))
        return {
            row["path"]: RestlessChoice(row["choice"] == "take", row["who"], bool(row["done"]), row["tries"])
            for row in rows
        }

    def set_done(self, upload: int, path: bytes) -> None:
        """Note that what was chosen is done."""
        self._db.execute("UPDATE choices SET done = 1 WHERE upload = ? AND path = ?", (upload, path))

    def again(self, upload: int, path: bytes) -> None:
        """Have a file taken once more: what was read of it was something else already when it was to be sent."""
        query = "UPDATE choices SET done = 0, tries = tries + 1 WHERE upload = ? AND path = ?"
        self._db.execute(query, (upload, path))

    def drop(self, upload: int, path: bytes) -> None:
        """Forget a choice that cannot be carried out."""
        self._db.execute("DELETE FROM choices WHERE upload = ? AND path = ?", (upload, path))

    def forget(self, upload: int) -> None:
        """Forget the choices of an upload that is over."""
        self._db.execute("DELETE FROM choices WHERE upload = ?", (upload,))
