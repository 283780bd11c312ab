"""The queue of descriptions: what people said of datasets and investigations, until the catalogue has it.

One row for each dataset of an upload and each investigation: whatever the order in which they arrive, the one with the
greatest order, then the higher id, stays, and an earlier one is only answered.
"""

import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC
from typing import cast

from datauploader.contracts import DatasetDescribed, Event, InvestigationDescribed, decode, encode
from datauploader.reliability import Schema

SCHEMA = Schema(
    "words",
    (
        """
        CREATE TABLE words (
            subject TEXT PRIMARY KEY,          -- dataset:<upload id> or investigation:<id>
            upload_id TEXT NOT NULL,           -- "" for an investigation
            time TEXT NOT NULL,
            event_id TEXT NOT NULL,
            event BLOB NOT NULL,               -- as it was said
            told INTEGER NOT NULL DEFAULT 0,   -- 1: the catalogue has it, or will not have it
            refusal TEXT NOT NULL DEFAULT '',
            attempts INTEGER NOT NULL DEFAULT 0,
            due REAL NOT NULL DEFAULT 0        -- seconds since 1970; not to be tried before
        ) WITHOUT ROWID;
        CREATE INDEX words_wanted ON words (due) WHERE told = 0;
        """,
        """
        ALTER TABLE words ADD COLUMN number INTEGER NOT NULL DEFAULT 0;  -- decides, in place of the time
        UPDATE words SET number = CAST((julianday(time) - 2440587.5) * 86400000000 AS INTEGER);
        """,
        "ALTER TABLE words ADD COLUMN since REAL NOT NULL DEFAULT 0;  -- of the first failed attempt, or 0",
    ),
)
Described = Event[DatasetDescribed] | Event[InvestigationDescribed]
_KNOWN = (
    "LEFT JOIN uploads u ON u.upload_id = w.upload_id WHERE w.told = 0 AND (w.upload_id = '' OR u.dataset_id <> '')"
    " AND NOT EXISTS (SELECT 1 FROM parameters p INDEXED BY parameters_wanted"
    " WHERE p.upload_id = w.upload_id AND p.path = x'' AND p.aside = 0)"
)
"""What was asked for with the dataset goes first: what was said later replaces it."""


@dataclass(frozen=True, slots=True)
class QueuedDescription:
    """A queued description: one row, with the dataset that it is about where it is about one."""

    subject: str
    event: Described
    dataset_id: str
    told: bool
    refusal: str
    attempts: int
    since: float
    """Of the first failed attempt, seconds since 1970; 0 where there was none."""


class DescriptionQueue:
    """The queue of descriptions: the table `words`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def enqueue_description(self, event: Described) -> QueuedDescription:
        """Keep a description unless a later one is known; return the one that counts now."""
        data = event.data
        subject = f"dataset:{data.upload_id}"
        if isinstance(data, InvestigationDescribed):
            subject = f"investigation:{data.investigation}"
        said = event.time.astimezone(UTC).isoformat(timespec="microseconds")
        self._db.execute(
            "INSERT INTO words (subject, upload_id, time, event_id, event, number) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (subject) DO UPDATE SET time = excluded.time, event_id = excluded.event_id,"
            " event = excluded.event, number = excluded.number, told = 0, refusal = '', attempts = 0, due = 0,"
            " since = 0"
            " WHERE (excluded.number, excluded.event_id) > (words.number, words.event_id)",
            (subject, data.upload_id, said, event.id, encode(event), event.order),
        )
        query = (
            "SELECT w.*, u.dataset_id FROM words w LEFT JOIN uploads u ON u.upload_id = w.upload_id WHERE subject = ?"
        )
        return _word(self._db.execute(query, (subject,)).fetchone())

    def is_described(self, upload_id: str) -> bool:
        """Tell whether somebody has described the dataset of an upload since its request: that is the whole of it."""
        return self._db.execute("SELECT 1 FROM words WHERE upload_id = ?", (upload_id,)).fetchone() is not None

    def next_description(self, now: float, longest_s: float) -> QueuedDescription | None:
        """Return the description that waits longest for being told, and can be.

        What is further away than the longest pause was put there by a clock that has been put right since.
        """
        query = f"SELECT w.*, u.dataset_id FROM words w {_KNOWN} AND (w.due <= ? OR w.due > ?)"  # noqa: S608 - ours
        row = self._db.execute(f"{query} ORDER BY w.due LIMIT 1", (now, now + longest_s)).fetchone()
        return row and _word(row)

    def next_description_due(self) -> float | None:
        """Return when the next description may be tried; None while there is none whose dataset is there."""
        due_at: float | None = self._db.execute(f"SELECT min(w.due) FROM words w {_KNOWN}").fetchone()[0]  # noqa: S608 - ours
        return due_at

    def has_waiting_descriptions(self) -> bool:
        """Tell whether any description waits for the dataset that it is about, or for what was asked for with that."""
        query = (
            "SELECT 1 FROM words w JOIN uploads u USING (upload_id) WHERE w.told = 0 AND u.state <> 'refused'"
            " AND (u.dataset_id = '' OR EXISTS (SELECT 1 FROM parameters p INDEXED BY parameters_wanted"
            " WHERE p.upload_id = w.upload_id AND p.path = x'' AND p.aside = 0))"
        )
        return self._db.execute(query).fetchone() is not None

    def is_outdated(self, description: QueuedDescription) -> bool:
        """Tell whether the catalogue has a later description of the dataset, which another upload fills as well."""
        if not description.dataset_id:
            return False
        query = (
            "SELECT 1 FROM words w JOIN uploads u USING (upload_id) WHERE u.dataset_id = ? AND w.told = 1"
            " AND w.refusal = '' AND (w.number, w.event_id) > (?, ?)"
        )
        return (
            self._db.execute(query, (description.dataset_id, description.event.order, description.event.id)).fetchone()
            is not None
        )

    def mark_told(self, description: QueuedDescription, refusal: str) -> bool:
        """Note what has become of a description; False where a later one has come, which is still to be told."""
        query = "UPDATE words SET told = 1, refusal = ? WHERE subject = ? AND event_id = ?"
        return self._db.execute(query, (refusal, description.subject, description.event.id)).rowcount == 1

    def postpone_description(self, description: QueuedDescription, until: float) -> None:
        """Try a description again later."""
        query = "UPDATE words SET attempts = attempts + 1, due = ?, since = ? WHERE subject = ? AND event_id = ?"
        self._db.execute(query, (until, description.since or time.time(), description.subject, description.event.id))

    def oldest_waiting(self, before: float) -> list[str]:
        """Name what waits since before a moment."""
        query = "SELECT subject FROM words WHERE told = 0 AND since > 0 AND since <= ? ORDER BY since LIMIT 20"
        return [str(row["subject"]) for row in self._db.execute(query, (before,))]


def _word(row: sqlite3.Row) -> QueuedDescription:
    event = cast("Described", decode(row["event"]))
    return QueuedDescription(
        row["subject"], event, row["dataset_id"] or "", bool(row["told"]), row["refusal"], row["attempts"],
        row["since"],
    )  # fmt: skip
