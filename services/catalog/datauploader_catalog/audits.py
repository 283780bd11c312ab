"""Which uploads wait for a look at the storage before their datasets are completed, and what was seen there."""

import sqlite3
import time
import uuid

from datauploader.contracts import AuditReported, AuditRequested, Event, EventData, UploadRequested, decode, encode
from datauploader.reliability import Outbox
from datauploader.reliability.backoff import Backoff

TABLES = """
CREATE TABLE audits (
    upload_id TEXT PRIMARY KEY,
    audit TEXT NOT NULL,
    manifest_sha256 TEXT NOT NULL,     -- the manifest that is compared
    request BLOB NOT NULL,             -- audit.requested as it was said first
    state TEXT NOT NULL,               -- asked, well, differs
    said INTEGER NOT NULL DEFAULT 1,
    due REAL NOT NULL                  -- seconds since 1970; when it is asked for again
) WITHOUT ROWID;
CREATE INDEX audits_asked ON audits (due) WHERE state = 'asked';
"""
LONGEST_S = 3600.0
BACKOFF = Backoff(first_s=30.0, longest_s=LONGEST_S)
"""How long an audit may be without an answer before it is asked for again."""
OFTEN = 3
"""So many times without an answer are told."""


class AwaitedAudits:
    """Audits that datasets wait for: the table `audits`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def is_well(self, upload_id: str, manifest_sha256: str) -> bool:
        """Tell whether the storage was compared with exactly this manifest, and holds it."""
        query = "SELECT 1 FROM audits WHERE upload_id = ? AND manifest_sha256 = ? AND state = 'well'"
        return self._db.execute(query, (upload_id, manifest_sha256)).fetchone() is not None

    def request_audit(self, request: Event[EventData], seal: sqlite3.Row) -> int:
        """Ask the station to look, or ask once more; nothing where it has looked, or is not to be asked again yet.

        Returns:
            how often it was asked without an answer.
        """
        wanted, now = request.data, time.time()
        assert isinstance(wanted, UploadRequested)
        row = self._db.execute("SELECT * FROM audits WHERE upload_id = ?", (wanted.upload_id,)).fetchone()
        if row is not None and row["manifest_sha256"] == seal["manifest_sha256"]:
            if row["state"] == "asked" and row["due"] <= now:
                query = "UPDATE audits SET said = said + 1, due = ? WHERE upload_id = ?"
                self._db.execute(query, (now + BACKOFF.wait_s(row["said"] + 1), wanted.upload_id))
                Outbox.put(self._db, decode(row["request"]))
                return int(row["said"]) + 1
            return int(row["said"]) if row["state"] == "asked" else 0
        fact = AuditRequested(
            upload_id=wanted.upload_id,
            audit=uuid.uuid4().hex,
            destination=wanted.destination,
            manifest_sha256=seal["manifest_sha256"],
            files=seal["files"],
            bytes=seal["bytes"],
        )
        event = request.follow(fact, service="catalog")
        self._db.execute(
            "INSERT OR REPLACE INTO audits (upload_id, audit, manifest_sha256, request, state, due)"
            " VALUES (?, ?, ?, ?, 'asked', ?)",
            (wanted.upload_id, fact.audit, seal["manifest_sha256"], encode(event), now + BACKOFF.wait_s(1)),
        )
        Outbox.put(self._db, event)
        return 1

    def last_audit_due(self) -> float:
        """Return when the last audit that has no answer is asked for again, 0 where there is none."""
        row = self._db.execute("SELECT max(due) FROM audits INDEXED BY audits_asked WHERE state = 'asked'").fetchone()
        return float(row[0] or 0)

    def cap_audit_waits(self, latest: float) -> None:
        """Let nothing wait beyond a moment: whatever does was put off by a clock that has been put right since."""
        self._db.execute("UPDATE audits SET due = 0 WHERE state = 'asked' AND due > ?", (latest,))

    def note_report(self, report: AuditReported) -> None:
        """Take note of what was seen, if it was compared with the manifest that the dataset waits for.

        Whoever asked: that all is well holds for everybody. A difference counts from the audit that is waited for;
        another one's may be older than what has been put right since.
        """
        if report.trouble or report.manifest_sha256 is None:
            return
        self._db.execute(
            "UPDATE audits SET state = ? WHERE upload_id = ? AND manifest_sha256 = ? AND (audit = ? OR ?)",
            ("well" if report.well else "differs", report.upload_id, report.manifest_sha256, report.audit, report.well),
        )

    def forget_audit(self, upload_id: str) -> None:
        """Forget what was seen: something was done about it."""
        self._db.execute("DELETE FROM audits WHERE upload_id = ? AND state <> 'well'", (upload_id,))
