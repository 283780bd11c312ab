"""Recovery of the ledger: compares uploads with the catalog; either may have forgotten what the other knows.

What the ledger lacks is taken over, for its file may be gone by now; what the catalog lacks is announced again.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator

import structlog

from datauploader.contracts.questions import Datafiles, ListDatafiles
from datauploader.errors import MessagingError, QuestionRefused
from datauploader.messaging.port import Bus
from datauploader.reliability import sequence
from datauploader.reliability.backoff import Backoff
from datauploader.reliability.worker import PeriodicTask
from datauploader.runtime.crash_points import crash_point
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.ledger.files import FileTable, Tally
from datauploader_watcher.ledger.receipts import FileReceipt, FileReceipts
from datauploader_watcher.ledger.uploads import UploadRow, UploadTable

log = structlog.get_logger()

LOOK_S = 0.2
"""How often it is looked for uploads whose turn it is; that costs one query."""
BACKOFF = Backoff(first_s=1.0, longest_s=60.0)
"""Between two tries, when nobody has answered."""
ANSWER_S = 20.0


class LedgerRecovery(PeriodicTask):
    """Recovers a lost ledger: a thread that asks about each upload once, and again when its seal has had no answer."""

    def __init__(
        self, context: WatcherContext, bus: Bus, changed: Callable[[], None], unknown: Callable[[UploadRow], bool]
    ) -> None:  # fmt: skip
        """Take whom to ask, whom to tell that uploads have changed, and who has a forgotten request said again."""
        super().__init__("recall", LOOK_S)
        self._unknown = unknown
        self._store, self._bus, self._here, self._changed = context.store, bus, context.here, changed
        self._patience_s = context.settings.receipt_patience_s
        self._later: dict[int, tuple[float, int]] = {}
        """By upload: not before when it is asked again (monotonic seconds), and how often it was in vain."""

    def take_turn(self) -> float:
        """Ask about the uploads whose turn it is; what is not told to its end is asked again from the beginning."""
        for upload in self._uploads():
            due, failures = self._later.get(upload.number, (0.0, 0))
            if due > time.monotonic():
                continue
            if self._recalled(upload):
                self._later.pop(upload.number, None)
            else:
                self._later[upload.number] = (time.monotonic() + BACKOFF.wait_s(failures + 1), failures + 1)
        return LOOK_S

    def _uploads(self) -> list[UploadRow]:
        with self._store.reading() as db:
            return UploadTable(db).to_recall()

    def _recalled(self, upload: UploadRow) -> bool:
        try:
            return self._recall(upload)
        except sqlite3.DatabaseError as error:  # a full disk
            log.warning("ledger_recovery_write_failed", problem=str(error))
        except Exception:  # the boundary of one upload: without this thread nothing is sealed any more
            log.exception("ledger_recovery_failed", upload_id=upload.upload_id)
        return False

    def _recall(self, upload: UploadRow) -> bool:
        """Compare one upload; False when it is to be asked again."""
        try:
            adopted, same, asked = self._take_over(upload)
            with self._store.reading() as db:
                lacks = FileTable(db).tallies(upload.number).get("catalogued", Tally()).files - same
            if (lacks > 0 or upload.state == "sealed") and not asked and not self._unknown(upload):
                return False
            again = self._announce_again(upload) if lacks > 0 else 0
        except MessagingError as error:
            refused = isinstance(error, QuestionRefused) and error.code != "unavailable"
            sentence = (
                f"The catalog does not say which files of this upload it has: {error}. "
                + ("Tell an operator" if refused else "It is asked again automatically")
                + "; until then the upload cannot be completed."
            )
            if sentence != upload.recall:
                log.warning("catalog_query_failed", upload_id=upload.upload_id, problem=str(error))
                with self._store.transaction() as db:
                    UploadTable(db).set_recall(upload.number, sentence)
                self._changed()
            return False
        if self._stopping:
            return False
        with self._store.transaction() as db:
            UploadTable(db).set_recall(upload.number, None)
        if adopted or again:
            log.info("ledger_recovered", upload_id=upload.upload_id, files=adopted, announced_again=again)
        self._changed()
        return True

    def _pages(self, upload: UploadRow) -> Iterator[Datafiles]:
        after = ""
        while not self._stopping:
            question = ListDatafiles(upload_id=upload.upload_id, after=after)
            page = self._bus.ask(question, Datafiles, station=self._here, timeout_s=ANSWER_S).result(2 * ANSWER_S)
            yield page
            after = page.next
            if not after:
                return

    def _take_over(self, upload: UploadRow) -> tuple[int, int, bool]:
        """Write down what only the catalog has; return how many that were, how many both have, and if it was asked."""
        adopted, same, asked = 0, 0, True
        for page in self._pages(upload):
            asked = page.asked
            due_at = time.time() + self._patience_s
            over = page.complete and not upload.seals  # a ledger that is lost had sealed it
            with self._store.transaction() as db:
                if page.sealed is not None:  # by a state that is lost, whose clock may have been ahead
                    sequence.raise_to(db, page.sealed)
                if page.ensured and upload.agreed != "yes":
                    UploadTable(db).set_agreed(upload.number, "yes")
                    UploadTable(db).set_trouble(upload.number, "")
                if over:
                    FileTable(db).forget_paths(upload.number, [item.stored.file.raw for item in page.items])
                for item in page.items:
                    file, placed = item.stored.file, item.stored.object
                    if item.registered:
                        receipt = FileReceipt(file, "catalogued", object=placed, detail=item.stored.state)
                    else:
                        receipt = FileReceipt(file, "stored", object=placed, due_at=due_at)
                    adopted += FileReceipts(db).apply_receipt(upload.number, receipt, adopt=True)
                files = [item.stored.file for item in page.items if item.registered]
                same += sum(FileTable(db).catalogued_as(upload.number, file.raw, file.sha256) for file in files)
                if over and not page.next:
                    FileTable(db).forget_unstored(upload.number)
                    UploadTable(db).set_state(upload.number, "completed")
                    UploadTable(db).heard(upload.number, time.time())
            crash_point("watcher.recalled")
        return adopted, same, asked

    def _announce_again(self, upload: UploadRow) -> int:
        """Announce again what the catalog does not have, though it was heard to; nothing is moved for it.

        What is heard only while it is asked says nothing: its answer may be older than that.
        """
        with self._store.reading() as db:
            lacks = FileTable(db).on_storage(upload.number)
        for page in self._pages(upload):
            for item in page.items:
                lacks.pop((item.stored.file.raw, item.stored.file.sha256), None)
        if lacks and not self._stopping:
            with self._store.transaction() as db:
                FileTable(db).announce_again(lacks.values())
                UploadTable(db).reseal(upload.number)
        return len(lacks)
