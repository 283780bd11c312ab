"""The registry of open uploads: taken up from the ledger, refused, looked into after a receipt, sealed, let go."""

import os
import sqlite3
from collections.abc import Iterator
from functools import partial

import structlog

from datauploader.contracts.uploads import UploadOpened, UploadRejected, UploadScanned
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard
from datauploader.runtime.crash_points import crash_point
from datauploader_watcher.adapters.disk import BARRED, lstat, stamp_of
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.discovery.folder_watches import FolderWatches
from datauploader_watcher.domain.stability import QuietPeriod
from datauploader_watcher.errors import FolderError, PathMissing, UploadRefused
from datauploader_watcher.ledger.choices import RestlessChoiceTable
from datauploader_watcher.ledger.files import FileTable
from datauploader_watcher.ledger.uploads import OPEN, UploadRow, UploadTable
from datauploader_watcher.outgoing.publishing import say
from datauploader_watcher.outgoing.recorder import Recorder
from datauploader_watcher.uploads.admission import UploadPlan
from datauploader_watcher.uploads.earlier import earlier_of
from datauploader_watcher.uploads.open_writers import OpenWriters
from datauploader_watcher.uploads.rescan_queue import ScanInterval
from datauploader_watcher.uploads.sealing import (
    close_by_itself,
    may_close,
    may_seal,
    scanned,
    seal,
    seal_again,
)
from datauploader_watcher.uploads.session import UploadSession

log = structlog.get_logger()

SUSPECTS_AT_ONCE = 500


class OpenUploads:
    """The registry of the sessions of all open uploads, by the upload's number in the ledger."""

    def __init__(self, context: WatcherContext, watching: FolderWatches) -> None:
        """Begin with none."""
        self._store, self._outbox, self._clock = context.store, context.outbox, context.clock
        self._settings, self._admission, self._disks = context.settings, context.admission, context.disks
        self._watches = watching
        self._uploads: dict[int, UploadSession] = {}
        self._said: dict[int, UploadScanned] = {}
        self._entries = 0
        """Entries that uploads looked at which are over."""
        self._hang_guard = HangGuard()
        self._open_writers = OpenWriters(context.clock, context.settings)
        self._unanswered = False
        """An upload of a former run cannot be taken up yet, because its drive does not answer."""

    def __iter__(self) -> Iterator[UploadSession]:
        return iter(tuple(self._uploads.values()))

    def __len__(self) -> int:
        return len(self._uploads)

    def get(self, number: int) -> UploadSession | None:
        """Return the session of an upload that is still open."""
        return self._uploads.get(number)

    @property
    def entries(self) -> int:
        """Directory entries looked at since the start."""
        return self._entries + sum(session.entries for session in self._uploads.values())

    def to_announce(self) -> list[UploadSession]:
        """Return the uploads that have something to announce; who was first is last the next time."""
        sessions = [session for session in self._uploads.values() if session.has_to_announce]
        if sessions:
            first = sessions[0].upload.number
            self._uploads[first] = self._uploads.pop(first)
        return sessions

    def reload(self) -> list[int]:
        """Take over what the ledger says; return the numbers of uploads that are over."""
        self._unanswered = False
        with self._store.reading() as db:
            uploads = {upload.number: upload for upload in UploadTable(db).in_states(OPEN)}
        over = [number for number in self._uploads if number not in uploads]
        for number in over:
            self._let_go(number)
        for upload in uploads.values():
            if upload.state == "requested":
                self._open(upload)
            elif upload.number in self._uploads:
                self._renew(self._uploads[upload.number], upload)
            else:  # of a former run; where its root is away now, it waits for it
                resumed = partial(self._admission.resumed, upload)
                try:
                    plan = self._hang_guard.call_with_deadline(upload.request.root, resumed, ("resume", upload.number))
                except DriveTimeout:
                    self._unanswered = True
                    continue
                if not upload.root:
                    with self._store.transaction() as db:
                        UploadTable(db).set_place(upload.number, plan.root, plan.places)
                self._begin(upload, plan)
        return over

    def chores(self) -> None:
        """Look after what needs no haste: suspects, closing, sealing, counting."""
        with self._store.transaction() as db:
            closed = False
            for session in self:
                self._look_into_suspects(db, session)
                if session.give_up_root():
                    log.warning("root_abandoned", upload_id=session.upload.upload_id, problem=session.lost)
                Recorder(db, self._clock).chosen(session)
                if session.given_up and may_close(session):
                    Recorder(db, self._clock).given_up(session)
                closed |= close_by_itself(db, session, self._clock.monotonic())
                if session.ask_approval_again(self._settings.receipt_patience_s):
                    UploadTable(db).set_recall(session.upload.number, "")
                session.count_again()
        if closed or self._unanswered:
            self.reload()
        for session in self:
            if session.question:
                self._look_for_mount(session)
            if session.upload.state == "sealed":  # once more, where a receipt has changed it, or where no answer came
                now, patience_s = self._clock.now_ns() / 1e9, self._settings.receipt_patience_s
                with self._store.transaction() as db:
                    session.upload = UploadTable(db).get(session.upload.upload_id) or session.upload
                    seal_again(db, session.upload, now, patience_s)
                self._seal(session)
        self.seal()
        self._outbox.wake()

    def _look_for_mount(self, session: UploadSession) -> None:
        """Take an upload without any file up anew when a drive was mounted there: it belongs to that drive now."""
        try:
            plan = self._plan(session.upload)
        except UploadRefused:
            return
        if plan.mount == session.upload.mount:
            return
        with self._store.transaction() as db:
            UploadTable(db).open(session.upload.number, plan.mount, session.upload.closing)
        self._let_go(session.upload.number)
        self.reload()

    def seal(self) -> None:
        """Seal the open uploads that are complete."""
        for session in self:
            if session.upload.state == "open" and may_close(session) and session.at_rest:
                self._seal(session)

    def _seal(self, session: UploadSession) -> None:
        now, patience_s = self._clock.now_ns() / 1e9, self._settings.receipt_patience_s
        with self._store.transaction() as db:
            if not may_seal(db, session) or self._open_writers.holds(db, session):
                return
            self._count(db, session)
            manifest = seal(db, session.upload, now, patience_s)
            crash_point("watcher.sealing")
            renewed = UploadTable(db).get(session.upload.upload_id)
        crash_point("watcher.sealed")
        assert renewed is not None
        self._renew(session, renewed)
        self._outbox.wake()
        log.info("upload_sealed", upload_id=session.upload.upload_id, manifest=manifest)

    def count(self) -> None:
        """Say of each upload what it has come to, at most once a second and only what is new."""
        now = self._clock.monotonic()
        due = [session for session in self if session.count_due is not None and session.count_due <= now]
        if not due:
            return
        with self._store.transaction() as db:
            for session in due:
                self._count(db, session)
        self._outbox.wake()

    def _count(self, db: sqlite3.Connection, session: UploadSession) -> None:
        session.note_counted()
        self._open_writers.speak(db, session)
        counts = scanned(db, session)
        if self._said.get(session.upload.number) != counts:
            self._said[session.upload.number] = counts
            say(db, session.upload, counts)

    def _open(self, upload: UploadRow) -> None:
        try:
            plan = self._plan(upload)
        except UploadRefused as refusal:
            with self._store.transaction() as db:
                UploadTable(db).set_state(upload.number, "rejected")
                data = UploadRejected(
                    upload_id=upload.upload_id, reason=refusal.reason, detail=refusal.detail, hint=refusal.hint
                )  # fmt: skip
                say(db, upload, data, "")
            self._outbox.wake()
            log.info("upload_rejected", upload_id=upload.upload_id, reason=refusal.reason)
            return
        closing = "batch" if upload.request.mode == "batch" else ""
        with self._store.transaction() as db:
            UploadTable(db).open(upload.number, plan.mount, closing)
            UploadTable(db).set_place(upload.number, plan.root, plan.places)
            say(db, upload, UploadOpened(upload_id=upload.upload_id), "")
            opened = UploadTable(db).get(upload.upload_id)
        assert opened is not None
        crash_point("watcher.opened")
        self._outbox.wake()
        self._begin(opened, plan)
        log.info("upload_opened", upload_id=upload.upload_id, root=upload.request.root)

    def _plan(self, upload: UploadRow) -> UploadPlan:
        root = upload.request.root
        try:
            return self._hang_guard.call_with_deadline(root, lambda: self._admission.plan(upload.request))
        except DriveTimeout as error:
            raise UploadRefused(
                "root-silent",
                f"{root} does not answer.",
                "Check the network and the server of this drive, then try again.",
            ) from error

    def _begin(self, upload: UploadRow, plan: UploadPlan) -> None:
        settings = self._settings
        session = UploadSession(
            upload,
            plan.disk(self._disks),
            plan.selection,
            self._store,
            self._clock,
            quiet=QuietPeriod.of(
                upload.request.quiet_period_s,
                factor=settings.closed_quiet_factor,
                least_s=settings.closed_quiet_least_s,
            ),
            interval=ScanInterval(settings.scan_interval_s, settings.poll_interval_s),
            sources=plan.sources,
            barred=plan.barred,
            earlier=earlier_of(self._store, plan.root, upload.request),
            patience_s=settings.catalogue_patience_s,
            md5=plan.md5,
        )
        self._uploads[upload.number] = session
        self._choose(session)
        if plan.barred:
            log.warning("root_barred", upload_id=upload.upload_id, root=os.fsdecode(plan.root), hint=BARRED)
        elif upload.state == "open":
            self._watches.watch_upload(session)
        else:
            session.stop_scanning()

    def _renew(self, session: UploadSession, upload: UploadRow) -> None:
        was, session.upload = session.upload, upload
        session.note_versions(waiting=True)
        self._choose(session)
        if upload.state == "sealed" and was.state == "open":
            self._watches.unwatch_upload(session)
            session.stop_scanning()
        elif upload.closing and not was.closing:
            session.begin_closing()

    def _choose(self, session: UploadSession) -> None:
        with self._store.reading() as db:
            session.take_choices(RestlessChoiceTable(db).of(session.upload.number))

    def _let_go(self, number: int) -> None:
        session = self._uploads.pop(number)
        self._said.pop(number, None)
        self._entries += session.entries
        self._watches.unwatch_upload(session)
        session.stop_scanning()

    def _look_into_suspects(self, db: sqlite3.Connection, session: UploadSession) -> None:
        """Read files again of which somebody says that they are not what was announced."""
        if session.lost or session.upload.paused:
            return
        rows = FileTable(db).in_state(session.upload.number, "suspect", SUSPECTS_AT_ONCE)
        for row in rows:
            if row.path in session.stability:
                continue
            recorder, choice = Recorder(db, self._clock), session.closing.choices.get(row.path)
            if choice is not None and not choice.take:
                recorder.leave_out(session, row.path, choice)
                continue
            try:
                seen = lstat(session.disk, row.path)
            except FolderError as problem:
                if isinstance(problem, PathMissing):
                    recorder.missing(session, row.path)
                continue
            now, takes = self._clock.monotonic(), choice is not None and recorder.take_again(session, row.path, choice)
            at_once = choice is None or takes  # one that could not be taken has to rest
            session.stability.observe_file(row.path, stamp_of(seen), now, fresh=False, at_once=at_once)
            if takes:
                session.stability.read_at_once(row.path, now)
