"""The event log of the in-process broker: an SQLite file where one is named, else in memory."""

import json
import sqlite3
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from datauploader.contracts import (
    DatasetCompleted,
    FileReady,
    StationReported,
    UploadCancelled,
    UploadRejected,
    UploadScanned,
    decode,
)
from datauploader.contracts.envelope import EncodedEvent
from datauploader.errors import BrokerUnreachable, ContractError
from datauploader.reliability.store import Schema, Store

log = structlog.get_logger()

MEMORY_BYTES = 64 * 1024 * 1024
"""How much is kept for replay where no file is named; the oldest events go first."""
TIDY_S = 3600.0
SUPERSEDED_S = 24 * 3600.0
"""How long what a later event has overtaken is kept; whoever reads the log now may still wait for it."""

SCHEMA = Schema(
    "events",
    (
        """
        CREATE TABLE events (
            offset INTEGER PRIMARY KEY AUTOINCREMENT,
            time REAL NOT NULL,                -- seconds since 1970; when it was published
            kind TEXT NOT NULL,                -- such as file.stored
            subject TEXT NOT NULL,             -- the upload; of a report the station and its service; "" else
            body BLOB NOT NULL                 -- the encoded event, compressed with zlib
        );
        CREATE INDEX events_subject ON events (subject, kind, offset);
        CREATE INDEX events_kind ON events (kind, time);
        """,
    ),
)
Entry = tuple[int, datetime, bytes]

_SUPERSEDED = (UploadScanned.name, StationReported.name)
"""Kinds of which the latest about a subject says all; with files, they are most of a log."""
_ENDS = (DatasetCompleted.name, UploadCancelled.name, UploadRejected.name)
_DROP_SUPERSEDED = """
    DELETE FROM events WHERE kind = ?1 AND time <= ?2
    AND offset NOT IN (SELECT max(offset) FROM events WHERE kind = ?1 GROUP BY subject)
"""
_DROP_ANNOUNCED = """
    DELETE FROM events WHERE kind = ?1
    AND subject IN (SELECT subject FROM events WHERE kind = ?2 AND time <= ?3)
"""
_DROP_OVER = """
    DELETE FROM events WHERE subject IN (SELECT subject FROM events WHERE kind IN (?2, ?3, ?4) AND time < ?1)
    AND subject NOT IN (SELECT subject FROM events WHERE time >= ?1)
"""
_DROP_OLDEST = """
    DELETE FROM events WHERE offset <= (SELECT max(offset) FROM
        (SELECT offset, sum(length(body)) OVER (ORDER BY offset DESC) AS total FROM events) WHERE total > ?)
"""
_SIZE = "SELECT coalesce(sum(length(body)), 0) FROM events"


class MemoryLog:
    """Events by their offset; every method is called under the broker's lock.

    What is in a file is never dropped for its size. What a later event has overtaken goes after a day: counts, reports,
    and the announcements of a completed dataset, whose files have their receipts. What belongs to
    an upload goes together, once the upload is over and nobody has said anything of it for as long as `keep` was told.
    """

    def __init__(self, path: Path | None = None, most_bytes: int = MEMORY_BYTES) -> None:
        """Begin with what the file holds; `most_bytes` bounds what is kept without one.

        Raises:
            StateUnavailable: the file cannot be opened or written.
        """
        self._path = None if path is None else path.with_suffix(".sqlite")
        self._most, self._bytes = most_bytes, 0
        self._kept_s: float | None = None
        self._tidy_at = 0.0
        self._store = Store(self._path, [SCHEMA])
        if self._path is not None and path is not None:
            self._path.chmod(0o600)
            if path.exists():  # the lines that an earlier release wrote
                with self._store.transaction() as db:
                    for moment, event in _lines(path):
                        _insert(db, moment, event)
                path.unlink()
                log.info("event_log_migrated", path=str(path))
            self._tidy(superseded_s=0)

    def keep(self, kept_s: float) -> None:
        """Keep an upload's events for so many seconds after its last one, and then no longer; until told, for ever."""
        self._kept_s = kept_s
        self._tidy(superseded_s=SUPERSEDED_S)

    def append(self, event: EncodedEvent) -> None:
        """Keep an event.

        Raises:
            BrokerUnreachable: the file takes nothing; whoever says it keeps it, and says it again.
        """
        try:
            if time.monotonic() >= self._tidy_at:
                self._tidy(superseded_s=SUPERSEDED_S)
            with self._store.transaction() as db:
                _insert(db, time.time(), event)
        except sqlite3.DatabaseError as error:
            raise BrokerUnreachable(
                f"the event log {self._path} cannot be written ({error}): free space on its disk; it continues "
                f"automatically"
            ) from error
        self._bytes += len(event.body)
        if self._path is None and self._bytes > self._most:
            with self._store.transaction() as db:  # a quarter at a time
                if db.execute(_SIZE).fetchone()[0] > self._most:
                    db.execute(_DROP_OLDEST, (self._most * 3 // 4,))
                self._bytes = db.execute(_SIZE).fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def next(self, offset: int, since: datetime | None = None) -> Entry | None:
        """Return the first entry from `offset` on that was published at `since` or later."""
        query = "SELECT offset, time, body FROM events WHERE offset >= ? AND time >= ? ORDER BY offset LIMIT 1"
        with self._store.reading() as db:
            row = db.execute(query, (offset + 1, since.timestamp() if since else 0)).fetchone()
        return (
            (row["offset"] - 1, datetime.fromtimestamp(row["time"], UTC), zlib.decompress(row["body"])) if row else None
        )

    def end(self) -> int:
        """Return the offset behind the last entry that was ever written."""
        with self._store.reading() as db:
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return int(row["seq"]) if row else 0

    def _tidy(self, *, superseded_s: float) -> None:
        """Drop what nobody needs any more; never an event of an upload that is still open."""
        now, self._tidy_at = time.time(), time.monotonic() + TIDY_S
        with self._store.transaction() as db:
            for kind in _SUPERSEDED:
                db.execute(_DROP_SUPERSEDED, (kind, now - superseded_s))
            db.execute(_DROP_ANNOUNCED, (FileReady.name, DatasetCompleted.name, now - superseded_s))
            if self._kept_s is not None:
                db.execute(_DROP_OVER, (now - self._kept_s, *_ENDS))
                db.execute("DELETE FROM events WHERE subject = '' AND time < ?", (now - self._kept_s,))


def _insert(db: sqlite3.Connection, now: float, event: EncodedEvent) -> None:
    subject = f"{event.station.key} {event.service}" if event.kind is StationReported else event.upload_id
    query = "INSERT INTO events (time, kind, subject, body) VALUES (?, ?, ?, ?)"
    db.execute(query, (now, event.kind.name, subject, zlib.compress(event.body, 1)))


def _lines(path: Path) -> Iterator[tuple[float, EncodedEvent]]:
    with path.open("rb") as file:
        for line in file:
            try:
                moment, text = json.loads(line)
                body = str(text).encode()
                event = replace(EncodedEvent.of(decode(body)), body=body)
                yield datetime.fromisoformat(moment).timestamp(), event
            except (ValueError, TypeError, ContractError):  # the last line of a process that was killed, or damage
                log.warning("event_log_line_unreadable", path=str(path))


def log_file_of(url: str) -> Path | None:
    """Return the file that `memory:///absolute/path` names for the log; plain `memory://` keeps none."""
    place = url.removeprefix("memory://")
    return Path(place) if Path(place).is_absolute() else None
