"""The one thread that owns what is known of open uploads: it looks, waits, has files read, and writes it down."""

import sqlite3
import threading
import time
from collections import defaultdict
from dataclasses import dataclass

import structlog

from datauploader.reliability.worker import WorkerThread
from datauploader_watcher.adapters.hashing import DriveHashPools, HashResult
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.discovery.folder_watches import FolderWatches
from datauploader_watcher.discovery.late_changes import LateChangeScan
from datauploader_watcher.ledger.writer import LedgerWriter
from datauploader_watcher.loop_inbox import LoopEvents, LoopInbox
from datauploader_watcher.outgoing.announcer import MOST_WAITING, Announcer
from datauploader_watcher.rules.standing_rules import StandingRules
from datauploader_watcher.uploads.open_uploads import OpenUploads
from datauploader_watcher.uploads.session import UploadSession

log = structlog.get_logger()

MOST_READING = 4096
"""Files of one upload that may be with the hashing threads at once."""
LEAST_SETTLING = 1000
"""Files that each upload may have waiting, however many uploads share the limit."""
LOOK_S = 0.02
"""For so long one upload looks at its folders before the next one has its turn."""
CHORES_S = 1.0
"""How often what needs no haste is looked after."""
COUNT_WATCHES_S = 30.0
TURN_S = 0.01
WRITE_S = 0.05
"""The time between turns, and between those that write, while there is no end of news: what comes meanwhile is one
look, one transaction and one event, not many."""
AT_ONCE_S = 0.1
"""By so much turns may be ahead of that: whoever comes alone waits for nothing."""
WAIT_FOR_OUTBOX_S = 0.05
WAIT_FOR_DRIVE_S = 0.03
AFTER_TROUBLE_S = 2.0
TROUBLE_SHOWN_S = 30.0
"""How long nothing must go wrong before a trouble is over: on a full disk small writes still succeed in between."""


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """The status of the loop, as other threads may know it."""

    at: float
    """Monotonic seconds of the latest turn; an old one means that the disk does not answer."""
    uploads: int = 0
    entries: int = 0
    overflows: int = 0
    troubles: tuple[str, ...] = ()


class Loop:
    """See the module."""

    def __init__(self, context: WatcherContext, standing: StandingRules) -> None:
        """Prepare, without starting a thread."""
        settings, clock = context.settings, context.clock
        self._store, self._outbox, self._clock, self._settings = context.store, context.outbox, clock, settings
        self._rules, self._admission = standing, context.admission
        self.inbox = LoopInbox()
        self._hashers = DriveHashPools(settings.hash_workers, self.inbox.outcomes, sha1=settings.sha1)
        self._watches = FolderWatches(settings, self.inbox)
        self._announcer = Announcer(clock, settings.receipt_patience_s)
        self._writer = LedgerWriter(self._store, clock, self._announcer)
        self._uploads = OpenUploads(context, self._watches)
        self._late_changes = LateChangeScan(context)
        self._chores_at = self._count_at = 0.0
        self._overflows = 0
        self._outbox_full = False
        self._trouble = ""
        self._trouble_at = 0.0
        self._failed = False
        self._ended = threading.Event()
        self._wrote = False
        self._next_turn = 0.0
        """When the next turn would come if none were ahead (monotonic, not of the clock that tests set)."""
        self.status = LoopStatus(clock.monotonic())
        self._thread = WorkerThread(self._run, name="watch-loop")

    def start(self) -> None:
        """Take up every open upload and go on."""
        self._watches.start()
        self.inbox.reload()
        self._thread.start()

    def stop(self, deadline_s: float) -> None:
        """End; what is unfinished will be found again."""
        self._ended.set()
        self._late_changes.stop()
        self.inbox.nudge()
        self._hashers.stop(deadline_s)
        if self._thread.is_alive():
            self._thread.join(deadline_s)
        self._watches.stop(deadline_s)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._turn(self.inbox.drain())
                self._failed = False
                if self._trouble and self._clock.monotonic() - self._trouble_at >= TROUBLE_SHOWN_S:
                    self._trouble = ""
            except sqlite3.OperationalError as error:  # a full disk: what was not kept is found again by a scan
                if not self._trouble:
                    log.error("state_file_write_failed", problem=str(error))  # noqa: TRY400 - a sentence
                self._start_over(
                    f"the watcher cannot write its state file ({error}): free space on that disk; it continues "
                    "automatically"
                )
            except Exception:  # the loop's boundary: a defect must be heard of, and must not end the watching
                log.exception("watcher_loop_failed")
                self._start_over("an unexpected error occurred in the watcher; its log has the details")
            pause = self._pause()
            self.inbox.wait(pause)
            if pause or self._wrote:  # else a scan goes on
                now = time.monotonic()
                self._next_turn = max(self._next_turn, now) + (WRITE_S if self._wrote else TURN_S)
                self._ended.wait(max(0.0, self._next_turn - AT_ONCE_S - now))
        for session in self._uploads:
            session.stop_scanning()

    def _turn(self, mail: LoopEvents) -> None:
        if mail.reload:
            for number in self._uploads.reload():
                self._hashers.forget(number)
        self._take_hints(mail)
        for session in self._uploads:
            self._look(session)
            if not session.lost and not session.upload.paused:
                most = MOST_READING - session.stability.reading
                if due := session.stability.take_due(self._clock.monotonic(), most):
                    self._hashers.hash(session.upload.number, session.disk, due, md5=session.md5)
        self._write_down(mail.outcomes)
        self._rules.scan_roots()
        self._uploads.count()
        now = self._clock.monotonic()
        if now >= self._chores_at:
            self._chores_at = now + CHORES_S
            self._uploads.chores()
            self._late_changes.scan_due()
            with self._store.transaction() as db:
                self._announcer.announce_overdue(db, [session for session in self._uploads if session.may_announce])
            if now >= self._count_at:
                self._count_at = now + COUNT_WATCHES_S
                self._watches.count()
        of_works = [sentence for session in self._uploads for sentence in (session.away, session.unheard)]
        sentences = (self._trouble, self._watches.short, *of_works, *self._admission.problems, *self._rules.problems)
        troubles = tuple(sentence for sentence in sentences if sentence)
        self.status = LoopStatus(now, len(self._uploads), self._uploads.entries, self._overflows, troubles)

    def _take_hints(self, mail: LoopEvents) -> None:
        for notice in mail.notices.values():
            self._watches.route(notice)
        for folder, problem in mail.watched:
            self._watches.note_watched(folder, problem)
        if mail.overflows:
            self._overflows += mail.overflows
            log.warning("events_lost", times=self._overflows)
            for session in self._uploads:
                if session.upload.state == "open":
                    session.hasten_scan()

    def _look(self, session: UploadSession) -> None:
        if session.upload.state != "open":
            return
        away = session.lost
        until = self._clock.monotonic() + LOOK_S
        while not self._crowded(session) and session.step() and self._clock.monotonic() < until:
            pass
        if session.lost and not away:
            log.warning("root_lost", upload_id=session.upload.upload_id, problem=session.lost)
        elif away and not session.lost:
            log.info("root_recovered", upload_id=session.upload.upload_id)
            self._watches.rewatch_upload(session)

    def _write_down(self, outcomes: list[HashResult]) -> None:
        by_session: defaultdict[int, list[HashResult]] = defaultdict(list)
        for outcome in outcomes:
            by_session[outcome.upload].append(outcome)
        now = self._clock.monotonic()
        to_record = [
            session for session in self._uploads if session.upload.number in by_session or session.has_omissions(now)
        ]
        to_announce = self._uploads.to_announce()
        self._wrote = False
        if not to_record and not to_announce:
            return
        room = MOST_WAITING - self._outbox.waiting()
        self._outbox_full = room <= 0
        self._wrote = bool(to_record) or room > 0
        if not self._wrote:
            return
        self._writer.write([(session, by_session[session.upload.number]) for session in to_record], to_announce, room)
        self._outbox.wake()
        self._uploads.seal()

    def _start_over(self, trouble: str) -> None:
        self._trouble, self._trouble_at, self._failed = trouble, self._clock.monotonic(), True
        for session in self._uploads:
            session.forget_unrecorded()
        self._chores_at = self._clock.monotonic() + AFTER_TROUBLE_S

    def _pause(self) -> float:
        """Say how long there is nothing to do without any news."""
        if self._failed:
            return AFTER_TROUBLE_S
        now = self._clock.monotonic()
        times: list[float | None] = [self._chores_at, now + CHORES_S, self._rules.due]
        for session in self._uploads:
            times.append(session.count_due)
            if (due := session.announcement_due) is not None:
                times.append(max(due, now + WAIT_FOR_OUTBOX_S) if self._outbox_full else due)
            if session.upload.state == "open" and not self._crowded(session):
                times.append(now if session.looking else session.next_look)
                times.append(now + WAIT_FOR_DRIVE_S if session.waiting else None)
            if not (session.lost or session.upload.paused or session.stability.reading >= MOST_READING):
                times.append(session.stability.next_due)
        return max(0.0, min(time for time in times if time is not None) - now)

    def _crowded(self, session: UploadSession) -> bool:
        """Tell whether so many files wait for their quiet period that no further ones are looked for."""
        return len(session.stability) >= max(LEAST_SETTLING, self._settings.most_settling // len(self._uploads))
