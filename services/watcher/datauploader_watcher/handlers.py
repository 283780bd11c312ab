"""What the watcher does with what it hears: it writes intents and receipts down, the loop does the rest."""

import time
from datetime import timedelta

import structlog

from datauploader.contracts.datasets import DatasetCompleted, DatasetEnsured, DatasetRefused
from datauploader.contracts.envelope import Event
from datauploader.contracts.files import FileCatalogued, FileFailed, FileStored
from datauploader.contracts.uploads import UploadCancelled, UploadControlled, UploadRequested
from datauploader.errors import Retry
from datauploader.messaging import Dispatcher, UnitOfWork
from datauploader_watcher.background.local_cleanup import LocalCleanup
from datauploader_watcher.domain.receipts import next_reminder_s
from datauploader_watcher.ledger.choices import RestlessChoiceTable
from datauploader_watcher.ledger.files import FileTable
from datauploader_watcher.ledger.receipts import FileReceipt, FileReceipts
from datauploader_watcher.ledger.superseded import LOST, SupersededVersions
from datauploader_watcher.ledger.uploads import OPEN, UploadTable
from datauploader_watcher.loop import Loop
from datauploader_watcher.outgoing.publishing import say
from datauploader_watcher.settings import WatcherSettings

log = structlog.get_logger()

LOOK_AGAIN = frozenset(("source-gone", "source-changed", "mismatch"))
"""Reasons of a failure that are for the watcher to look into."""


class Handlers:
    """The handlers, and whether the loop must look at its uploads again."""

    def __init__(self, loop: Loop, cleanup: LocalCleanup, settings: WatcherSettings) -> None:
        """Take whom to tell."""
        self._loop, self._cleanup = loop, cleanup
        self._patience_s, self._may_delete = settings.receipt_patience_s, settings.allow_delete
        self._look_again_s = settings.look_again_s
        self._changed = self._released = False

    def register(self, dispatcher: Dispatcher) -> None:
        """Take over every kind of event that the watcher listens to."""
        dispatcher.on(UploadRequested, self.requested)
        dispatcher.on(UploadControlled, self.controlled)
        dispatcher.on(FileStored, self.stored, redeliver=True)
        dispatcher.on(FileCatalogued, self.catalogued, redeliver=True)
        dispatcher.on(FileFailed, self.failed)
        dispatcher.on(DatasetEnsured, self.ensured)
        dispatcher.on(DatasetRefused, self.refused)
        dispatcher.on(DatasetCompleted, self.completed)
        dispatcher.after_commit(self._tell)

    def requested(self, unit: UnitOfWork, event: Event[UploadRequested]) -> None:
        """Keep a request; whether it can be done is found out by the loop."""
        self._changed |= UploadTable(unit.db).add(event)

    def controlled(self, unit: UnitOfWork, event: Event[UploadControlled]) -> None:
        """Steer an upload; one that is over already is left alone.

        Raises:
            Retry: the request has not arrived yet.
        """
        upload = UploadTable(unit.db).get(event.data.upload_id)
        if upload is None:
            raise Retry(f"the upload {event.data.upload_id} is not known here (yet)", after=timedelta(seconds=1))
        if upload.state not in OPEN:
            log.info("control_of_finished_upload", action=event.data.action, state=upload.state)
            return
        match event.data.action:
            case "close":
                UploadTable(unit.db).set_closing(upload.number, "asked")
            case "pause" | "resume":
                UploadTable(unit.db).set_paused(upload.number, event.data.action == "pause", event.order)
            case "retry":
                FileTable(unit.db).retry_failed(upload.number, [file.raw for file in event.data.files])
            case "take" | "leave-out":
                if upload.closing:  # of an open one every version is uploaded as it comes
                    who, paths = event.data.requested_by, [file.raw for file in event.data.files]
                    RestlessChoiceTable(unit.db).put(
                        upload.number, paths, take=event.data.action == "take", who=who.name or who.id
                    )
            case "cancel":
                UploadTable(unit.db).set_state(upload.number, "cancelled")
                say(unit.db, upload, UploadCancelled(upload_id=upload.upload_id), "")
        self._changed = True

    def stored(self, unit: UnitOfWork, event: Event[FileStored]) -> None:
        """Note that versions are on the storage."""
        heard = self._heard(unit, event)
        if heard is None:
            return
        number, state = heard
        due_at = time.time() + self._patience_s
        receipts = [FileReceipt(one.file, "stored", object=one.object, due_at=due_at) for one in event.data.files]
        FileReceipts(unit.db).apply_held(number, receipts, adopt=state in OPEN)

    def catalogued(self, unit: UnitOfWork, event: Event[FileCatalogued]) -> None:
        """Close versions that the catalogue knows."""
        heard = self._heard(unit, event)
        if heard is None:
            return
        number, state = heard
        receipts = [FileReceipt(one.file, "catalogued", detail=one.state) for one in event.data.files]
        FileReceipts(unit.db).apply_held(number, receipts, adopt=state in OPEN)

    def failed(self, unit: UnitOfWork, event: Event[FileFailed]) -> None:
        """Note what could not be moved: wait, look into it, or leave it to a person."""
        heard = self._heard(unit, event)
        if heard is None:
            return
        number, _ = heard
        for one in event.data.files:
            if not one.final:
                due_at = time.time() + next_reminder_s(self._patience_s, 1)
                FileReceipts(unit.db).excuse_delay(number, one.file, one.reason, one.detail, due_at)
                continue
            state = "suspect" if one.reason in LOOK_AGAIN else "failed"
            reason = (
                LOST if SupersededVersions(unit.db).note_looked_for(number, one) and state == "suspect" else one.reason
            )
            FileReceipts(unit.db).apply_receipt(number, FileReceipt(one.file, state, reason=reason, detail=one.detail))

    def ensured(self, unit: UnitOfWork, event: Event[DatasetEnsured]) -> None:
        """Let the upload write its dataset: the catalogue has it, and says that it is this upload's."""
        self._agreed(unit, event.data.upload_id, "yes", "")

    def refused(self, unit: UnitOfWork, event: Event[DatasetRefused]) -> None:
        """Show that the catalogue will not have the dataset, and announce nothing more of it."""
        sentence = f"The catalogue refuses the dataset: {event.data.detail} {event.data.hint}".strip()
        self._agreed(unit, event.data.upload_id, "no", sentence)

    def _agreed(self, unit: UnitOfWork, upload_id: str, agreed: str, trouble: str) -> None:
        upload = UploadTable(unit.db).get(upload_id)
        if upload is not None:
            UploadTable(unit.db).set_agreed(upload.number, agreed)
            UploadTable(unit.db).set_trouble(upload.number, trouble)
            self._changed = True

    def completed(self, unit: UnitOfWork, event: Event[DatasetCompleted]) -> None:
        """Finish an upload whose dataset is complete, if it is complete as we sealed it last."""
        upload = UploadTable(unit.db).get(event.data.upload_id)
        if upload is None or upload.state != "sealed":
            return
        if upload.manifest != event.data.manifest_sha256:
            log.info("stale_manifest_completed")
            return
        UploadTable(unit.db).set_state(upload.number, "completed")
        UploadTable(unit.db).heard(upload.number, time.time())
        if self._look_again_s:
            UploadTable(unit.db).next_look(upload.number, time.time() + self._look_again_s[0])
        if upload.request.delete_after and self._may_delete:
            FileTable(unit.db).release(upload.number)
            self._released = True
        self._changed = True

    def _heard(
        self, unit: UnitOfWork, event: Event[FileStored] | Event[FileCatalogued] | Event[FileFailed]
    ) -> tuple[int, str] | None:
        """Note that a receipt has come; return the upload's number and state."""
        heard = UploadTable(unit.db).note_receipt(event.data.upload_id, time.time())
        if heard is None:
            log.info("receipt_for_unknown_upload")
        return heard

    def _tell(self) -> None:
        if self._changed:
            self._changed = False
            self._loop.inbox.reload()
        if self._released:
            self._released = False
            self._cleanup.wake()
