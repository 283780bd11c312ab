"""Pending requests and descriptions, said again until they are answered, and to a station that has forgotten (ADR 8).

The broker may lose a message, with a queue, a binding or a disk. A repeated event has its first id, so whoever has
heard it does nothing. Who steers last is right: a pause is not said again, only told to a station that has forgotten.
"""

import sqlite3
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Literal

import structlog

from datauploader.contracts import (
    DatasetAnnotated,
    DatasetCompleted,
    DatasetDescribed,
    DatasetEnsured,
    DatasetRefused,
    Event,
    EventData,
    InvestigationAnnotated,
    InvestigationDescribed,
    StationReported,
    UploadCancelled,
    UploadControlled,
    UploadOpened,
    UploadRejected,
    UploadRequested,
    UploadSealed,
    decode,
    encode,
)
from datauploader.errors import Retry
from datauploader.reliability import Outbox, Schema, Store, sequence
from datauploader.reliability.backoff import Backoff
from datauploader.runtime.crash_points import crash_point
from datauploader_gateway.projection.fold import stamp

log = structlog.get_logger()

_DESCRIPTIONS = """
CREATE TABLE words (
    subject TEXT PRIMARY KEY,          -- dataset:<upload id> or investigation:<id>
    time TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event BLOB NOT NULL,               -- as it was said
    said INTEGER NOT NULL DEFAULT 1,
    due REAL NOT NULL                  -- seconds since 1970
) WITHOUT ROWID;
"""
_NUMBERS = """
ALTER TABLE words ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
UPDATE words SET number = CAST((julianday(time) - 2440587.5) * 86400000000 AS INTEGER);
"""
"""The order of the word, which decides in place of its time."""
SCHEMA = Schema(
    "unanswered",
    (
        """
        CREATE TABLE wishes (
            upload_id TEXT NOT NULL,
            what TEXT NOT NULL,                -- request, close, cancel, pause; over: nothing is wanted any more
            station TEXT NOT NULL DEFAULT '',
            event BLOB NOT NULL DEFAULT '',    -- as it was said first
            time TEXT NOT NULL DEFAULT '',     -- of the event; the latest of its kind stays
            silent TEXT NOT NULL DEFAULT '',   -- who has not answered: station, catalogue, both with a space between
            said INTEGER NOT NULL DEFAULT 1,
            due REAL NOT NULL DEFAULT 0,       -- seconds since 1970
            PRIMARY KEY (upload_id, what)
        ) WITHOUT ROWID;
        CREATE INDEX wishes_due ON wishes (due) WHERE silent <> '';
        """,
        _DESCRIPTIONS,
        """
        ALTER TABLE wishes ADD COLUMN number INTEGER NOT NULL DEFAULT 0;  -- decides, in place of the time
        UPDATE wishes SET number = CAST((julianday(time) - 2440587.5) * 86400000000 AS INTEGER) WHERE time <> '';
        """,
        _NUMBERS,
    ),
)
LONGEST_S = 3600.0
_WHAT = {"close": "close", "cancel": "cancel", "pause": "pause", "resume": "pause"}
_SILENT = {"request": "station catalogue", "close": "station", "cancel": "station", "pause": ""}
_ANSWERS: dict[type[EventData], tuple[str, str]] = {
    UploadOpened: ("request", "station"),
    DatasetEnsured: ("request", "catalogue"),
    DatasetRefused: ("request", "catalogue"),
    UploadSealed: ("close", "station"),
}
_SAID = (DatasetDescribed, InvestigationDescribed)
_HEARD = (*_SAID, DatasetAnnotated, InvestigationAnnotated)
_ENDS = (UploadRejected, UploadCancelled, DatasetCompleted)


class PendingRequests:
    """The table of pending requests, which are not over."""

    def __init__(self, store: Store, outbox: Outbox, *, patience_s: float, kept_s: float) -> None:
        """Say a wish again after `patience_s` without an answer, then ever more rarely; forget it after `kept_s`."""
        self._store, self._outbox = store, outbox
        self._patience_s, self._kept_s = patience_s, kept_s
        self._backoff = Backoff(first_s=patience_s, longest_s=LONGEST_S)
        self._untold = PendingDescriptions(store, patience_s=patience_s, kept_s=kept_s)

    def keep_request(self, db: sqlite3.Connection, event: Event[EventData]) -> None:
        """Keep a wish as part of the transaction that says it, or when it is heard."""
        data = event.data
        if isinstance(data, _SAID):
            self._untold.keep_description(db, event)
            return
        what = "request" if isinstance(data, UploadRequested) else ""
        if isinstance(data, UploadControlled):
            what = _WHAT.get(data.action, "")
        if not what:
            return
        silent = _SILENT[what]
        if isinstance(data, UploadRequested) and data.requested_by.id.startswith("rule:"):
            silent = ""  # a station says again by itself what its rules ask for; one that has forgotten is told
        db.execute(
            "INSERT INTO wishes (upload_id, what, station, event, time, silent, due, number)"
            " SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS"
            " (SELECT 1 FROM wishes WHERE upload_id = ?1 AND what = 'over' AND station = ?3)"
            " ON CONFLICT (upload_id, what) DO UPDATE SET event = excluded.event, time = excluded.time,"
            " silent = excluded.silent, due = excluded.due, number = excluded.number"
            " WHERE excluded.number > wishes.number",
            (
                data.upload_id, what, event.station.key, encode(event), stamp(event.time), silent,
                time.time() + self._patience_s, event.order,
            ),
        )  # fmt: skip

    def note_answer(self, event: Event[EventData], *, live: bool) -> None:
        """Take note of what an event answers; what a station asks for in the log is answered long since.

        Raises:
            Retry: a station has forgotten, and so have we: we must have read the log before we can remind it.
        """
        data = event.data
        if isinstance(data, StationReported):
            if data.forgetful and live:
                if self._store.needs_recovery:
                    raise Retry("the gateway reads the event log first", timedelta(seconds=1))
                station = event.station.key  # it has lost its state, and is told what it was asked for
                with self._store.transaction() as db:
                    query = "SELECT * FROM wishes WHERE station = ? AND what <> 'over' ORDER BY number"
                    rows = db.execute(query, (station,)).fetchall()
                    self._say(db, rows)
                crash_point("gateway.reminded")
                self._outbox.wake()
                log.info("station_requests_repeated", station=station, wishes=len(rows))
        elif isinstance(data, UploadRequested | UploadControlled):
            with self._store.transaction() as db:
                sequence.raise_to(db, event.order)  # by another gateway, or by this one before its state was lost
                self.keep_request(db, event)
        elif isinstance(data, _ENDS):
            # the broker vouches for the station, so that it ends its own alone
            upload_id, station = data.upload_id, event.station.key
            with self._store.transaction() as db:
                db.execute("DELETE FROM wishes WHERE upload_id = ? AND station = ?", (upload_id, station))
                db.execute(
                    "INSERT OR REPLACE INTO wishes (upload_id, what, station, due) VALUES (?, 'over', ?, ?)",
                    (upload_id, station, time.time()),
                )
        elif isinstance(data, _HEARD):
            self._untold.note_event(event)
        elif answer := _ANSWERS.get(type(data)):
            self._answered(event, *answer)

    def knows(self, upload_id: str, station: str) -> Literal["open", "over", "nothing"]:
        """Tell what is known of an upload of a station."""
        with self._store.reading() as db:
            query = "SELECT what FROM wishes WHERE upload_id = ? AND station = ? AND what IN ('request', 'over')"
            found = {row["what"] for row in db.execute(query, (upload_id, station))}
        return "over" if "over" in found else "open" if found else "nothing"

    def repeat_due(self) -> None:
        """Say again what is due, when the broker has taken all that was said before."""
        if self._outbox.waiting():
            return
        now = time.time()
        if self._untold.repeat_due(now):
            self._outbox.wake()
        with self._store.reading() as db:
            # what is further away than the longest pause was put there by a clock that has been put right since
            query = "SELECT * FROM wishes WHERE silent <> '' AND (due <= ? OR due > ?) LIMIT 100"
            due = db.execute(query, (now, now + LONGEST_S)).fetchall()
        if not due:
            return
        with self._store.transaction() as db:
            for row in due:
                db.execute(
                    "UPDATE wishes SET said = said + 1, due = ? WHERE upload_id = ? AND what = ?",
                    (now + self._backoff.wait_s(row["said"] + 1), row["upload_id"], row["what"]),
                )
                log.info("request_repeated", upload_id=row["upload_id"], what=row["what"], silent=row["silent"])
            self._say(db, due)
            db.execute("DELETE FROM wishes WHERE due < ?", (now - self._kept_s,))
        self._outbox.wake()

    def _answered(self, event: Event[EventData], what: str, who: str) -> None:
        upload_id = event.data.upload_id
        with self._store.reading() as db:
            query = "SELECT silent FROM wishes WHERE upload_id = ? AND what = ? AND station = ?"
            row = db.execute(query, (upload_id, what, event.station.key)).fetchone()
        if row is None or who not in row["silent"]:
            return
        with self._store.transaction() as db:
            db.execute(
                "UPDATE wishes SET silent = trim(replace(silent, ?, '')) WHERE upload_id = ? AND what = ?",
                (who, upload_id, what),
            )

    @staticmethod
    def _say(db: sqlite3.Connection, rows: Iterable[sqlite3.Row]) -> None:
        for row in rows:
            Outbox.put(db, decode(row["event"]))


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
