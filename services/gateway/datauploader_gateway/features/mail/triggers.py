"""Mail triggers: what people get a mail about, written down once in the gateway's state file until it is told."""

import hashlib
import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from datauploader.contracts import (
    DatasetCompleted,
    DatasetDelayed,
    DatasetPartlyRefused,
    DatasetRefused,
    Event,
    EventData,
    FailedFile,
    FileFailed,
    UploadOutgrown,
    UploadRejected,
    UploadScanned,
)
from datauploader.reliability import Schema, Store
from datauploader_gateway.projection.fold import stamp
from datauploader_gateway.settings.mail import MailSettings

SCHEMA = Schema(
    "mail",
    (
        """
        CREATE TABLE mail_began (at TEXT NOT NULL);  -- what happened before mail was switched on is not told
        CREATE TABLE occasions (
            about TEXT NOT NULL,                -- an upload; for silence, station and person
            kind TEXT NOT NULL,
            mark TEXT NOT NULL,                 -- tells two happenings of one kind apart
            state TEXT NOT NULL,                -- waiting, told, over
            due REAL NOT NULL,                  -- seconds since 1970: to be looked at then
            since REAL NOT NULL,
            PRIMARY KEY (about, kind, mark)
        ) WITHOUT ROWID;
        CREATE INDEX occasions_due ON occasions (due) WHERE state <> 'over';
        CREATE TABLE letters (
            id INTEGER PRIMARY KEY,
            message_id TEXT NOT NULL UNIQUE,
            address TEXT NOT NULL,
            subject TEXT NOT NULL,
            body TEXT NOT NULL,
            written REAL NOT NULL,
            tries INTEGER NOT NULL DEFAULT 0,
            due REAL NOT NULL
        );
        """,
    ),
)
LOOK_AGAIN_S = 30.0
"""How long an occasion waits that cannot be told yet, and how often failed files are looked at again."""
_KEPT_S = 400 * 24 * 3600.0
"""How long it is remembered what was told: longer than any event log reaches back."""


@dataclass(frozen=True, slots=True)
class MailTrigger:
    """A mail trigger: one happening."""

    about: str
    kind: str
    mark: str
    state: str
    since: float


class MailTriggers:
    """The table of mail triggers; the same event, heard again, adds nothing."""

    def __init__(self, store: Store, settings: MailSettings) -> None:
        """Begin to remember now, unless mail was on before."""
        self._store, self._settings = store, settings
        with store.transaction() as db:
            if not settings.on:
                db.execute("DELETE FROM mail_began")
                self._began = ""
            elif (row := db.execute("SELECT at FROM mail_began").fetchone()) is not None:
                self._began = str(row["at"])
            else:
                self._began = stamp(datetime.now(UTC))
                db.execute("INSERT INTO mail_began VALUES (?)", (self._began,))

    def record_event(self, event: Event[EventData]) -> bool:
        """Write down what the event means to people; return whether there is something to look at."""
        data = event.data
        if not self._settings.on or stamp(event.time) < self._began:
            return False
        if isinstance(data, FileFailed | DatasetPartlyRefused):
            # told are files that do not become part of the dataset unless somebody does something
            stays = (
                file.final if isinstance(file, FailedFile) else file.what == "datafile" and file.detail
                for file in data.files
            )  # fmt: skip
            return any(stays) and self._add_failure(data.upload_id, stamp(event.time))
        happened = _happened(data)
        if happened is None:
            return False
        wait_s = self._settings.failed_after_s if happened.kind == "restless" else 0
        return self.add(happened.about, happened.kind, happened.mark, wait_s)

    def add(self, about: str, kind: str, mark: str, wait_s: float = 0) -> bool:
        """Write a happening down; return whether it is new."""
        now = time.time()
        with self._store.transaction() as db:
            row = (about, kind, mark, now + wait_s, now)
            return bool(db.execute("INSERT OR IGNORE INTO occasions VALUES (?, ?, ?, 'waiting', ?, ?)", row).rowcount)

    def due(self) -> list[MailTrigger]:
        """Return what is to be looked at now."""
        now = time.time()
        # what is further away than the longest pause was put there by a clock that has been put right since
        longest = max(LOOK_AGAIN_S, self._settings.failed_after_s, self._settings.silent_after_s)
        query = "SELECT * FROM occasions WHERE state <> 'over' AND (due <= ? OR due > ?) ORDER BY due LIMIT 100"
        with self._store.reading() as db:
            rows = db.execute(query, (now, now + longest)).fetchall()
        return [MailTrigger(r["about"], r["kind"], r["mark"], r["state"], r["since"]) for r in rows]

    def known(self, about: str, kind: str, mark: str) -> bool:
        """Tell whether a happening was written down before."""
        with self._store.reading() as db:
            query = "SELECT 1 FROM occasions WHERE about = ? AND kind = ? AND mark = ?"
            return db.execute(query, (about, kind, mark)).fetchone() is not None

    def postpone(self, trigger: MailTrigger) -> None:
        """Look at it again in a while."""
        self._set(trigger, trigger.state, time.time() + LOOK_AGAIN_S)

    def settle(self, trigger: MailTrigger) -> None:
        """Nothing more is to be said."""
        self._set(trigger, "over", 0)

    def keep_letter(self, trigger: MailTrigger, letter: tuple[str, str, str] | None) -> None:
        """Keep the letter (address, subject, body), if there is one, and note that it is told: both or neither."""
        now = time.time()
        with self._store.transaction() as db:
            if letter is not None:
                message_id = _digest(trigger.about, trigger.kind, trigger.mark, letter[0])
                db.execute(
                    "INSERT OR IGNORE INTO letters (message_id, address, subject, body, written, due)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (message_id, *letter, now, now),
                )
            # a failure stays in sight until its end: only then can the next one be told
            state, due = ("told", now + LOOK_AGAIN_S) if trigger.kind == "failed" else ("over", 0)
            self._update(db, trigger, state, due)

    def forget_old(self) -> None:
        """Forget what was told long ago."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM occasions WHERE since < ?", (time.time() - _KEPT_S,))

    def _add_failure(self, upload_id: str, since: str) -> bool:
        """Begin a happening, unless one goes on: it lasts from the first failed file until there is none."""
        with self._store.transaction() as db:
            query = "SELECT count(*) AS number, min(state) AS first, max(state) AS last FROM occasions"
            row = db.execute(f"{query} WHERE about = ? AND kind = 'failed'", (upload_id,)).fetchone()
            if row["number"] and (row["first"], row["last"]) != ("over", "over"):
                return False
            return self.add(upload_id, "failed", since, self._settings.failed_after_s)

    def _set(self, trigger: MailTrigger, state: str, due: float) -> None:
        with self._store.transaction() as db:
            self._update(db, trigger, state, due)

    @staticmethod
    def _update(db: sqlite3.Connection, trigger: MailTrigger, state: str, due: float) -> None:
        db.execute(
            "UPDATE occasions SET state = ?, due = ? WHERE about = ? AND kind = ? AND mark = ?",
            (state, due, trigger.about, trigger.kind, trigger.mark),
        )


class _Happened(NamedTuple):
    about: str
    kind: str
    mark: str


def _happened(data: EventData) -> _Happened | None:
    """Say what an event means to people, None where it is nothing that they get a mail about."""
    found = None
    match data:
        case DatasetCompleted():
            found = _Happened(data.upload_id, "complete", data.manifest_sha256)
        case UploadOutgrown() if data.files:
            mark = _digest(str(data.files), str(data.bytes), *(file.path for file in data.first))
            found = _Happened(data.upload_id, "outgrown", mark)
        case DatasetRefused():
            found = _Happened(data.upload_id, "refused", _digest(data.reason, data.detail))
        case UploadRejected():
            found = _Happened(data.upload_id, "rejected", _digest(data.reason, data.detail))
        case UploadScanned() if data.restless:
            first = min(file.since for file in data.restless)
            found = _Happened(data.upload_id, "restless", _digest(str(first)))
        case DatasetDelayed() if data.detail and data.needs_person:
            found = _Happened(data.upload_id, "delayed", _digest(str(data.since)))
    return found


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
