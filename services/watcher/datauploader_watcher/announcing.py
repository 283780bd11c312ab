"""Who says next which versions are ready: at low rate at once, under load as many as the broker takes."""

import sqlite3
from collections.abc import Iterable

import structlog

from datauploader.crashing import crash_point
from datauploader_watcher.adapters.disk import look, stamp_of
from datauploader_watcher.clock import Clock
from datauploader_watcher.domain.receipts import LONGEST_PATIENCE_S, patience
from datauploader_watcher.errors import FolderError, Vanished
from datauploader_watcher.ledger.files import Files, Row
from datauploader_watcher.ledger.uploads import Upload
from datauploader_watcher.publishing import say_ready
from datauploader_watcher.work import Work

log = structlog.get_logger()

MOST_WAITING = 100
"""Events in the outbox beyond which nothing new is announced; the ledger keeps it."""
AT_ONCE = 500
"""Versions of one upload that are announced in one turn."""
SILENCE = 8
"""A version that is overdue for so many patiences is announced again although others have receipts."""


def _unheard(upload: Upload, files: int) -> str:
    return (
        f"{files} files of dataset {upload.request.dataset.name} were announced, but no confirmation has "
        f"arrived: check that "
        "transfer and catalog are running and that the broker has their queues and bindings. They are announced again "
        "automatically."
    )


class Announcer:
    """Turns `ready` rows, and those without a receipt, into events of the outbox."""

    def __init__(self, clock: Clock, patience_s: float) -> None:
        """Take a clock and the patience with the first announcement."""
        self._clock, self._patience_s = clock, patience_s

    def take(self, db: sqlite3.Connection, work: Work, rows: list[Row], room: int) -> int:
        """Keep new versions, and announce them at once where they may; return how many events that took."""
        if not rows:
            return 0
        if room <= 0 or not work.may_announce:
            Files.put(db, work.upload.number, rows)
            work.ready = True
            return 0
        now = self._clock.now_ns() / 1e9
        Files.put(db, work.upload.number, rows, announced=(now, now + self._patience_s))
        return say_ready(db, work.upload, work.disk.root, rows)

    def announce(self, db: sqlite3.Connection, works: Iterable[Work], room: int) -> None:
        """Announce what has waited in the ledger, the uploads in turn, as far as there is room."""
        for work in works:
            if room <= 0:
                return
            rows = Files.in_state(db, work.upload.number, "ready", AT_ONCE)
            work.ready = len(rows) == AT_ONCE
            room -= self._say(db, work, [row for row in rows if self._as_it_was(db, work, row)])

    def remind(self, db: sqlite3.Connection, works: Iterable[Work]) -> None:
        """Announce again what has no receipt although there was time enough for it."""
        now = self._clock.now_ns() / 1e9
        for work in works:
            heard = db.execute("SELECT heard_at FROM uploads WHERE id = ?", (work.upload.number,)).fetchone()[0]
            silent = not 0 <= now - heard < self._patience_s  # below 0: the clock was ahead, and was put right
            before = now if silent else now - SILENCE * self._patience_s
            rows = Files.overdue(
                db, work.upload.number, before=before, beyond=now + 2 * LONGEST_PATIENCE_S, most=AT_ONCE
            )  # fmt: skip
            if heard > work.unheard_at:
                work.unheard = ""
            if rows and not (work.upload.trouble and all(row.state == "stored" for row in rows)):
                if silent:
                    work.unheard, work.unheard_at = _unheard(work.upload, len(rows)), now
                log.info("announced_again", upload_id=work.upload.upload_id, files=len(rows))
                self._say(db, work, rows)
                crash_point("watcher.reminding")

    def _say(self, db: sqlite3.Connection, work: Work, rows: list[Row]) -> int:
        if not rows:
            return 0
        now = self._clock.now_ns() / 1e9
        Files.set_announced(db, [(row, now + patience(self._patience_s, row.attempts + 1)) for row in rows], now)
        return say_ready(db, work.upload, work.disk.root, rows)

    def _as_it_was(self, db: sqlite3.Connection, work: Work, row: Row) -> bool:
        """Look whether a version that had to wait is still what it was; else let it be found anew."""
        try:
            now = stamp_of(look(work.disk, row.path))
        except Vanished:
            Files.withdraw(db, row)
            return False
        except FolderError:
            return True
        if row.as_is or row.stamp.agrees(now):
            return True
        Files.withdraw(db, row)
        work.settling.see(row.path, now, self._clock.monotonic(), fresh=row.attempts == 0)
        return False
