"""Pending descriptions of datasets and investigations, repeated until the catalogue has answered (ADR 8)."""

import sqlite3
import time

import structlog

from datauploader.contracts import (
    DatasetAnnotated,
    DatasetDescribed,
    Event,
    EventData,
    InvestigationAnnotated,
    InvestigationDescribed,
    decode,
    encode,
)
from datauploader.reliability import Outbox, Store, sequence
from datauploader.reliability.backoff import Backoff
from datauploader_gateway.projection.fold import stamp

log = structlog.get_logger()

TABLE = """
CREATE TABLE words (
    subject TEXT PRIMARY KEY,          -- dataset:<upload id> or investigation:<id>
    time TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event BLOB NOT NULL,               -- as it was said
    said INTEGER NOT NULL DEFAULT 1,
    due REAL NOT NULL                  -- seconds since 1970
) WITHOUT ROWID;
"""
NUMBERS = """
ALTER TABLE words ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
UPDATE words SET number = CAST((julianday(time) - 2440587.5) * 86400000000 AS INTEGER);
"""
"""The order of the word, which decides in place of its time."""
LONGEST_S = 3600.0


class PendingDescriptions:
    """The table of pending descriptions, the latest of each, while the catalogue has not answered it."""

    def __init__(self, store: Store, *, patience_s: float, kept_s: float) -> None:
        """Say a word again after `patience_s` without an answer, then ever more rarely; forget it after `kept_s`."""
        self._store, self._patience_s, self._kept_s = store, patience_s, kept_s
        self._backoff = Backoff(first_s=patience_s, longest_s=LONGEST_S)

    def keep_description(self, db: sqlite3.Connection, event: Event[EventData]) -> None:
        """Keep a word as part of the transaction that says it, unless a later one is kept."""
        db.execute(
            "INSERT INTO words (subject, time, event_id, event, due, number) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (subject) DO UPDATE SET time = excluded.time, event_id = excluded.event_id,"
            " event = excluded.event, said = 1, due = excluded.due, number = excluded.number"
            " WHERE (excluded.number, excluded.event_id) > (words.number, words.event_id)",
            (
                _subject(event.data), stamp(event.time), event.id, encode(event), time.time() + self._patience_s,
                event.order,
            ),
        )  # fmt: skip

    def note_event(self, event: Event[EventData]) -> None:
        """Keep a word that another gateway said; forget one that the catalogue has answered."""
        data = event.data
        with self._store.transaction() as db:
            if isinstance(data, DatasetDescribed | InvestigationDescribed):
                sequence.raise_to(db, event.order)
                self.keep_description(db, event)
            elif isinstance(data, DatasetAnnotated | InvestigationAnnotated):
                # its own answer may come from a catalog that does not know its number
                query = "DELETE FROM words WHERE subject = ? AND (event_id = ? OR (number, event_id) <= (?, ?))"
                db.execute(query, (_subject(data), data.word, data.order, data.word))

    def repeat_due(self, now: float) -> bool:
        """Say again what is due; return whether anything was."""
        with self._store.reading() as db:
            # what is further away than the longest pause was put there by a clock that has been put right since
            query = "SELECT * FROM words WHERE due <= ? OR due > ? LIMIT 100"
            rows = db.execute(query, (now, now + LONGEST_S)).fetchall()
        if not rows:
            return False
        with self._store.transaction() as db:
            for row in rows:
                pause = self._backoff.wait_s(row["said"] + 1)
                key = (row["subject"], row["event_id"])
                query = "UPDATE words SET said = said + 1, due = ? WHERE subject = ? AND event_id = ?"
                if db.execute(query, (now + pause, *key)).rowcount:
                    Outbox.put(db, decode(row["event"]))
                    log.info("description_repeated", subject=row["subject"], word=row["event_id"])
            long_ago = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - self._kept_s))
            db.execute("DELETE FROM words WHERE time < ?", (long_ago,))
        return True


def _subject(data: EventData) -> str:
    if isinstance(data, InvestigationDescribed | InvestigationAnnotated):
        return f"investigation:{data.investigation}"
    return f"dataset:{data.upload_id}"
