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

    @staticmethod
    def put(db: sqlite3.Connection, upload: int, paths: Iterable[bytes], *, take: bool, who: str) -> None:
        """Keep a choice; the latest of a file counts."""
        query = "INSERT OR REPLACE INTO choices (upload, path, choice, who) VALUES (?, ?, ?, ?)"
        db.executemany(query, [(upload, path, "take" if take else "leave-out", who) for path in paths])

    @staticmethod
    def of(db: sqlite3.Connection, upload: int) -> dict[bytes, RestlessChoice]:
        """Return the choices for the files of an upload, by path."""
        rows = db.execute("SELECT * FROM choices WHERE upload = ?", (upload,))
        return {
            row["path"]: RestlessChoice(row["choice"] == "take", row["who"], bool(row["done"]), row["tries"])
            for row in rows
        }

    @staticmethod
    def set_done(db: sqlite3.Connection, upload: int, path: bytes) -> None:
        """Note that what was chosen is done."""
        db.execute("UPDATE choices SET done = 1 WHERE upload = ? AND path = ?", (upload, path))

    @staticmethod
    def again(db: sqlite3.Connection, upload: int, path: bytes) -> None:
        """Have a file taken once more: what was read of it was something else already when it was to be sent."""
        query = "UPDATE choices SET done = 0, tries = tries + 1 WHERE upload = ? AND path = ?"
        db.execute(query, (upload, path))

    @staticmethod
    def drop(db: sqlite3.Connection, upload: int, path: bytes) -> None:
        """Forget a choice that cannot be carried out."""
        db.execute("DELETE FROM choices WHERE upload = ? AND path = ?", (upload, path))

    @staticmethod
    def forget(db: sqlite3.Connection, upload: int) -> None:
        """Forget the choices of an upload that is over."""
        db.execute("DELETE FROM choices WHERE upload = ?", (upload,))
