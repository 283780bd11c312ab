"""One batch on its way: whose it is, what is known of its objects, and what a failure comes to."""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from datauploader.contracts import Event, EventData, FailedFile
from datauploader.contracts.names import escape
from datauploader_transfer.ledger import Job, UploadRoute, mover_target, object_path
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
    _objects: dict[str, str] = field(default_factory=dict)

    def object_of(self, key: str) -> str:
        """Return the object of a version."""
        if (known := self._objects.get(key)) is None:
            known = self._objects[key] = object_path(self.upload.location, escape(self.jobs[key].file.raw))
        return known

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
        name = self.object_of(job.file.key)
        return bool(outcome.found) and ObjectOwners(db).is_anothers(
            self.upload.remote, name, self.uploads, outcome.found
        )

    def describe_failure(self, db: sqlite3.Connection, job: Job, outcome: Outcome, *, final: bool) -> FailedFile:
        """Build what is said of a failure, with what the storage holds instead."""
        name = self.object_of(job.file.key)
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
