"""The ids of events that were handled, so that a second delivery of one changes nothing."""

import sqlite3
import time
from datetime import UTC, datetime

from datauploader.reliability.store import Schema

SCHEMA = Schema(
    "inbox",
    ("CREATE TABLE inbox (event_id TEXT PRIMARY KEY, seen_at REAL NOT NULL) WITHOUT ROWID;",),
)
KEPT_S = 14 * 24 * 3600.0
"""How long an id is remembered; longer than any message waits in any queue."""


class Inbox:
    """The memory of handled events; works inside the caller's transaction."""

    @staticmethod
    def first_time(db: sqlite3.Connection, event_id: str) -> bool:
        """Remember the id; return whether it was unknown."""
        cursor = db.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", (event_id, time.time()))
        return cursor.rowcount == 1

    @staticmethod
    def knows(db: sqlite3.Connection, event_id: str) -> bool:
        """Tell whether an event was handled."""
        return db.execute("SELECT 1 FROM inbox WHERE event_id = ?", (event_id,)).fetchone() is not None

    @staticmethod
    def latest(db: sqlite3.Connection) -> datetime | None:
        """Return when an event was handled last; None before the first."""
        (at,) = db.execute("SELECT max(seen_at) FROM inbox").fetchone()
        return datetime.fromtimestamp(at, UTC) if at is not None else None

    @staticmethod
    def forget_old(db: sqlite3.Connection, *, older_than_s: float = KEPT_S) -> int:
        """Forget ids that nobody will deliver again; return how many."""
        return db.execute("DELETE FROM inbox WHERE seen_at < ?", (time.time() - older_than_s,)).rowcount
