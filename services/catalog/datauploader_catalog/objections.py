"""What the catalogue does not take of a dataset, a datafile or a file's metadata a row, and when it is tried again."""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueRefused,
    CatalogueUnavailable,
    UnknownTrouble,
)
from datauploader.reliability.backoff import Backoff

TABLES = """
CREATE TABLE objections (
    upload_id TEXT NOT NULL,
    path BLOB NOT NULL,                -- of the datafile; empty: the dataset's own metadata
    what TEXT NOT NULL,                -- datafile, metadata
    harvester TEXT NOT NULL,           -- who has read the metadata; empty: who asked for the dataset
    detail TEXT NOT NULL,              -- in the catalogue's words
    attempts INTEGER NOT NULL,
    since REAL NOT NULL,               -- seconds since 1970
    due REAL NOT NULL,                 -- it is tried again then; 0: not by itself, or it is being tried
    told INTEGER NOT NULL,             -- 1: people have heard of it
    PRIMARY KEY (upload_id, path, what, harvester)
) WITHOUT ROWID;
CREATE INDEX objections_due ON objections (due) WHERE due > 0;
ALTER TABLE parameters ADD COLUMN harvester TEXT NOT NULL DEFAULT '';
ALTER TABLE parameters ADD COLUMN aside INTEGER NOT NULL DEFAULT 0;  -- 1: an objection says why
CREATE INDEX parameters_wanted ON parameters (upload_id, path) WHERE aside = 0;
ALTER TABLE uploads ADD COLUMN since REAL NOT NULL DEFAULT 0;        -- when it began to wait; 0: it does not
ALTER TABLE uploads ADD COLUMN pause REAL NOT NULL DEFAULT 0;        -- seconds from the latest attempt to the next one
ALTER TABLE uploads ADD COLUMN told TEXT NOT NULL DEFAULT '';        -- why it waits, as people have heard it
ALTER TABLE uploads ADD COLUMN told_at REAL NOT NULL DEFAULT 0;
"""
SET_ASIDE = 2
"""Value of `datafiles.registered` while an objection says why the catalogue does not have it."""
TRIES = 5
"""So often something is tried that fails in a way nobody knows, before it counts as one that does not pass."""
LONGEST_PAUSE_S = 60.0
RARE_S = 3600.0
"""How often is tried again what does not pass."""
PASSING = Backoff(first_s=1.0, longest_s=LONGEST_PAUSE_S)
LASTING = Backoff(first_s=LONGEST_PAUSE_S, longest_s=RARE_S)
UNSURE = (UnknownTrouble, BadAnswer)
"""Errors that may pass, or be about what was said."""


@dataclass(frozen=True, slots=True)
class GracePeriod:
    """A grace period: how long something may fail before it is told to people."""

    seconds: float

    def has_ended(self, attempts: int, since: float, now: float) -> bool:
        """Tell whether so many failed attempts since a moment are too many to go on in silence."""
        return attempts >= TRIES and bool(since) and now - since >= self.seconds


@dataclass(frozen=True, slots=True)
class Subject:
    """What an objection is about."""

    upload_id: str
    path: bytes
    what: Literal["datafile", "metadata"]
    harvester: str = ""

    @property
    def key(self) -> tuple[str, bytes, str, str]:
        """The primary key."""
        return self.upload_id, self.path, self.what, self.harvester


def pause_s(attempts: int, retry_after: float | None = None) -> float:
    """Return how long to wait after so many failed attempts: 1 s doubling to a minute, or as asked, up to an hour."""
    return PASSING.wait_s(attempts + 1, min(retry_after or 0.0, RARE_S))


def rare_s(attempts: int) -> float:
    """Return how long to wait with what does not pass: a minute, doubling to an hour."""
    return LASTING.wait_s(attempts - TRIES + 1)


def is_away(error: CatalogError) -> bool:
    """Tell whether nothing can be told to the catalogue now, whatever it is."""
    return isinstance(error, CatalogueUnavailable) and not isinstance(error, UnknownTrouble)


class Objections:
    """What the catalogue has not taken: the table `objections`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def note_objection(self, subject: Subject, error: CatalogError, grace: GracePeriod, tried_since: float = 0) -> bool:
        """Write an objection down and when it is tried again; return whether people are to hear of it now.

        `tried_since` is since when it was tried in vain together with others before it was found, 0 where it was not.
        """
        now, final = time.time(), isinstance(error, CatalogueRefused)
        row = self._db.execute(
            "SELECT * FROM objections WHERE upload_id = ? AND path = ? AND what = ? AND harvester = ?", subject.key
        ).fetchone()
        first = (TRIES, tried_since) if tried_since else (1, now)
        attempts, since = (row["attempts"] + 1, row["since"]) if row else first
        lasts = grace.has_ended(attempts, since, now)
        due = 0.0 if final else now + (rare_s(attempts) if lasts else pause_s(attempts, error.retry_after))
        detail = str(error)[:2000]
        told = bool(row and row["told"])
        tell = (final or lasts) and not (told and row["detail"] == detail)
        self._db.execute(
            "INSERT OR REPLACE INTO objections VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*subject.key, detail, attempts, since, due, told or tell),
        )
        return tell

    def settle_objection(self, subject: Subject) -> bool:
        """Forget an objection, because there is none any more; return whether people had heard of it."""
        query = "DELETE FROM objections WHERE upload_id = ? AND path = ? AND what = ? AND harvester = ? RETURNING told"
        row = self._db.execute(query, subject.key).fetchone()
        return bool(row and row["told"])

    def refused_datafiles(self, upload_id: str) -> set[bytes]:
        """Return the paths of the datafiles of an upload that the catalogue has not taken before."""
        query = "SELECT path FROM objections WHERE upload_id = ? AND what = 'datafile'"
        return {row["path"] for row in self._db.execute(query, (upload_id,))}

    def settle_datafiles(self, upload_id: str, paths: Iterable[bytes]) -> list[bytes]:
        """Forget the objections to these datafiles; return those that people had heard of."""
        known = self._db.execute("SELECT 1 FROM objections WHERE upload_id = ? LIMIT 1", (upload_id,)).fetchone()
        return [path for path in paths if self.settle_objection(Subject(upload_id, path, "datafile"))] if known else []

    def supersede_metadata(self, upload_id: str) -> bool:
        """Forget what was asked for with a dataset, which is described anew; return whether people had heard of it."""
        self._db.execute("DELETE FROM parameters WHERE upload_id = ? AND path = x''", (upload_id,))
        return self.settle_objection(Subject(upload_id, b"", "metadata"))

    def retry_due_objections(self, now: float) -> None:
        """Let be tried again what is due."""
        query = "UPDATE objections SET due = 0 WHERE due > 0 AND (due <= ? OR due > ?) RETURNING *"
        for row in self._db.execute(query, (now, now + RARE_S)).fetchall():
            self._try_again(Subject(row["upload_id"], row["path"], row["what"], row["harvester"]))

    def has_due_objections(self, now: float) -> bool:
        """Tell whether any is due; what is further away than the longest pause was put there by a clock ahead."""
        query = "SELECT 1 FROM objections INDEXED BY objections_due WHERE due > 0 AND (due <= ? OR due > ?) LIMIT 1"
        return self._db.execute(query, (now, now + RARE_S)).fetchone() is not None

    def next_objection_due(self) -> float | None:
        """Return when the next one is tried again."""
        due: float | None = self._db.execute(
            "SELECT min(due) FROM objections INDEXED BY objections_due WHERE due > 0"
        ).fetchone()[0]
        return due

    def retry_objections(self, upload_id: str, paths: Iterable[bytes] = ()) -> None:
        """Try again what the catalogue has refused of an upload, because a person wants it: these files, or all."""
        chosen = set(paths)
        for row in self._db.execute("SELECT * FROM objections WHERE upload_id = ?", (upload_id,)).fetchall():
            if not chosen or row["path"] in chosen:
                self._try_again(Subject(upload_id, row["path"], row["what"], row["harvester"]))

    def _try_again(self, subject: Subject) -> None:
        if subject.what == "datafile":
            query = "UPDATE datafiles SET registered = 0 WHERE upload_id = ? AND path = ? AND registered = ?"
            self._db.execute(query, (subject.upload_id, subject.path, SET_ASIDE))
        else:
            query = "UPDATE parameters SET aside = 0 WHERE upload_id = ? AND path = ? AND harvester = ?"
            self._db.execute(query, (subject.upload_id, subject.path, subject.harvester))
