"""What a turn of the loop has found goes into the ledger in one transaction; where that fails, file by file."""

import sqlite3
from collections.abc import Sequence

import structlog

from datauploader.contracts.names import display
from datauploader.state import Store
from datauploader_watcher.adapters.hashing import Outcome
from datauploader_watcher.announcing import Announcer
from datauploader_watcher.clock import Clock
from datauploader_watcher.recording import Recorder
from datauploader_watcher.work import Work

log = structlog.get_logger()

Found = tuple[Work, Sequence[Outcome]]
"""An upload, and what came of reading its files."""


class Writer:
    """Keeps a bulkhead between files: a value of one that nothing can hold must not stop all the others."""

    def __init__(self, store: Store, clock: Clock, announcer: Announcer) -> None:
        """Take the ledger, and who announces what is in it."""
        self._store, self._clock, self._announcer = store, clock, announcer

    def write(self, found: Sequence[Found], to_announce: Sequence[Work], room: int) -> None:
        """Record what was found and announce it, in at most `room` events.

        Raises:
            sqlite3.Error: the ledger itself cannot be written.
        """
        returned = {work: dict(work.returned) for work, _ in found}
        now = self._clock.monotonic()
        omitting = [work for work, _ in found if work.has_omissions(now)]
        try:
            with self._store.transaction() as db:
                recorder = Recorder(db, self._clock)
                for work, outcomes in found:
                    room -= self._record(db, recorder, work, outcomes, room)
                self._announcer.announce(db, to_announce, room)
        except Exception as error:
            if _is_of_the_ledger(error):
                raise
            log.exception("not_written_together", uploads=len(found))
            for work, before in returned.items():
                work.returned = before
            for work in omitting:
                work.hasten()  # what was to be left out is found again
            self._one_by_one(found, to_announce, room)
        for work, _ in found:
            work.settling.recorded()

    def _record(
        self, db: sqlite3.Connection, recorder: Recorder, work: Work, outcomes: Sequence[Outcome], room: int
    ) -> int:
        fresh = recorder.outcomes(work, outcomes)
        recorder.omissions(work)
        return self._announcer.take(db, work, fresh, room)

    def _one_by_one(self, found: Sequence[Found], to_announce: Sequence[Work], room: int) -> None:
        for work, outcomes in found:
            work.settling.unrecorded()
            for outcome in outcomes:
                self._alone(work, outcome, room)
        for work in to_announce:
            try:
                with self._store.transaction() as db:
                    self._announcer.announce(db, [work], room)
            except Exception as error:
                if _is_of_the_ledger(error):
                    raise
                log.exception("not_announced", upload_id=work.upload.upload_id)

    def _alone(self, work: Work, outcome: Outcome, room: int) -> None:
        try:
            with self._store.transaction() as db:
                fresh = Recorder(db, self._clock).outcomes(work, [outcome])
                self._announcer.take(db, work, fresh, room)
        except Exception as error:
            if _is_of_the_ledger(error):
                raise
            log.warning("file_not_recorded", path=display(outcome.path), problem=repr(error))
            with self._store.transaction() as db:
                Recorder(db, self._clock).unrecorded(work, outcome.path, error)
        work.settling.recorded()


def _is_of_the_ledger(error: Exception) -> bool:
    """Tell whether the ledger cannot be written at all; any other error is about a value."""
    about_a_value = (sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.IntegrityError)
    return isinstance(error, sqlite3.Error) and not isinstance(error, about_a_value)
