"""The one thread that owns what is known of open uploads: it looks, waits, has files read, and writes it down."""

import sqlite3
import threading
from collections import defaultdict
from dataclasses import dataclass

import structlog

from datauploader.threads import WorkerThread
from datauploader_watcher.adapters.hashing import Outcome
from datauploader_watcher.adapters.pools import Pools
from datauploader_watcher.afterwards import Afterwards
from datauploader_watcher.announcing import MOST_WAITING, Announcer
from datauploader_watcher.ground import Ground
from datauploader_watcher.mailbox import Mail, Mailbox
from datauploader_watcher.standing import Standing
from datauploader_watcher.watching import Watching
from datauploader_watcher.work import Work
from datauploader_watcher.works import Works
from datauploader_watcher.writing import Writer

log = structlog.get_logger()

MOST_READING = 4096
"""Files of one upload that may be with the hashing threads at once."""
LEAST_SETTLING = 1000
"""Files that each upload may have waiting, however many uploads share the limit."""
STEPS = 5
"""Slices of a scan that one upload gets before the next one has its turn."""
CHORES_S = 1.0
"""How often what needs no haste is looked after."""
COUNT_WATCHES_S = 30.0
BREATH_S = 0.02
"""The pause after a turn that wrote something: what comes meanwhile is one transaction and one event, not many."""
WAIT_FOR_OUTBOX_S = 0.05
WAIT_FOR_DRIVE_S = 0.03
AFTER_TROUBLE_S = 2.0
TROUBLE_SHOWN_S = 30.0
"""How long nothing must go wrong before a trouble is over: on a full disk small writes still succeed in between."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What other threads may know of the loop."""

    at: float
    """Monotonic seconds of the latest turn; an old one means that the disk does not answer."""
    uploads: int = 0
    entries: int = 0
    overflows: int = 0
    troubles: tuple[str, ...] = ()


class Loop:
    """See the module."""

    def __init__(self, ground: Ground, standing: Standing) -> None:
        """Prepare, without starting a thread."""
        settings, clock = ground.settings, ground.clock
        self._store, self._outbox, self._clock, self._settings = ground.store, ground.outbox, clock, settings
        self._standing, self._opening = standing, ground.opening
        self.mailbox = Mailbox()
        self._hashers = Pools(settings.hash_workers, self.mailbox.outcomes, sha1=settings.sha1)
        self._watching = Watching(settings, self.mailbox)
        self._announcer = Announcer(clock, settings.receipt_patience_s)
        self._writer = Writer(self._store, clock, self._announcer)
        self._works = Works(ground, self._watching)
        self._afterwards = Afterwards(ground)
        self._chores_at = self._count_at = 0.0
        self._overflows = 0
        self._outbox_full = False
        self._trouble = ""
        self._trouble_at = 0.0
        self._failed = False
        self._ended = threading.Event()
        self._wrote = False
        self.glance = Glance(clock.monotonic())
        self._thread = WorkerThread(self._run, name="watch-loop")

    def start(self) -> None:
        """Take up every open upload and go on."""
        self._watching.start()
        self.mailbox.reload()
        self._thread.start()

    def stop(self, deadline_s: float) -> None:
        """End; what is unfinished will be found again."""
        self._ended.set()
        self._afterwards.stop()
        self.mailbox.nudge()
        self._hashers.stop(deadline_s)
        if self._thread.is_alive():
            self._thread.join(deadline_s)
        self._watching.stop(deadline_s)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._turn(self.mailbox.take())
                self._went_well()
            except sqlite3.OperationalError as error:
                self._cannot_write(error)
            except Exception:  # the loop's boundary: a defect must be heard of, and must not end the watching
                log.exception("watch_loop_failed")
                self._start_over("an unexpected error occurred in the watcher; its log has the details")
            self.mailbox.wait(self._pause())
            if self._wrote:
                self._ended.wait(BREATH_S)
        for work in self._works:
            work.rest()

    def _turn(self, mail: Mail) -> None:
        if mail.reload:
            for number in self._works.reload():
                self._hashers.forget(number)
        self._take_hints(mail)
        for work in self._works:
            self._look(work)
            self._read(work)
        self._write_down(mail.outcomes)
        self._standing.look()
        self._works.count()
        now = self._clock.monotonic()
        if now >= self._chores_at:
            self._chores_at = now + CHORES_S
            self._chores(now)
        self.glance = Glance(now, len(self._works), self._works.entries, self._overflows, self._troubles())

    def _take_hints(self, mail: Mail) -> None:
        for notice in mail.notices.values():
            self._watching.route(notice)
        for folder, problem in mail.watched:
            self._watching.began(folder, problem)
        if mail.overflows:
            self._overflows += mail.overflows
            log.warning("events_lost", times=self._overflows)
            for work in self._works:
                if work.upload.state == "open":
                    work.hasten()

    def _look(self, work: Work) -> None:
        if work.upload.state != "open":
            return
        away = work.lost
        for _ in range(STEPS):
            if self._crowded(work) or not work.step():
                break
        if work.lost and not away:
            log.warning("root_lost", upload_id=work.upload.upload_id, problem=work.lost)
        elif away and not work.lost:
            log.info("root_is_back", upload_id=work.upload.upload_id)
            self._watching.again(work)

    def _read(self, work: Work) -> None:
        if work.lost or work.upload.paused:
            return
        due = work.settling.take_due(self._clock.monotonic(), MOST_READING - work.settling.reading)
        if due:
            self._hashers.hash(work.upload.number, work.disk, due)

    def _write_down(self, outcomes: list[Outcome]) -> None:
        by_work: defaultdict[int, list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            by_work[outcome.upload].append(outcome)
        now = self._clock.monotonic()
        to_record = [work for work in self._works if work.upload.number in by_work or work.has_omissions(now)]
        to_announce = self._works.to_announce()
        self._wrote = False
        if not to_record and not to_announce:
            return
        room = MOST_WAITING - self._outbox.waiting()
        self._outbox_full = room <= 0
        self._wrote = bool(to_record) or room > 0
        if not self._wrote:
            return
        self._writer.write([(work, by_work[work.upload.number]) for work in to_record], to_announce, room)
        self._outbox.wake()
        self._works.seal()

    def _chores(self, now: float) -> None:
        self._works.chores()
        self._afterwards.look()
        with self._store.transaction() as db:
            self._announcer.remind(db, [work for work in self._works if work.may_announce])
        if now >= self._count_at:
            self._count_at = now + COUNT_WATCHES_S
            self._watching.count()
            self._works.forget_old()

    def _went_well(self) -> None:
        self._failed = False
        if self._trouble and self._clock.monotonic() - self._trouble_at >= TROUBLE_SHOWN_S:
            self._trouble = ""

    def _cannot_write(self, error: sqlite3.OperationalError) -> None:
        """Go on when the state file cannot be written (a full disk): what was not kept is found again by a scan."""
        if not self._trouble:
            log.error("state_not_written", problem=str(error))
        self._start_over(
            f"the watcher cannot write its state file ({error}): free space on that disk; it continues automatically"
        )

    def _start_over(self, trouble: str) -> None:
        self._trouble, self._trouble_at, self._failed = trouble, self._clock.monotonic(), True
        for work in self._works:
            work.forget()
        self._chores_at = self._clock.monotonic() + AFTER_TROUBLE_S

    def _pause(self) -> float:
        """Say how long there is nothing to do without any news."""
        if self._failed:
            return AFTER_TROUBLE_S
        now = self._clock.monotonic()
        times: list[float | None] = [self._chores_at, now + CHORES_S, self._standing.due]
        for work in self._works:
            times.append(work.count_due)
            if work.ready and (until := work.announces_at) is not None and until > now:
                times.append(until)
            elif work.ready and work.may_announce:
                times.append(now + (WAIT_FOR_OUTBOX_S if self._outbox_full else 0))
            if work.upload.state == "open" and not self._crowded(work):
                times.append(now if work.looking else work.next_look)
                times.append(now + WAIT_FOR_DRIVE_S if work.waiting else None)
            if not (work.lost or work.upload.paused or work.settling.reading >= MOST_READING):
                times.append(work.settling.next_due)
        return max(0.0, min(time for time in times if time is not None) - now)

    def _crowded(self, work: Work) -> bool:
        """Tell whether so many files wait for their quiet period that no further ones are looked for."""
        return len(work.settling) >= max(LEAST_SETTLING, self._settings.most_settling // len(self._works))

    def _troubles(self) -> tuple[str, ...]:
        of_works = [sentence for work in self._works for sentence in (work.away, work.unheard)]
        sentences = (self._trouble, self._watching.short, *of_works, *self._opening.troubles, *self._standing.troubles)
        return tuple(sentence for sentence in sentences if sentence)
