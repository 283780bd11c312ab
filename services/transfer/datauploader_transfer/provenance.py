"""Whose versions were written where, found again when a lost state file alone knew it.

At a start the event log is read for it. Where the broker does not let us read that, or it has not told all, the catalog
is asked what an upload has stored before an object is called somebody else's.
"""

import threading
import time
from collections.abc import Callable, Collection
from enum import StrEnum

import structlog

from datauploader.contracts import FileReady, Station
from datauploader.contracts.names import escape
from datauploader.contracts.questions import Datafiles, ListDatafiles
from datauploader.errors import BrokerRefused, MessagingError, QuestionRefused
from datauploader.messaging.catch_up import CatchUp
from datauploader.messaging.port import Bus, Delivery
from datauploader.reliability import Store
from datauploader.reliability.backoff import Backoff
from datauploader.reliability.worker import WorkerThread
from datauploader_transfer.ledger import UploadRoute, object_path
from datauploader_transfer.owners import ObjectOwners

log = structlog.get_logger()

LOOK_S = 0.1
ANSWER_S = 10.0
BACKOFF = Backoff(first_s=1.0, longest_s=60.0)
"""Between two questions about one upload, when nobody has answered."""


class ConflictOrigin(StrEnum):
    """The origin of a conflict: whose object it is."""

    FINAL = "final"
    """The catalog was asked before the attempt: the object is not ours."""
    AGAIN = "again"
    """It has told meanwhile what the upload stored: another attempt will know."""
    UNANSWERED = "unanswered"
    """It has not answered: nothing is known yet."""


class ProvenanceCheck:
    """Checks the provenance of objects: asks about each upload once in the life of this process."""

    def __init__(self, store: Store, bus: Bus) -> None:
        """Take where the answers are kept, and whom to ask."""
        self._store, self._bus = store, bus
        self._lock = threading.Lock()
        self._asked: dict[str, float] = {}
        self._later: dict[str, tuple[float, int]] = {}
        """By upload: not before when it is asked about again (monotonic seconds), and how often it was in vain."""

    def classify_conflict(self, upload: UploadRoute, station: Station, began: float) -> ConflictOrigin:
        """Say what conflicts of an attempt come to that began then (monotonic seconds); ask first where need be."""
        with self._lock:
            if upload.upload_id not in self._asked:
                due, failures = self._later.get(upload.upload_id, (0.0, 0))
                if due > time.monotonic():
                    return ConflictOrigin.UNANSWERED
                try:
                    self._note_all(upload, station)
                except BrokerRefused as error:
                    log.warning("catalog_query_failed", problem=str(error))
                except MessagingError as error:
                    log.warning("catalog_query_timed_out", upload_id=upload.upload_id, problem=str(error))
                    self._later[upload.upload_id] = (time.monotonic() + BACKOFF.wait_s(failures + 1), failures + 1)
                    return ConflictOrigin.UNANSWERED
                self._asked[upload.upload_id] = time.monotonic()
                self._later.pop(upload.upload_id, None)
            return ConflictOrigin.AGAIN if began < self._asked[upload.upload_id] else ConflictOrigin.FINAL

    def _note_all(self, upload: UploadRoute, station: Station) -> None:
        """Note what the catalog says that this upload, and those it continues, have stored."""
        with self._store.reading() as db:
            uploads = ObjectOwners(db).with_continued([upload.upload_id])
        for upload_id in sorted(uploads):
            try:
                files = self._note(upload, upload_id, station)
            except QuestionRefused as error:
                if error.code == "unavailable":
                    raise
                log.warning("catalog_query_refused", upload_id=upload_id, problem=str(error))
            else:
                log.info("ownership_recovered", upload_id=upload_id, files=files)

    def _note(self, upload: UploadRoute, upload_id: str, station: Station) -> int:
        """Note what one upload has stored, page by page."""
        count, after = 0, ""
        while True:
            question = ListDatafiles(upload_id=upload_id, after=after)
            page = self._bus.ask(question, Datafiles, station=station, timeout_s=ANSWER_S).result(2 * ANSWER_S)
            stored = [item.stored for item in page.items if item.stored.object.startswith(f"{upload.location}/")]
            with self._store.transaction() as db:
                versions = [(one.object, one.file.digests.values()) for one in stored]
                ObjectOwners(db).restore_versions(upload.remote, upload_id, versions)
            count, after = count + len(stored), page.next
            if not after:
                return count


def recover_ownership(store: Store, bus: Bus, stations: Collection[Station], then: Callable[[], None]) -> None:
    """Read the log in the background, as far as the broker lets us, and go on with `then`."""

    def hear(delivery: Delivery) -> None:
        event = delivery.event
        if isinstance(event.data, FileReady) and event.station in stations:
            destination = event.data.destination
            versions = [
                (object_path(destination.location, escape(file.raw)), file.digests.values())
                for file in event.data.files
            ]
            with store.transaction() as db:
                owners = ObjectOwners(db)
                owners.note_continued(event.data.upload_id, event.data.continues)
                owners.restore_versions(destination.remote, event.data.upload_id, versions)

    def read() -> None:
        reading = CatchUp(bus, hear)
        while not reading.done.wait(LOOK_S):
            if isinstance(trouble := reading.problem, BrokerRefused):
                log.warning("event_log_read_failed", problem=str(trouble), effect="the catalog is asked instead")
                break
        reading.stop(2.0)
        store.mark_recovered()
        then()

    WorkerThread(read, name="recall").start()
