"""What a turn of the loop has found goes into the ledger in one transaction; where that fails, file by file."""

import sqlite3
from collections.abc import Sequence

import structlog

from datauploader.contracts.names import display
from datauploader.reliability import Store
from datauploader_watcher.adapters.hashing import HashResult
from datauploader_watcher.clock import Clock
from datauploader_watcher.outgoing.announcer import Announcer
from datauploader_watcher.outgoing.recorder import Recorder
from datauploader_watcher.uploads.session import UploadSession

log = structlog.get_logger()

ReadFiles = tuple[UploadSession, Sequence[HashResult]]
"""An upload, and what came of reading its files."""


class LedgerWriter:
    """Keeps a bulkhead between files: a value of one that nothing can hold must not stop all the others."""

    def __init__(self, store: Store, clock: Clock, announcer: Announcer) -> None:
        """Take the ledger, and who announces what is in it."""
        self._store, self._clock, self._announcer = store, clock, announcer

    def write(self, found: Sequence[ReadFiles], to_announce: Sequence[UploadSession], room: int) -> None:
        """Record what was found and announce it, in at most `room` events.

        Raises:
            sqlite3.Error: the ledger itself cannot be written.
        """
        returned = {session: dict(session.returned) for session, _ in found}
        now = self._clock.monotonic()
        omitting = [session for session, _ in found if session.has_omissions(now)]
        try:
            with self._store.transaction() as db:
                recorder = Recorder(db, self._clock)
                for session, outcomes in found:
                    fresh = recorder.outcomes(session, outcomes)
                    recorder.omissions(session)
                    room -= self._announcer.record_versions(db, session, fresh, room)
                self._announcer.announce_due(db, to_announce, room)
        except Exception as error:
            if _is_of_the_ledger(error):
                raise
            log.exception("ledger_batch_write_failed", uploads=len(found))
            for session, before in returned.items():
                session.returned = before
            for session in omitting:
                session.hasten_scan()  # what was to be left out is found again
            self._one_by_one(found, to_announce, room)
        for session, _ in found:
            session.stability.recorded()

    def _one_by_one(self, found: Sequence[ReadFiles], to_announce: Sequence[UploadSession], room: int) -> None:
        for session, _ in found:
            session.stability.unrecorded()
        for session, outcome in [(session, outcome) for session, outcomes in found for outcome in outcomes]:
            try:
                with self._store.transaction() as db:
                    fresh = Recorder(db, self._clock).outcomes(session, [outcome])
                    self._announcer.record_versions(db, session, fresh, room)
            except Exception as error:
                if _is_of_the_ledger(error):
                    raise
                log.warning("file_not_recorded", path=display(outcome.path), problem=repr(error))
                with self._store.transaction() as db:
                    Recorder(db, self._clock).unrecorded(session, outcome.path, error)
            session.stability.recorded()
        for session in to_announce:
            try:
                with self._store.transaction() as db:
                    self._announcer.announce_due(db, [session], room)
            except Exception as error:
                if _is_of_the_ledger(error):
                    raise
                log.exception("announcement_failed", upload_id=session.upload.upload_id)


def _is_of_the_ledger(error: Exception) -> bool:
    """Tell whether the ledger cannot be written at all; any other error is about a value."""
    about_a_value = (sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.IntegrityError)
    return isinstance(error, sqlite3.Error) and not isinstance(error, about_a_value)
