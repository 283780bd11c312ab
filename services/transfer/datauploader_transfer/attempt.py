"""One batch on its way: whose it is, what is known of its objects, and what a failure comes to."""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from datauploader.contracts import Event, EventData, FailedFile, FileVersion, StoredFile
from datauploader.contracts.files import Proof
from datauploader_transfer.ledger import Job, UploadRoute, mover_target, object_of
from datauploader_transfer.owners import ObjectOwners
from datauploader_transfer.ports import Outcome, State
from datauploader_transfer.provenance import ConflictOrigin


@dataclass(slots=True)
class BatchAttempt:
    """One attempt at a batch of one upload, from its taking to its settling; jobs go by the keys of their versions."""

    upload: UploadRoute
    cause: Event[EventData]
    jobs: Mapping[str, Job]
    unswept: Mapping[str, str]
    """Targets beside which something lies that could not be put in order, and why."""
    uploads: frozenset[str] = frozenset()
    """The upload and those that it continues."""
    began: float = field(default_factory=time.monotonic)
    begun: set[str] = field(default_factory=set)
    """What the mover began to write."""
    replacing: set[str] = field(default_factory=set)
    """What has, or may have, a predecessor at its target."""
    conflicts: ConflictOrigin = ConflictOrigin.FINAL
    objects: Mapping[str, str] = field(init=False)
    """The object of each version."""

    def __post_init__(self) -> None:
        self.objects = {key: object_of(self.upload.location, job.file) for key, job in self.jobs.items()}

    def target_of(self, key: str) -> str:
        """Return the text under which the mover knows the object of a version."""
        return mover_target(self.upload.location, self.jobs[key].file.raw)

    def has_unclear(self, db: sqlite3.Connection, results: Iterable[tuple[Job, Outcome]]) -> bool:
        """Tell whether something stands in the way of which this ledger does not know whose it is."""
        return any(
            outcome.state is State.CONFLICT and not self._is_anothers(db, job, outcome) for job, outcome in results
        )

    def judge_conflict(self, db: sqlite3.Connection, job: Job, outcome: Outcome) -> tuple[Outcome, ConflictOrigin]:
        """Say whose the object is that stands in the way, and what that comes to."""
        if self._is_anothers(db, job, outcome):
            detail = f"{outcome.detail} It belongs to another upload."
            return replace(outcome, detail=detail, hint="Choose another dataset name."), ConflictOrigin.FINAL
        if self.conflicts is ConflictOrigin.UNANSWERED:
            detail = f"{outcome.detail} Only the catalog knows whether it is an older version of this file."
            hint = "Nothing to do: the catalog does not answer now, and is asked again automatically."
            return replace(outcome, detail=detail, hint=hint, retryable=True), ConflictOrigin.UNANSWERED
        return outcome, self.conflicts

    def _is_anothers(self, db: sqlite3.Connection, job: Job, outcome: Outcome) -> bool:
        name = self.objects[job.file.key]
        return bool(outcome.found) and ObjectOwners(db).is_anothers(
            self.upload.remote, name, self.uploads, outcome.found
        )

    def describe_stored(self, stored: Iterable[tuple[FileVersion, Outcome]]) -> list[StoredFile]:
        """Build what is said of versions that are stored."""
        facts: list[StoredFile] = []
        for file, outcome in stored:
            state: Proof = "unverified"
            method = "not verified"
            if outcome.state is State.VERIFIED:
                state, method = "verified", outcome.method or "verified"
            facts.append(StoredFile(file=file, object=self.objects[outcome.key], state=state, method=method))
        return facts

    def describe_failure(self, db: sqlite3.Connection, job: Job, outcome: Outcome, *, final: bool) -> FailedFile:
        """Build what is said of a failure, with what the storage holds instead."""
        name = self.objects[job.file.key]
        former = outcome.found and ObjectOwners(db).find_former_version(
            self.upload.remote, name, self.uploads, outcome.found
        )
        return FailedFile(
            file=job.file,
            reason=outcome.state.value,
            detail=outcome.detail[:2000],
            hint=outcome.hint[:2000],
            final=final,
            holds="former" if former else outcome.holds,
            former=former or None,
        )
