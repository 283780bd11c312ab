"""Resynchronisation: tells a facility that has lost everything of the open uploads, and what was said of them."""

import time
from collections.abc import Callable

import structlog

from datauploader.contracts.envelope import encode
from datauploader.contracts.questions import Remembered, RememberUpload
from datauploader.contracts.uploads import UploadCancelled, UploadOpened
from datauploader.errors import MessagingError, QuestionRefused
from datauploader.messaging.port import Bus
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.domain.versions import join
from datauploader_watcher.ledger.files import FileTable
from datauploader_watcher.ledger.uploads import UploadRow, UploadTable
from datauploader_watcher.outgoing.publishing import left_out, say, say_left_out
from datauploader_watcher.uploads.sealing import counts

log = structlog.get_logger()

ANSWER_S = 10.0
TAKEN_UP, OVER = ("open", "sealed"), ("completed", "cancelled")
MOST_OVER = 200
"""Uploads that are over, the latest ones, of which a facility that was put back may not have heard the end."""


class FacilityResync:
    """Resynchronises the facility with this station, whenever its gateway is another one or was started anew."""

    def __init__(self, context: WatcherContext, bus: Bus, changed: Callable[[], None]) -> None:
        """Take whom to ask, and whom to tell that uploads have changed in the ledger."""
        self._store, self._outbox, self._bus, self._here = context.store, context.outbox, bus, context.here
        self._changed, self._patience_s = changed, context.settings.receipt_patience_s
        self._in_doubt: set[str] = set()
        """Uploads of which the gateway was told, and whose answer was lost: perhaps it was that it knew nothing."""

    def __call__(self) -> bool:
        """Go through the uploads; return whether the gateway has said of each what it knows."""
        with self._store.reading() as db:
            uploads = UploadTable(db).in_states(TAKEN_UP)
            ended = UploadTable(db).latest_in(OVER, MOST_OVER)
        answered = [self._told(upload) for upload in uploads] + [self._ended(upload) for upload in ended]
        return all(answered)

    def _ended(self, upload: UploadRow) -> bool:
        """Have an upload end at a facility from the past too, which holds it open for ever else."""
        answer = self._ask(RememberUpload(event=encode(upload.event).decode(), over=True))
        if answer is None or answer.knew != "open":
            return answer is not None
        if upload.heard_at > time.time() - 2 * self._patience_s:
            return False  # perhaps it has not heard of the end yet
        with self._store.transaction() as db:
            known = FileTable(db).remembered(upload.number)
            if upload.state == "cancelled":
                say(db, upload, UploadCancelled(upload_id=upload.upload_id))
            elif known:
                UploadTable(db).set_state(upload.number, "sealed")
        self._outbox.wake()
        if upload.state == "completed" and known:
            self._tell_again(upload)
        return True

    def catalog_lacks(self, upload: UploadRow) -> bool:
        """Have the request of an upload said again that the catalog has forgotten; False where nobody has answered."""
        return self._told(upload, catalog_lacks=True)

    def _told(self, upload: UploadRow, *, catalog_lacks: bool = False) -> bool:
        event = encode(upload.event).decode()
        question = RememberUpload(event=event, paused=upload.paused, catalog_lacks=catalog_lacks)
        try:
            answer = self._ask(question)
        except QuestionRefused as error:
            problem = f"{error}".rstrip(".")[:1900]
            log.error("upload_unknown_to_gateway", upload_id=upload.upload_id, problem=problem)  # noqa: TRY400 - a sentence
            with self._store.transaction() as db:
                UploadTable(db).set_trouble(upload.number, f"{problem}.")
            self._changed()
            return True
        if answer is None:
            self._in_doubt.add(upload.upload_id)
            return False
        if answer.knew == "nothing" or (answer.knew == "open" and upload.upload_id in self._in_doubt):
            self._tell_again(upload)
        self._in_doubt.discard(upload.upload_id)
        return True

    def _ask(self, question: RememberUpload) -> Remembered | None:
        """Ask the gateway; None where it does not answer now."""
        try:
            return self._bus.ask(question, Remembered, station=self._here, timeout_s=ANSWER_S).result(2 * ANSWER_S)
        except QuestionRefused as error:
            if error.code == "not-allowed":
                raise
            return None
        except (MessagingError, TimeoutError):
            return None

    def _tell_again(self, upload: UploadRow) -> None:
        """Say all that was said of an upload; transfer answers for what it has stored, and nothing is moved."""
        with self._store.transaction() as db:
            say(db, upload, UploadOpened(upload_id=upload.upload_id))
            say(db, upload, counts(db, upload))
            rows = FileTable(db).left_out(upload.number)
            omitted = [left_out(join(row["path"], row["name"]), row["reason"], row["detail"] or "") for row in rows]
            say_left_out(db, upload, omitted)
            stored = FileTable(db).on_storage(upload.number)
            FileTable(db).announce_again(stored.values())
            UploadTable(db).reseal(upload.number)
            UploadTable(db).heard(upload.number, time.time())
        self._outbox.wake()
        self._changed()
        log.warning("upload_resynced", upload_id=upload.upload_id, files=len(stored))
