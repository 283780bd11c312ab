"""Moves what waits: takes batches of one upload in turn, moves them, and says what became of each file."""

import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from datauploader.contracts import (
    Destination,
    FailedFile,
    FileFailed,
    Station,
    StoredFile,
    decode,
    receipts,
)
from datauploader.contracts.batching import split
from datauploader.contracts.names import escape
from datauploader.files import nofollow
from datauploader.reliability import Outbox, Store
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard
from datauploader.reliability.worker import WorkerThread
from datauploader.runtime.crash_points import crash_point
from datauploader_transfer.attempt import BatchAttempt
from datauploader_transfer.domain.outcomes import failed as not_sent
from datauploader_transfer.domain.outcomes import source_silent
from datauploader_transfer.domain.plan import LARGE, fair_share, large_or_small
from datauploader_transfer.errors import BadRemote, TransferError
from datauploader_transfer.failure_policy import STORED, FailurePolicy
from datauploader_transfer.ledger import InterruptedWrites, Job, JobTable, UploadRoute, UploadRoutes, mover_target
from datauploader_transfer.owners import ObjectOwners
from datauploader_transfer.ports import UNPROVED, Item, Mover, Outcome, State
from datauploader_transfer.provenance import ConflictOrigin, ProvenanceCheck
from datauploader_transfer.remote_breaker import RemoteCircuitBreaker
from datauploader_transfer.roots import SourceRoots, Unmapped
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
        self._store, self._outbox, self._mover = store, outbox, mover
        self._settings, self._provenance = settings, provenance
        self._source_roots = SourceRoots(here, settings.root_maps, settings.roots)
        self.breaker = RemoteCircuitBreaker()
        self._policy = FailurePolicy(self.breaker, mover, settings)
        self._trials: set[int] = set()
        """The threads that send the one file which shows how a remote is."""
        self._hang_guard = HangGuard()
        self._change = threading.Condition()
        self._cancel = threading.Event()
        self._sweeping = threading.Lock()
        self._locks: dict[str, set[bytes]] = defaultdict(set)
        self._turns: dict[str, float] = {}
        self._longest_s = self._policy.longest_pause_s
        """The longest pause that there can be: longer ones are what a storage asked for since the start."""
        self._moved: dict[str, int] = defaultdict(int)
        self._large: set[int] = set()
        """The threads that send large files."""
        self._after_large = False
        self._threads = [WorkerThread(self._run, name=f"mover.{n}") for n in range(settings.movers)]

    def start(self) -> None:
        """Begin with what a former run left undone."""
        with self._store.transaction() as db:
            JobTable(db).requeue_interrupted()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that the ledger has changed."""
        with self._change:
            self._change.notify()

    def stop(self, deadline_s: float) -> None:
        """Cancel what runs and begin nothing; what was not finished waits for the next start."""
        self._cancel.set()
        with self._change:
            self._change.notify_all()
        end = time.monotonic() + deadline_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def moved_bytes(self) -> dict[str, int]:
        """Return the bytes that were moved since the start, by upload."""
        with self._change:
            return dict(self._moved)

    def moving(self) -> dict[str, int]:
        """Count the files that move now, by upload."""
        with self._change:
            return {upload_id: len(paths) for upload_id, paths in self._locks.items() if paths}

    def _run(self) -> None:
        while (taken := self._patiently(self._take)) is not None:
            upload, jobs = taken
            try:
                with structlog.contextvars.bound_contextvars(upload_id=upload.upload_id):
                    self._move(upload, jobs)
            except Exception:  # the boundary of one batch: the others must go on
                log.exception("batch_failed")
                self._patiently(lambda: self._put_back(upload, jobs))  # noqa: B023 - called at once
                self._cancel.wait(1.0)
            finally:
                with self._change:
                    self._locks[upload.upload_id].difference_update(job.file.raw for job in jobs)
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

    def _take(self) -> tuple[UploadRoute, list[Job]] | None:
        with self._change:
            while not self._cancel.is_set():
                now = time.time()
                self._cap_waits(now)
                with self._store.reading() as db:
                    table = JobTable(db)
                    waiting, later = table.movable_uploads(now), table.next_job_due(now)
                for upload_id in sorted(waiting, key=lambda u: self._turns.get(u, 0.0)):
                    if taken := self._take_from(upload_id, now, len(waiting)):
                        return taken
                silent = now + LOOK_AGAIN_S if waiting else None  # of an upload whose drive owes an answer
                times = [t for t in (later, self.breaker.next_end(now), silent) if t is not None]
                self._change.wait(max(0.05, min([*times, now + 30.0]) - now))
        return None

    def _cap_waits(self, now: float) -> None:
        """Let nobody wait longer than the longest pause, because the clock was ahead when the pause began."""
        latest = now + self._longest_s
        self.breaker.cap_pauses(latest)
        with self._store.reading() as db:
            last = JobTable(db).last_job_due()
        if last is not None and last > latest:
            with self._store.transaction() as db:
                JobTable(db).cap_job_waits(latest)

    def _take_from(self, upload_id: str, now: float, waiting: int) -> tuple[UploadRoute, list[Job]] | None:
        with self._store.reading() as db:
            upload = UploadRoutes(db).find_route(upload_id)
        most = fair_share(self._settings.batch_files, len(self._threads), waiting)
        most = self.breaker.admits(upload.remote, now, most)
        if not most or self._hang_guard.silent(upload.root):
            return None
        jobs: list[Job] = []
        kinds = (None,) if most == 1 else large_or_small(
            len(self._threads), len(self._large), after_large=self._after_large
        )  # fmt: skip
        with self._store.transaction() as db:
            for large in kinds:
                jobs = jobs or JobTable(db).take_jobs(
                    upload_id, now, most_files=most, most_bytes=self._settings.batch_bytes,
                    busy=self._locks[upload_id], large=large,
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

    def _move(self, upload: UploadRoute, jobs: Sequence[Job]) -> None:
        cause = decode(upload.cause)
        attempt = BatchAttempt(upload, cause, {job.file.key: job for job in jobs}, self._sweep(upload.remote))
        items, refused = self._items(attempt)
        seen = 0

        def progress(moved: int) -> None:
            nonlocal seen
            with self._change:
                self._moved[upload.upload_id] += max(0, moved - seen)
            seen = moved

        def begin(some: Sequence[Item], new: Collection[str]) -> None:
            with self._store.transaction() as db:
                owners = ObjectOwners(db)
                versions = [(attempt.object_of(item.key), item.digests.values()) for item in some]
                owners.note_versions(upload.remote, upload.upload_id, versions, wrote=True)
                unproved = [(attempt.object_of(key), (UNPROVED,)) for key in new]
                owners.note_versions(upload.remote, upload.upload_id, unproved, wrote=True)
            attempt.begun.update(item.key for item in some)
            crash_point("transfer.noted")

        if not items:
            outcomes = []
        elif self._source_answers(upload, items):
            outcomes = self._mover.move(
                upload.remote, items, on_begin=begin, on_progress=progress, cancel=self._cancel
            )  # fmt: skip
        else:
            outcomes = [replace(source_silent(item), unproved=UNPROVED in item.replaces) for item in items]
        crash_point("transfer.verified")
        results = [(attempt.jobs[outcome.key], outcome) for outcome in [*outcomes, *refused]]
        with self._change:
            done = sum(j.file.size for j, o in results if o.state in STORED)
            self._moved[upload.upload_id] += max(0, done - seen)
        with self._store.reading() as db:
            unclear = attempt.has_unclear(db, results)
        if unclear:
            attempt.conflicts = self._provenance.classify_conflict(upload, cause.station, attempt.began)
        self._settle(attempt, results)

    def _sweep(self, remote: str) -> dict[str, str]:
        """Put in order what former attempts left half written; return the targets that must wait for that, and why."""
        with self._sweeping:
            with self._store.reading() as db:
                owners = ObjectOwners(db)
                targets = {
                    target: owners.known_digests(remote, escape(os.fsencode(target)))
                    for target in InterruptedWrites(db).cut_targets(remote)
                }
            if not targets:
                return {}
            try:
                self._mover.sweep_leftovers(remote, targets)
            except TransferError as error:
                log.warning("leftovers_not_removed", remote=remote, error=str(error))
                return {} if isinstance(error, BadRemote) else dict.fromkeys(targets, str(error))
            with self._store.transaction() as db:
                InterruptedWrites(db).mark_swept(remote, targets)
            return {}

    def _source_answers(self, upload: UploadRoute, items: Sequence[Item]) -> bool:
        """Find out whether the drive of an upload hangs, before this thread does."""
        try:
            self._hang_guard.call_with_deadline(upload.root, lambda: nofollow.look(os.fsencode(items[0].source)))
        except DriveTimeout:
            log.warning("source_drive_timeout", root=os.fsdecode(upload.root))
            return False
        except OSError:
            pass  # the outcome of the file tells more
        return True

    def _items(self, attempt: BatchAttempt) -> tuple[list[Item], list[Outcome]]:
        upload, station = attempt.upload, attempt.cause.station
        with self._store.reading() as db:
            owners = ObjectOwners(db)
            attempt.uploads = owners.with_continued([upload.upload_id])
            objects = [attempt.object_of(key) for key in attempt.jobs]
            ours = owners.replaceable_digests(upload.remote, objects, attempt.uploads)
        items, refused = [], []
        for key, job in attempt.jobs.items():
            file = job.file
            try:
                source = self._source_roots.locate(upload.root, file.raw, station)
            except Unmapped as error:
                left = UNPROVED in ours[attempt.object_of(key)][0]
                refused.append(Outcome(key, State.REFUSED, str(error), "Tell an operator.", unproved=left))
                continue
            target, (replaces, keeps) = attempt.target_of(key), ours[attempt.object_of(key)]
            item = Item(key, source, target, file.size, file.mtime_ns, file.digests, replaces, keeps, file.as_is)
            if target in attempt.unswept:
                refused.append(replace(not_sent(item, attempt.unswept[target]), unproved=UNPROVED in replaces))
                continue
            items.append(item)
            if replaces:
                attempt.replacing.add(key)
        return items, refused

    def _settle(self, attempt: BatchAttempt, results: Sequence[tuple[Job, Outcome]]) -> None:
        """Write down and say what became of a batch, in one transaction."""
        now, upload = time.time(), attempt.upload
        told = [outcome for _, outcome in results]
        others = self._policy.takes_others(upload.remote, told, attempt.began)
        if others or any(outcome.state in STORED for outcome in told):
            self.breaker.note_success(upload.remote)
        stored: list[StoredFile] = []
        failed: list[FailedFile] = []
        with self._store.transaction() as db:
            owners, table = ObjectOwners(db), JobTable(db)
            proved = [attempt.object_of(outcome.key) for outcome in told if not outcome.unproved]
            owners.forget_unproved(upload.remote, proved, attempt.uploads)
            there = [job.file for job, outcome in results if outcome.state in STORED]
            found = [
                (attempt.object_of(file.key), file.digests.values()) for file in there if file.key not in attempt.begun
            ]
            owners.note_versions(upload.remote, upload.upload_id, found, wrote=False)
            for job, outcome in results:
                if outcome.state in STORED:
                    verified = outcome.state is State.VERIFIED
                    fact = StoredFile(
                        file=job.file,
                        object=attempt.object_of(job.file.key),
                        state="verified" if verified else "unverified",
                        method=(outcome.method or "verified") if verified else "not verified",
                    )
                    stored.append(fact)
                elif outcome.state is State.STOPPED or (outcome.untried and others):
                    self._put_back(upload, [job])
                else:
                    failed += self._fail(db, attempt, job, outcome, now, takes_others=others)
            stored = table.mark_stored(upload.upload_id, stored)
            destination = Destination(remote=upload.remote, location=upload.location)
            for receipt, identity in receipts.of_stored(upload.upload_id, destination, stored):
                Outbox.put(db, attempt.cause.follow(receipt, service="transfer", id=identity))
            for failure in split(failed, lambda some: FileFailed(upload_id=upload.upload_id, files=some)):
                Outbox.put(db, attempt.cause.follow(failure, service="transfer"))
        crash_point("transfer.settled")
        self._outbox.wake()

    def _fail(
        self,
        db: sqlite3.Connection,
        attempt: BatchAttempt,
        job: Job,
        outcome: Outcome,
        now: float,
        *,
        takes_others: bool,
    ) -> list[FailedFile]:
        """Note one failure; return what is to be said, nothing when it was said before."""
        upload, table = attempt.upload, JobTable(db)
        if outcome.digest:
            versions = [(attempt.object_of(job.file.key), [outcome.digest])]
            ObjectOwners(db).note_versions(upload.remote, upload.upload_id, versions, wrote=True)
        if job.file.key in attempt.replacing:
            InterruptedWrites(db).note_cut(upload.remote, [attempt.target_of(job.file.key)])
        if outcome.state is State.CONFLICT:
            outcome, word = attempt.judge_conflict(db, job, outcome)
            if word is ConflictOrigin.AGAIN:
                table.requeue_jobs(upload.upload_id, [job.file])
                return []
        self._longest_s = max(self._longest_s, outcome.retry_after_s or 0)
        verdict = self._policy.decide(upload.remote, job, outcome, now, takes_others=takes_others)
        outcome, due = verdict.outcome, verdict.due
        reason = outcome.state.value
        if not table.mark_failed(upload.upload_id, job.file, reason=reason, due=due, own=verdict.own):
            return []
        if due is not None and job.reason == reason:
            return []
        ordinary = outcome.state in (State.SOURCE_CHANGED, State.SOURCE_GONE)  # files change while they are measured
        (log.info if ordinary else log.warning)(
            "file_not_stored", path=job.file.path, reason=reason, detail=outcome.detail, final=due is None
        )
        return [attempt.describe_failure(db, job, outcome, final=due is None)]

    def _put_back(self, upload: UploadRoute, jobs: Sequence[Job]) -> None:
        """Let jobs wait again; what an attempt at them has left is put in order before the next."""
        with self._store.transaction() as db:
            JobTable(db).requeue_jobs(upload.upload_id, [job.file for job in jobs])
            InterruptedWrites(db).note_cut(upload.remote, [mover_target(upload.location, job.file.raw) for job in jobs])
