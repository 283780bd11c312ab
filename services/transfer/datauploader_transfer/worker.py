"""Moves what waits: takes batches of one upload in turn, moves them, and says what became of each file."""

import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import structlog

from datauploader.contracts import (
    Station,
)
from datauploader.reliability import Outbox, Store
from datauploader.reliability.worker import WorkerThread
from datauploader.runtime.crash_points import crash_point
from datauploader_transfer.domain.plan import LARGE, fair_share, large_or_small
from datauploader_transfer.leases import LeasedMover
from datauploader_transfer.ledger import Job, JobTable, UploadRoute, UploadRoutes
from datauploader_transfer.moving import BatchMover
from datauploader_transfer.ports import Mover
from datauploader_transfer.provenance import ProvenanceCheck
from datauploader_transfer.remote_breaker import RemoteCircuitBreaker
from datauploader_transfer.settings import TransferSettings

log = structlog.get_logger()

T = TypeVar("T")

LOOK_AGAIN_S = 1.0
"""How often an upload is thought of again that waits and cannot be taken."""


class TransferWorker:
    """Threads that move batches; uploads take turns, a path is in one batch at a time."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        mover: Mover,
        settings: TransferSettings,
        here: Station,
        provenance: ProvenanceCheck,
    ) -> None:
        """Prepare; nothing runs before `start`."""
        self._store, self._settings = store, settings
        self.breaker = RemoteCircuitBreaker()
        self._trials: set[int] = set()
        """The threads that send the one file which shows how a remote is."""
        self._change = threading.Condition()
        self._cancel = threading.Event()
        self._batches = BatchMover(
            store, outbox, mover, settings, here, provenance, breaker=self.breaker, on_moved=self._note_moved,
            cancel=self._cancel,
        )  # fmt: skip
        self._locks: dict[str, set[bytes]] = defaultdict(set)
        self._here_alone: dict[str, set[bytes]] = defaultdict(set)
        """Paths that a mover elsewhere could not store: they are tried and judged here."""
        self._interrupted: list[tuple[str, bytes]] = []
        """What a former run was moving, while a mover elsewhere may still have it."""
        self._free_at = float("inf")
        self._started = threading.Event()
        self._elsewhere: list[WorkerThread] = []
        self._turns: dict[str, float] = {}
        self._moved: dict[str, int] = defaultdict(int)
        self._large: set[int] = set()
        """The threads that send large files."""
        self._after_large = False
        self._threads = [WorkerThread(self._run, name=f"mover.{n}") for n in range(settings.movers)]

    def start(self) -> None:
        """Begin with what a former run left undone; what it lent is left alone until every lease is over."""
        with self._store.transaction() as db:
            interrupted = JobTable(db).interrupted()
            if not self._settings.movers_elsewhere:
                JobTable(db).requeue_interrupted(interrupted)
            elif interrupted:
                self._interrupted, self._free_at = interrupted, time.monotonic() + self._settings.lease_s
                for upload_id, path in interrupted:
                    self._locks[upload_id].add(path)
        for thread in self._threads:
            thread.start()
        self._started.set()

    def employ(self, mover: LeasedMover) -> None:
        """Move through a mover elsewhere as well, until it is gone."""
        thread = WorkerThread(partial(self._run_elsewhere, mover), name=f"mover.{mover.name}")
        with self._change:
            self._elsewhere.append(thread)
        thread.start()

    def wake(self) -> None:
        """Say that the ledger has changed."""
        with self._change:
            if self._elsewhere:  # one of them may be woken and have no mover that asks
                self._change.notify_all()
            else:
                self._change.notify()

    def stop(self, deadline_s: float) -> None:
        """Cancel what runs and begin nothing; what was not finished waits for the next start."""
        self._cancel.set()
        with self._change:
            self._change.notify_all()
        end = time.monotonic() + deadline_s
        for thread in (*self._threads, *self._elsewhere):
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def moved_bytes(self) -> dict[str, int]:
        """Return the bytes that were moved since the start, by upload."""
        with self._change:
            return dict(self._moved)

    def _note_moved(self, upload_id: str, size: int) -> None:
        with self._change:
            self._moved[upload_id] += max(0, size)

    def moving(self) -> dict[str, int]:
        """Count the files that move now, by upload."""
        with self._change:
            return {upload_id: len(paths) for upload_id, paths in self._locks.items() if paths}

    def _run_elsewhere(self, mover: LeasedMover) -> None:
        try:
            while not self._started.wait(LOOK_AGAIN_S) and not self._cancel.is_set():
                pass
            self._run(mover)
        finally:
            with self._change:
                self._elsewhere.remove(cast("WorkerThread", threading.current_thread()))

    def _run(self, elsewhere: LeasedMover | None = None) -> None:
        while (taken := self._patiently(partial(self._take, elsewhere))) is not None:
            upload, jobs = taken
            try:
                with structlog.contextvars.bound_contextvars(upload_id=upload.upload_id):
                    left = self._batches.move(upload, jobs, elsewhere)
                with self._change:
                    self._here_alone[upload.upload_id].update(left)
            except Exception:  # the boundary of one batch: the others must go on
                log.exception("batch_failed")
                self._patiently(lambda: self._batches.put_back(upload, jobs))  # noqa: B023 - called at once
                self._cancel.wait(1.0)
            finally:
                with self._change:
                    self._locks[upload.upload_id].difference_update(job.file.raw for job in jobs)
                    if elsewhere is None:
                        self._here_alone[upload.upload_id].difference_update(job.file.raw for job in jobs)
                    self._large.discard(threading.get_ident())
                    if threading.get_ident() in self._trials:
                        self._trials.discard(threading.get_ident())
                        self.breaker.end_trial(upload.remote)
                    self._change.notify()

    def _patiently(self, step: Callable[[], T]) -> T | None:
        """Do something with the state file, again for as long as a full disk keeps it from being done."""
        while not self._cancel.is_set():
            try:
                return step()
            except sqlite3.DatabaseError as error:
                why = f"{error}: free space on its disk; it continues automatically"
                log.error("state_file_write_failed", problem=why)  # noqa: TRY400 - a sentence
                self._cancel.wait(1.0)
        return None

    def _take(self, elsewhere: LeasedMover | None) -> tuple[UploadRoute, list[Job]] | None:
        with self._change:
            while not self._cancel.is_set():
                if elsewhere is not None and not elsewhere.ready:
                    if elsewhere.gone:
                        return None
                    self._change.wait(LOOK_AGAIN_S)
                    continue
                now = time.time()
                self._cap_waits(now)
                self._free_interrupted()
                with self._store.reading() as db:
                    table = JobTable(db)
                    waiting, later = table.movable_uploads(now), table.next_job_due(now)
                for upload_id in sorted(waiting, key=lambda u: self._turns.get(u, 0.0)):
                    if taken := self._take_from(upload_id, now, len(waiting), elsewhere):
                        return taken
                # of an upload whose drive owes an answer, of a mover that may go, of leases that end
                soon = now + LOOK_AGAIN_S if waiting or elsewhere or self._interrupted else None
                times = [t for t in (later, self.breaker.next_end(now), soon) if t is not None]
                self._change.wait(max(0.05, min([*times, now + 30.0]) - now))
        return None

    def _cap_waits(self, now: float) -> None:
        """Let nobody wait longer than the longest pause, because the clock was ahead when the pause began."""
        latest = now + self._batches.longest_pause_s
        self.breaker.cap_pauses(latest)
        with self._store.reading() as db:
            last = JobTable(db).last_job_due()
        if last is not None and last > latest:
            with self._store.transaction() as db:
                JobTable(db).cap_job_waits(latest)

    def _free_interrupted(self) -> None:
        """Have that moved which a former run had lent, once every lease of then is over."""
        if not self._interrupted or time.monotonic() < self._free_at:
            return
        with self._store.transaction() as db:
            JobTable(db).requeue_interrupted(self._interrupted)
        for upload_id, path in self._interrupted:
            self._locks[upload_id].discard(path)
        self._interrupted = []

    def _take_from(
        self, upload_id: str, now: float, waiting: int, elsewhere: LeasedMover | None
    ) -> tuple[UploadRoute, list[Job]] | None:
        with self._store.reading() as db:
            upload = UploadRoutes(db).find_route(upload_id)
        if elsewhere is not None and self.breaker.problem(upload.remote):
            return None  # how a storage is that was not well is found out from here
        movers = len(self._threads) + len(self._elsewhere)
        most = fair_share(self._settings.batch_files, movers, waiting, begun=upload_id in self._turns)
        most = self.breaker.admits(upload.remote, now, most)
        if not most or self._batches.source_owes_answer(upload):
            return None
        jobs: list[Job] = []
        kinds = (None,) if most == 1 else large_or_small(
            movers, len(self._large), after_large=self._after_large
        )  # fmt: skip
        with self._store.transaction() as db:
            for large in kinds:
                jobs = jobs or JobTable(db).take_jobs(
                    upload_id, now, most_files=most, most_bytes=self._settings.batch_bytes,
                    busy=self._locks[upload_id] | (self._here_alone[upload_id] if elsewhere else set()), large=large,
                )  # fmt: skip
        if not jobs:
            return None
        self._after_large = jobs[0].file.size >= LARGE
        if self._after_large:
            self._large.add(threading.get_ident())
        crash_point("transfer.taken")
        self._locks[upload_id].update(job.file.raw for job in jobs)
        self._turns[upload_id] = time.monotonic()
        if self.breaker.begin_trial(upload.remote):
            self._trials.add(threading.get_ident())
        return upload, jobs
