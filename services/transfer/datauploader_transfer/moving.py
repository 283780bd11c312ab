"""Moves one batch and settles it: what is noted before, during and after, and what is said of it."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

import structlog

from datauploader.contracts import (
    Destination,
    Event,
    EventData,
    FailedFile,
    FileFailed,
    Station,
    decode,
    receipts,
)
from datauploader.contracts.batching import split
from datauploader.contracts.names import escape
from datauploader.files import nofollow
from datauploader.reliability import Outbox, Store
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard
from datauploader.runtime import metrics, tracing
from datauploader.runtime.crash_points import crash_point
from datauploader_transfer.attempt import BatchAttempt
from datauploader_transfer.domain.names import place
from datauploader_transfer.domain.outcomes import failed as not_sent
from datauploader_transfer.domain.outcomes import source_silent
from datauploader_transfer.errors import BadRemote, TransferError
from datauploader_transfer.failure_policy import STORED, FailurePolicy
from datauploader_transfer.leases import LeasedMover
from datauploader_transfer.ledger import InterruptedWrites, Job, JobTable, UploadRoute, mover_target
from datauploader_transfer.object_locks import ObjectLocks
from datauploader_transfer.owners import ObjectOwners
from datauploader_transfer.ports import UNPROVED, Item, Mover, Outcome, State, Whose
from datauploader_transfer.provenance import ConflictOrigin, ProvenanceCheck
from datauploader_transfer.remote_breaker import RemoteCircuitBreaker
from datauploader_transfer.roots import SourceRoots, Unmapped, paths_below
from datauploader_transfer.settings import TransferSettings

log = structlog.get_logger()

metrics.begin(metrics.RCLONE_ERRORS, *((state.value,) for state in State if state not in STORED))

OnMoved = Callable[[str, int], None]
"""Hears of bytes that were moved more, by upload."""


class BatchMover:
    """Moves batches; every method may be called by several threads."""

    def __init__(
        self, store: Store, outbox: Outbox, mover: Mover, settings: TransferSettings, here: Station,
        provenance: ProvenanceCheck, *, breaker: RemoteCircuitBreaker, on_moved: OnMoved, cancel: threading.Event,
    ) -> None:  # fmt: skip
        """Take what a batch needs; setting `cancel` stops what moves."""
        self._store, self._outbox, self._mover, self._provenance = store, outbox, mover, provenance
        self._source_roots = SourceRoots(here, settings.root_maps, settings.roots)
        self._breaker, self._on_moved, self._cancel = breaker, on_moved, cancel
        self._policy = FailurePolicy(breaker, mover, settings)
        self._hang_guard = HangGuard()
        self._sweeping = threading.Lock()
        self._objects = ObjectLocks()
        self.longest_pause_s = self._policy.longest_pause_s
        """The longest pause that there can be: longer ones are what a storage asked for since the start."""

    def source_owes_answer(self, upload: UploadRoute) -> bool:
        """Tell whether the drive of an upload has not answered yet."""
        return self._hang_guard.silent(upload.root)

    def move(self, upload: UploadRoute, jobs: Sequence[Job], elsewhere: LeasedMover | None = None) -> list[bytes]:
        """Move a batch, here or through a mover elsewhere, and settle it; return the paths that one could not store."""
        cause = decode(upload.cause)
        with tracing.working("transfer moves", cause.traceparent, upload_id=upload.upload_id, files=str(len(jobs))):
            return self._move(upload, cause, jobs, elsewhere)

    def _move(
        self, upload: UploadRoute, cause: Event[EventData], jobs: Sequence[Job], elsewhere: LeasedMover | None
    ) -> list[bytes]:
        attempt = BatchAttempt(upload, cause, {job.file.key: job for job in jobs}, self._sweep(upload.remote))
        items, refused = self._items(attempt)
        outcomes: list[Outcome] = []
        seen, paused = 0, False

        def progress(moved: int) -> None:
            nonlocal seen
            self._on_moved(upload.upload_id, moved - seen)
            seen = moved

        def begin(some: Sequence[Item], new: Collection[str]) -> None:
            with self._store.transaction() as db:
                owners = ObjectOwners(db)
                versions = [(attempt.objects[item.key], item.digests.values()) for item in some]
                owners.note_versions(upload.remote, upload.upload_id, versions, wrote=True)
                unproved = [(attempt.objects[key], (UNPROVED,)) for key in new]
                owners.note_versions(upload.remote, upload.upload_id, unproved, wrote=True)
            attempt.begun.update(item.key for item in some)
            crash_point("transfer.noted")

        if items and self._breaker.resting(upload.remote, time.time()):
            paused = True  # the storage has asked for it, or gone away, since the batch was taken
        elif items and self._source_answers(upload, items):
            move = partial(self._mover.move, upload.remote) if elsewhere is None else partial(elsewhere.move, attempt)
            with self._objects.holding(upload.remote, (place(item.target) for item in items)):
                outcomes = move(items, on_begin=begin, on_progress=progress, cancel=self._cancel)
            if elsewhere is None:  # at once: before all is settled others would begin
                self._policy.note_asked_pause(upload.remote, outcomes, time.time())
        else:
            outcomes = [replace(source_silent(item), unproved=UNPROVED in item.replaces) for item in items]
        crash_point("transfer.verified")
        results = [(attempt.jobs[outcome.key], outcome) for outcome in [*outcomes, *refused]]
        done = sum(j.file.size for j, o in results if o.state in STORED)
        self._on_moved(upload.upload_id, done - seen)
        with self._store.reading() as db:
            unclear = attempt.has_unclear(db, results)
        if unclear:
            attempt.conflicts = self._provenance.classify_conflict(upload, cause.station, attempt.began)
        self._settle(attempt, results)
        if paused:
            with self._store.transaction() as db:
                JobTable(db).requeue_jobs(upload.upload_id, [attempt.jobs[item.key].file for item in items])
        return [job.file.raw for job, outcome in results if elsewhere is not None and outcome.state not in STORED]

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
                with self._objects.holding(remote, (place(target) for target in targets)):
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
            ours = owners.replaceable_digests(upload.remote, list(attempt.objects.values()), attempt.uploads)
        try:
            folder = self._source_roots.folder_of(upload.root, station)
        except Unmapped as error:
            why = partial(Outcome, state=State.REFUSED, detail=str(error), hint="Tell an operator.")
            return [], [why(key, unproved=UNPROVED in ours[attempt.objects[key]][0]) for key in attempt.jobs]
        items: list[Item] = []
        files = {key: job.file for key, job in attempt.jobs.items()}
        paths = [file.raw for file in files.values()]
        for (key, file), path, source in zip(files.items(), paths, paths_below(folder, paths), strict=True):
            target, (replaces, keeps) = mover_target(upload.location, path), ours[attempt.objects[key]]
            items.append(Item(key, source, target, file.size, file.mtime_ns, file.digests, replaces, keeps, file.as_is))
        unswept = [item for item in items if item.target in attempt.unswept] if attempt.unswept else []
        refused = [
            replace(not_sent(item, attempt.unswept[item.target]), unproved=UNPROVED in item.replaces)
            for item in unswept
        ]
        if unswept:
            items = [item for item in items if item.target not in attempt.unswept]
        attempt.replacing.update(item.key for item in items if item.replaces)
        return items, refused

    def _settle(self, attempt: BatchAttempt, results: Sequence[tuple[Job, Outcome]]) -> None:
        """Write down and say what became of a batch, in one transaction."""
        now, upload = time.time(), attempt.upload
        told = [outcome for _, outcome in results]
        ill = bool(self._breaker.problem(upload.remote))
        others = self._policy.takes_others(upload.remote, told, attempt.began)
        if others or any(outcome.state in STORED for outcome in told):
            self._breaker.note_success(upload.remote)
        there = [(job.file, outcome) for job, outcome in results if outcome.state in STORED]
        failed: list[FailedFile] = []
        with self._store.transaction() as db:
            owners, table = ObjectOwners(db), JobTable(db)
            proved = [attempt.objects[outcome.key] for outcome in told if not outcome.unproved]
            owners.forget_unproved(upload.remote, proved, attempt.uploads)
            found = [
                (attempt.objects[file.key], file.digests.values()) for file, _ in there if file.key not in attempt.begun
            ]
            owners.note_versions(upload.remote, upload.upload_id, found, wrote=False)
            for job, outcome in results if len(there) < len(results) else ():
                if outcome.state in STORED:
                    continue
                # a storage that is well again may have become so after the file failed: that says nothing of the file
                mended = ill and others and outcome.whose is Whose.EITHER
                if outcome.state is State.STOPPED or (outcome.untried and others) or mended:
                    if outcome.digest:
                        left = [(attempt.objects[outcome.key], [outcome.digest])]
                        owners.note_versions(upload.remote, upload.upload_id, left, wrote=True)
                    self.put_back(upload, [job])
                else:
                    failed += self._fail(db, attempt, job, outcome, now, takes_others=others)
            stored = table.mark_stored(upload.upload_id, attempt.describe_stored(there))
            destination = Destination(remote=upload.remote, location=upload.location)
            proof_ms = max((outcome.proof_ms for outcome in told if outcome.proof_ms is not None), default=None)
            for receipt, identity in receipts.of_stored(upload.upload_id, destination, stored, proof_ms=proof_ms):
                Outbox.put(db, attempt.cause.follow(receipt, service="transfer", id=identity))
            for failure in split(failed, lambda some: FileFailed(upload_id=upload.upload_id, files=some)):
                Outbox.put(db, attempt.cause.follow(failure, service="transfer"))
        crash_point("transfer.settled")
        self._outbox.wake()
        for state in ("verified", "unverified"):
            metrics.note_files("stored", state, (one.file.size for one in stored if one.state == state))
        metrics.note_failures(outcome.state.value for outcome in told if outcome.state not in STORED)

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
            versions = [(attempt.objects[job.file.key], [outcome.digest])]
            ObjectOwners(db).note_versions(upload.remote, upload.upload_id, versions, wrote=True)
        if job.file.key in attempt.replacing:
            InterruptedWrites(db).note_cut(upload.remote, [attempt.target_of(job.file.key)])
        if outcome.state is State.CONFLICT:
            outcome, word = attempt.judge_conflict(db, job, outcome)
            if word is ConflictOrigin.AGAIN:
                table.requeue_jobs(upload.upload_id, [job.file])
                return []
        self.longest_pause_s = max(self.longest_pause_s, outcome.retry_after_s or 0)
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

    def put_back(self, upload: UploadRoute, jobs: Sequence[Job]) -> None:
        """Let jobs wait again; what an attempt at them has left is put in order before the next."""
        with self._store.transaction() as db:
            JobTable(db).requeue_jobs(upload.upload_id, [job.file for job in jobs])
            InterruptedWrites(db).note_cut(upload.remote, [mover_target(upload.location, job.file.raw) for job in jobs])
