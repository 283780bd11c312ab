"""The audits that transfer was asked for, what came of the last of each upload, and what a retry sends again."""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from datauploader.contracts import AuditRequested, Event, EventData, decode, encode
from datauploader.reliability.backoff import Backoff
from datauploader_transfer.compaction import CompactedJobs

TABLES = """
CREATE TABLE audits (
    audit TEXT PRIMARY KEY,
    upload_id TEXT NOT NULL,
    request BLOB NOT NULL,             -- the encoded audit.requested
    slow INTEGER NOT NULL,             -- 1: objects are to be read
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,       -- seconds since 1970; not to be begun before
    trouble TEXT NOT NULL DEFAULT '',  -- why it could not be done, as it was said
    report BLOB NOT NULL DEFAULT x''   -- the encoded audit.reported
) WITHOUT ROWID;
CREATE INDEX audits_due ON audits (slow, due) WHERE report = x'';
CREATE INDEX audits_upload ON audits (upload_id);
CREATE TABLE lacking (
    upload_id TEXT NOT NULL,
    path BLOB NOT NULL,                -- does not lie on the storage as it was verified
    PRIMARY KEY (upload_id, path)
) WITHOUT ROWID;
"""

LONGEST_PAUSE_S = 600.0
"""Between two tries at one audit."""
BACKOFF = Backoff(first_s=1.0, longest_s=LONGEST_PAUSE_S)


@dataclass(frozen=True, slots=True)
class PendingAudit:
    """A pending audit: one that is to be done."""

    request: Event[AuditRequested]
    attempts: int
    trouble: str


class PendingAudits:
    """The tables `audits` and `lacking`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add_audit(self, event: Event[AuditRequested]) -> Event[EventData] | None:
        """Remember that an audit is wanted; return its report where it is done already."""
        data = event.data
        row = self._db.execute("SELECT report FROM audits WHERE audit = ?", (data.audit,)).fetchone()
        if row is not None and row["report"]:
            return decode(row["report"])
        self._db.execute(
            "INSERT INTO audits (audit, upload_id, request, slow) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (audit) DO UPDATE SET due = min(due, ?)",  # somebody waits for it
            (data.audit, data.upload_id, encode(event), data.read, time.time()),
        )
        return None

    def next_audit(self, now: float, *, slow: bool) -> PendingAudit | None:
        """Return the audit that waits longest; none waits longer than it may because the clock was ahead."""
        query = "SELECT * FROM audits WHERE report = x'' AND slow = ? AND (due <= ? OR due > ?) ORDER BY due LIMIT 1"
        row = self._db.execute(query, (slow, now, now + LONGEST_PAUSE_S)).fetchone()
        if row is None:
            return None
        request: Event[AuditRequested] = decode(row["request"])  # type: ignore[assignment] # nothing else is written there
        return PendingAudit(request, row["attempts"], row["trouble"])

    def postpone_audit(self, audit: str, due_at: float, trouble: str = "", *, tried: bool = True) -> None:
        """Begin an audit, or begin it again, not before a time."""
        self._db.execute(
            "UPDATE audits SET due = ?, attempts = attempts + ?, trouble = ? WHERE audit = ?",
            (due_at, tried, trouble, audit),
        )

    def note_report(self, report: Event[EventData], audit: str, lacking: Iterable[bytes]) -> None:
        """Note what came of an audit, in place of what came of earlier ones of the upload."""
        upload_id = report.data.upload_id
        self._db.execute("UPDATE audits SET report = ? WHERE audit = ?", (encode(report), audit))
        self._db.execute("DELETE FROM audits WHERE upload_id = ? AND audit <> ? AND report <> x''", (upload_id, audit))
        self._db.execute("DELETE FROM lacking WHERE upload_id = ?", (upload_id,))
        self._db.executemany("INSERT OR IGNORE INTO lacking VALUES (?, ?)", ((upload_id, path) for path in lacking))

    def requeue_lacking(self, upload_id: str) -> None:
        """Have those files moved again that did not lie on the storage as they were verified."""
        rows = self._db.execute("SELECT path FROM lacking WHERE upload_id = ?", (upload_id,)).fetchall()
        if rows:
            CompactedJobs(self._db).thaw_files(upload_id, [bytes(row["path"]) for row in rows])
        self._db.execute(
            "UPDATE jobs SET state = 'waiting', attempts = 0, due = 0, reason = '', stored = '' WHERE upload_id = ?1"
            " AND state = 'stored' AND path IN (SELECT path FROM lacking WHERE upload_id = ?1)",
            (upload_id,),
        )
        self._db.execute("DELETE FROM lacking WHERE upload_id = ?", (upload_id,))
