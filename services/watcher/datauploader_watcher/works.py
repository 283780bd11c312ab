"""The open uploads: taken up from the ledger, refused, looked into where a receipt says so, sealed, let go."""

import os
import sqlite3
from collections.abc import Iterator

import structlog

from datauploader.contracts.uploads import UploadOpened, UploadRejected, UploadScanned
from datauploader.crashing import crash_point
from datauploader.patience import NoAnswer, Patience
from datauploader_watcher.adapters.disk import look, stamp_of
from datauploader_watcher.barred import BARRED
from datauploader_watcher.domain.settling import Quiet
from datauploader_watcher.earlier import earlier_of
from datauploader_watcher.errors import FolderError, Refusal, Vanished
from datauploader_watcher.ground import Ground
from datauploader_watcher.ledger.choices import Choices
from datauploader_watcher.ledger.files import Files
from datauploader_watcher.ledger.uploads import OPEN, Upload, Uploads
from datauploader_watcher.lingering import Lingering
from datauploader_watcher.opening import Plan
from datauploader_watcher.publishing import say
from datauploader_watcher.recording import Recorder
from datauploader_watcher.sealing import close_by_itself, may_close, may_seal, scanned, seal, seal_again
from datauploader_watcher.watching import Watching
from datauploader_watcher.work import Interval, Work

log = structlog.get_logger()

SUSPECTS_AT_ONCE = 500
FOLDERS_AT_ONCE = 100


class Works:
    """Everything that is being done, by the upload's number in the ledger."""

    def __init__(self, ground: Ground, watching: Watching) -> None:
        """Begin with none."""
        self._store, self._outbox, self._clock = ground.store, ground.outbox, ground.clock
        self._settings, self._opening, self._disks = ground.settings, ground.opening, ground.disks
        self._watching = watching
        self._works: dict[int, Work] = {}
        self._said: dict[int, UploadScanned] = {}
        self._entries = 0
        """Entries that uploads looked at which are over."""
        self._patience = Patience()
        self._lingering = Lingering(ground.clock, ground.settings)
        self._unanswered = False
        """An upload of a former run cannot be taken up yet, because its drive does not answer."""

    def __iter__(self) -> Iterator[Work]:
        return iter(tuple(self._works.values()))

    def __len__(self) -> int:
        return len(self._works)

    def get(self, number: int) -> Work | None:
        """Return the work on an upload that is still open."""
        return self._works.get(number)

    @property
    def entries(self) -> int:
        """Directory entries looked at since the start."""
        return self._entries + sum(work.entries for work in self._works.values())

    def to_announce(self) -> list[Work]:
        """Return the uploads that have something to announce; who was first is last the next time."""
        works = [work for work in self._works.values() if work.ready and work.may_announce]
        if works:
            first = works[0].upload.number
            self._works[first] = self._works.pop(first)
        return works

    def reload(self) -> list[int]:
        """Take over what the ledger says; return the numbers of uploads that are over."""
        self._unanswered = False
        with self._store.reading() as db:
            uploads = {upload.number: upload for upload in Uploads.in_states(db, OPEN)}
        over = [number for number in self._works if number not in uploads]
        for number in over:
            self._let_go(number)
        for upload in uploads.values():
            if upload.state == "requested":
                self._open(upload)
            elif upload.number in self._works:
                self._renew(self._works[upload.number], upload)
            else:
                self._resume(upload)
        return over

    def chores(self) -> None:
        """Look after what needs no haste: suspects, closing, sealing, counting."""
        with self._store.transaction() as db:
            closed = False
            for work in self:
                self._look_into_suspects(db, work)
                if work.give_up():
                    log.warning("root_given_up", upload_id=work.upload.upload_id, problem=work.lost)
                Recorder(db, self._clock).chosen(work)
                if work.given_up and may_close(work):
                    Recorder(db, self._clock).given_up(work)
                closed |= close_by_itself(db, work, self._clock.monotonic())
                self._ask_again(db, work)
                work.stirred = True
        if closed or self._unanswered:
            self.reload()
        for work in self:
            if work.asked:
                self._look_for_mount(work)
            if work.upload.state == "sealed":
                self._seal_anew(work)
        self.seal()
        self._outbox.wake()

    def _look_for_mount(self, work: Work) -> None:
        """Take an upload without any file up anew when a drive was mounted there: it belongs to that drive now."""
        try:
            plan = self._plan(work.upload)
        except Refusal:
            return
        if plan.mount == work.upload.mount:
            return
        with self._store.transaction() as db:
            Uploads.open(db, work.upload.number, plan.mount, work.upload.closing)
        self._let_go(work.upload.number)
        self.reload()

    def forget_old(self) -> None:
        """Forget the files of uploads that were over long ago, some folders at a time."""
        days = max(self._settings.keep_days, self._settings.reopen_days)
        before = self._clock.now_ns() / 1e9 - days * 86400
        with self._store.transaction() as db:
            for number in Uploads.forgettable(db, before):
                Files.forget(db, number, FOLDERS_AT_ONCE)
                Choices.forget(db, number)

    def seal(self) -> None:
        """Seal the open uploads that are complete."""
        for work in self:
            if work.upload.state == "open" and may_close(work) and work.at_rest:
                self._seal(work)

    def _seal_anew(self, work: Work) -> None:
        """Seal once more, where a receipt has changed what belongs to the upload, or where no answer came."""
        now, patience_s = self._clock.now_ns() / 1e9, self._settings.receipt_patience_s
        with self._store.transaction() as db:
            work.upload = Uploads.get(db, work.upload.upload_id) or work.upload
            seal_again(db, work.upload, now, patience_s)
        self._seal(work)

    def _seal(self, work: Work) -> None:
        now, patience_s = self._clock.now_ns() / 1e9, self._settings.receipt_patience_s
        with self._store.transaction() as db:
            if not may_seal(db, work) or self._lingering.holds(db, work):
                return
            self._count(db, work)
            manifest = seal(db, work.upload, now, patience_s)
            crash_point("watcher.sealing")
            renewed = Uploads.get(db, work.upload.upload_id)
        crash_point("watcher.sealed")
        assert renewed is not None
        self._renew(work, renewed)
        self._outbox.wake()
        log.info("upload_sealed", upload_id=work.upload.upload_id, manifest=manifest)

    def count(self) -> None:
        """Say of each upload what it has come to, at most once a second and only what is new."""
        now = self._clock.monotonic()
        due = [work for work in self if work.count_due is not None and work.count_due <= now]
        if not due:
            return
        with self._store.transaction() as db:
            for work in due:
                self._count(db, work)
        self._outbox.wake()

    def _count(self, db: sqlite3.Connection, work: Work) -> None:
        work.stirred, work.counted_at = False, self._clock.monotonic()
        self._lingering.speak(db, work)
        counts = scanned(db, work)
        if self._said.get(work.upload.number) != counts:
            self._said[work.upload.number] = counts
            say(db, work.upload, counts)

    def _open(self, upload: Upload) -> None:
        try:
            plan = self._plan(upload)
        except Refusal as refusal:
            with self._store.transaction() as db:
                Uploads.set_state(db, upload.number, "rejected")
                data = UploadRejected(
                    upload_id=upload.upload_id, reason=refusal.reason, detail=refusal.detail, hint=refusal.hint
                )  # fmt: skip
                say(db, upload, data, "")
            self._outbox.wake()
            log.info("upload_rejected", upload_id=upload.upload_id, reason=refusal.reason)
            return
        closing = "batch" if upload.request.mode == "batch" else ""
        with self._store.transaction() as db:
            Uploads.open(db, upload.number, plan.mount, closing)
            Uploads.set_place(db, upload.number, plan.root, plan.places)
            say(db, upload, UploadOpened(upload_id=upload.upload_id), "")
            opened = Uploads.get(db, upload.upload_id)
        assert opened is not None
        crash_point("watcher.opened")
        self._outbox.wake()
        self._begin(opened, plan)
        log.info("upload_opened", upload_id=upload.upload_id, root=upload.request.root)

    def _plan(self, upload: Upload) -> Plan:
        root = upload.request.root
        try:
            return self._patience.ask(root, lambda: self._opening.plan(upload.request))
        except NoAnswer as error:
            raise Refusal(
                "root-silent",
                f"{root} does not answer.",
                "Check the network and the server of this drive, then try again.",
            ) from error

    def _resume(self, upload: Upload) -> None:
        """Go on with an upload of a former run; where its root is away now, it waits for it."""
        try:
            plan = self._patience.ask(
                upload.request.root,
                lambda: self._opening.resumed(upload),
                ("resume", upload.number),
            )
        except NoAnswer:
            self._unanswered = True
            return
        if not upload.root:
            with self._store.transaction() as db:
                Uploads.set_place(db, upload.number, plan.root, plan.places)
        self._begin(upload, plan)

    def _begin(self, upload: Upload, plan: Plan) -> None:
        settings = self._settings
        work = Work(
            upload,
            plan.disk(self._disks),
            plan.selection,
            self._store,
            self._clock,
            quiet=Quiet.of(
                upload.request.quiet_period_s,
                factor=settings.closed_quiet_factor,
                least_s=settings.closed_quiet_least_s,
            ),
            interval=Interval(settings.scan_interval_s, settings.poll_interval_s),
            sources=plan.sources,
            barred=plan.barred,
            earlier=earlier_of(self._store, plan.root, upload.request),
            patience_s=settings.catalogue_patience_s,
        )
        self._works[upload.number] = work
        self._choose(work)
        if plan.barred:
            log.warning("root_barred", upload_id=upload.upload_id, root=os.fsdecode(plan.root), hint=BARRED)
        elif upload.state == "open":
            self._watching.take(work)
        else:
            work.rest()

    def _renew(self, work: Work, upload: Upload) -> None:
        was, work.upload = work.upload, upload
        work.ready = True
        self._choose(work)
        if upload.state == "sealed" and was.state == "open":
            self._watching.leave(work)
            work.rest()
        elif upload.closing and not was.closing:
            work.closing.since = self._clock.monotonic()
            work.settling.hasten(work.closing.since)
            work.rescan()

    def _choose(self, work: Work) -> None:
        with self._store.reading() as db:
            work.choose(Choices.of(db, work.upload.number))

    def _ask_again(self, db: sqlite3.Connection, work: Work) -> None:
        """Ask the catalog once more whether the upload may write its dataset: its word may have been lost."""
        now = self._clock.monotonic()
        if work.held and now - work.word.asked_at >= self._settings.receipt_patience_s:
            work.word.asked_at = now
            Uploads.set_recall(db, work.upload.number, "")

    def _let_go(self, number: int) -> None:
        work = self._works.pop(number)
        self._said.pop(number, None)
        self._entries += work.entries
        self._watching.leave(work)
        work.rest()

    def _look_into_suspects(self, db: sqlite3.Connection, work: Work) -> None:
        """Read files again of which somebody says that they are not what was announced."""
        if work.lost or work.upload.paused:
            return
        rows = Files.in_state(db, work.upload.number, "suspect", SUSPECTS_AT_ONCE)
        for row in rows:
            if row.path in work.settling:
                continue
            recorder, choice = Recorder(db, self._clock), work.choices.get(row.path)
            if choice is not None and not choice.take:
                recorder.leave_out(work, row.path, choice)
                continue
            try:
                seen = look(work.disk, row.path)
            except FolderError as problem:
                if isinstance(problem, Vanished):
                    recorder.missing(work, row.path)
                continue
            now, takes = self._clock.monotonic(), choice is not None and recorder.take_again(work, row.path, choice)
            at_once = choice is None or takes  # one that could not be taken has to rest
            work.settling.see(row.path, stamp_of(seen), now, fresh=False, at_once=at_once)
            if takes:
                work.settling.take(row.path, now)
