"""Who says next which versions are ready: at low rate at once, under load as many as the broker takes."""

import sqlite3
from collections.abc import Iterable

import structlog

from datauploader.runtime.crash_points import crash_point
from datauploader_watcher.adapters.disk import lstat, stamp_of
from datauploader_watcher.clock import Clock
from datauploader_watcher.domain.receipts import LONGEST_PATIENCE_S, next_reminder_s
from datauploader_watcher.errors import FolderError, PathMissing
from datauploader_watcher.ledger.files import FileRow, FileTable
from datauploader_watcher.ledger.uploads import UploadTable
from datauploader_watcher.outgoing.publishing import say_ready
from datauploader_watcher.uploads.session import UploadSession

log = structlog.get_logger()

MOST_WAITING = 100
"""Events in the outbox beyond which nothing new is announced; the ledger keeps it."""
AT_ONCE = 500
"""Versions of one upload that are announced in one turn."""
SILENCE = 8
"""A version that is overdue for so many patiences is announced again although others have receipts."""


class Announcer:
    """Turns `ready` rows, and those without a receipt, into events of the outbox."""

    def __init__(self, clock: Clock, patience_s: float) -> None:
        """Take a clock and the patience with the first announcement."""
        self._clock, self._patience_s = clock, patience_s

    def record_versions(self, db: sqlite3.Connection, session: UploadSession, rows: list[FileRow], room: int) -> int:
        """Keep new versions, and announce them at once where they may; return how many events that took."""
        if not rows:
            return 0
        if room <= 0 or not session.may_announce:
            FileTable(db).put(session.upload.number, rows)
            session.note_versions(waiting=True)
            return 0
        now = self._clock.now_ns() / 1e9
        FileTable(db).put(session.upload.number, rows, announced=(now, now + self._patience_s))
        return say_ready(db, session.upload, session.disk.root, rows, now)

    def announce_due(self, db: sqlite3.Connection, uploads: Iterable[UploadSession], room: int) -> None:
        """Announce what has waited in the ledger, the uploads in turn, as far as there is room."""
        for session in uploads:
            if room <= 0:
                return
            rows = FileTable(db).in_state(session.upload.number, "ready", AT_ONCE)
            session.note_versions(waiting=len(rows) == AT_ONCE)
            room -= self._say(db, session, [row for row in rows if self._as_it_was(db, session, row)])

    def announce_overdue(self, db: sqlite3.Connection, uploads: Iterable[UploadSession]) -> None:
        """Announce again what has no receipt although there was time enough for it."""
        now = self._clock.now_ns() / 1e9
        for session in uploads:
            heard = UploadTable(db).heard_at(session.upload.number)
            silent = not 0 <= now - heard < self._patience_s  # below 0: the clock was ahead, and was put right
            before = now if silent else now - SILENCE * self._patience_s
            rows = FileTable(db).overdue(
                session.upload.number, before=before, beyond=now + 2 * LONGEST_PATIENCE_S, most=AT_ONCE
            )
            session.note_receipt(heard)
            if rows and not (session.upload.trouble and all(row.state == "stored" for row in rows)):
                if silent:
                    sentence = (
                        f"{len(rows)} files of dataset {session.upload.request.dataset.name} were announced, but no "
                        "confirmation has arrived: check that transfer and catalog are running and that the broker has "
                        "their queues and bindings. They are announced again automatically."
                    )
                    session.note_silence(sentence, now)
                log.info("versions_announced_again", upload_id=session.upload.upload_id, files=len(rows))
                self._say(db, session, rows)
                crash_point("watcher.reminding")

    def _say(self, db: sqlite3.Connection, session: UploadSession, rows: list[FileRow]) -> int:
        if not rows:
            return 0
        now = self._clock.now_ns() / 1e9
        FileTable(db).set_announced(
            [(row, now + next_reminder_s(self._patience_s, row.attempts + 1)) for row in rows], now
        )
        return say_ready(db, session.upload, session.disk.root, rows, now)

    def _as_it_was(self, db: sqlite3.Connection, session: UploadSession, row: FileRow) -> bool:
        """Look whether a version that had to wait is still what it was; else let it be found anew."""
        try:
            now = stamp_of(lstat(session.disk, row.path))
        except PathMissing:
            FileTable(db).withdraw(row)
            return False
        except FolderError:
            return True
        if row.as_is or row.stamp.agrees(now):
            return True
        FileTable(db).withdraw(row)
        session.stability.observe_file(row.path, now, self._clock.monotonic(), fresh=row.attempts == 0)
        return False
