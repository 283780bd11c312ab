"""Tells the catalogue what the ledger wants it to know: one upload at a time, step by step, until it is complete."""

import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog

from datauploader.contracts import (
    DatasetCompleted,
    DatasetEnsured,
    DatasetRefused,
    Event,
    EventData,
    UploadRequested,
    decode,
)
from datauploader.contracts.envelope import natural_id
from datauploader.plugins.catalogue import port
from datauploader.plugins.catalogue.errors import (
    BadAnswer,
    CatalogError,
    CatalogueRefused,
    NotYetThere,
    Taken,
    ValueRefused,
)
from datauploader.reliability import Outbox, Store
from datauploader.reliability.blocks import TouchedUploads
from datauploader.reliability.worker import WorkerThread
from datauploader.runtime import tracing
from datauploader.runtime.crash_points import crash_point
from datauploader_catalog import audits
from datauploader_catalog.audits import AwaitedAudits
from datauploader_catalog.claims import ANOTHER_NAME, DatasetClaims, complete_refusal
from datauploader_catalog.contents import BATCH, DatasetContents
from datauploader_catalog.delays import CatalogueDelays
from datauploader_catalog.description_queue import DescriptionQueue
from datauploader_catalog.ledger import WantedDataset, WantedDatasets
from datauploader_catalog.metadata import PendingMetadataTable
from datauploader_catalog.objections import LONGEST_PAUSE_S, GracePeriod, Objections
from datauploader_catalog.persons import RequesterCheck
from datauploader_catalog.seals import SealTable

log = structlog.get_logger()

_ASK = "Ask the user office, then press Retry. Stored files are kept."
GATHERING_S = 0.25
"""How long files are gathered after others of their upload were registered: a request costs as much as many files."""
_SHORTER = (
    "Start a new upload with another dataset name; or ask the user office, then press Retry. Stored files are kept."
)


class CatalogWorker:
    """A pool of threads that bring uploads into the catalogue; each upload is in the hands of one thread at a time."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        catalogue: port.Catalogue,
        requesters: RequesterCheck,
        threads: int = 4,
        *,
        audit: bool = True,
        grace: GracePeriod,
        gathering_s: float = GATHERING_S,
    ) -> None:
        """Prepare; nothing runs before `start`."""
        self._store, self._outbox, self._catalogue = store, outbox, catalogue
        self._requesters, self._audit, self._grace, self._gathering_s = requesters, audit, grace, gathering_s
        self._change = threading.Condition()
        self._stopping = False
        self._contents = DatasetContents(store, outbox, catalogue, grace, lambda: self._stopping)
        self._busy: set[str] = set()
        self._gathering: dict[str, float] = {}
        """Uploads of which files were registered just now, and until when their next ones are gathered."""
        self._trouble: dict[str, str] = {}
        self._threads = [WorkerThread(self._run, name=f"catalogue.{n}") for n in range(threads)]

    @property
    def problems(self) -> Sequence[str]:
        """The sentences of what keeps uploads waiting now."""
        with self._change:
            return tuple(dict.fromkeys(self._trouble.values()))

    @property
    def stumbling(self) -> str:
        """Why nothing at all can be done, "" where that is not so: the state file, or a thread that has ended."""
        with self._change:
            return self._trouble.get("", "") or "; ".join(filter(None, (thread.problem for thread in self._threads)))

    def start(self) -> None:
        """Begin with what a former run left undone."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that the ledger has changed."""
        with self._change:
            self._change.notify()

    def settle_claims(self) -> None:
        """Say that everything is known again that was heard before, so that nothing waits for that any more."""
        with self._store.transaction() as db:
            db.execute("UPDATE uploads SET due = 0 WHERE state = 'wanted'")
        self.wake()

    def stop(self, deadline_s: float) -> None:
        """Finish the running calls and begin no other."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        end = time.monotonic() + deadline_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._step()
            except sqlite3.DatabaseError as error:  # a full disk; what is wanted is still in the ledger
                self._stumble(f"the catalog cannot use its state file ({error}): free space on its disk")
            except Exception as error:  # the boundary of the thread: what is wanted is still in the ledger
                log.exception("catalogue_worker_failed")
                self._stumble(
                    f"an unexpected error ({type(error).__name__}) keeps the catalog from its work; see its log"
                )

    def _step(self) -> None:
        """Do what can be done for one upload."""
        if (upload := self._take()) is not None:
            try:
                with structlog.contextvars.bound_contextvars(upload_id=upload.upload_id):
                    self._advance(upload)
            finally:
                with self._change:
                    self._busy.discard(upload.upload_id)
                    self._change.notify()

    def _stumble(self, why: str) -> None:
        """Rest a moment, and say why."""
        sentence = f"{why}; it continues automatically"
        with self._change:
            fresh = self._trouble.get("") != sentence
            self._trouble[""] = sentence
            self._change.wait(1.0)
        if fresh:
            log.error("state_file_write_failed", problem=why)

    def _take(self) -> WantedDataset | None:
        with self._change:
            while not self._stopping:
                now = time.time()
                self._put_right(now)
                with self._store.reading() as db:
                    datasets = WantedDatasets(db)
                    pauses = self._pauses(datasets)
                    upload = datasets.next_upload(now, self._busy.union(pauses))
                    later = datasets.next_attempt_due(now)
                if upload is not None:
                    self._busy.add(upload.upload_id)
                    return upload
                if not self._busy:
                    self._trouble.pop("", None)
                waits = (LONGEST_PAUSE_S, *pauses.values(), *((later - now,) if later else ()))
                self._change.wait(min(waits))
        return None

    def _pauses(self, datasets: WantedDatasets) -> dict[str, float]:
        """Return the uploads whose files are still being gathered, and for how many seconds."""
        now = time.monotonic()
        self._gathering = {one: end for one, end in self._gathering.items() if end > now}
        return {one: end - now for one, end in self._gathering.items() if datasets.awaits_files(one, BATCH)}

    def _put_right(self, now: float) -> None:
        """Let nobody wait longer than the longest pause, because the clock was ahead when the pause began."""
        with self._store.reading() as db:
            wrong = WantedDatasets(db).is_put_off(now) or AwaitedAudits(db).last_audit_due() > now + audits.LONGEST_S
            again = Objections(db).has_due_objections(now)
        if wrong or again:
            with self._store.transaction() as db:
                WantedDatasets(db).cap_upload_waits(now)
                AwaitedAudits(db).cap_audit_waits(now + audits.LONGEST_S)
                Objections(db).retry_due_objections(now)

    def _advance(self, upload: WantedDataset) -> None:
        """Do all that can be done for one upload now."""
        request: Event[EventData] | None = None
        try:
            request = decode(upload.request)
            with tracing.working("catalog tells the catalogue", request.traceparent, upload_id=upload.upload_id):
                self._tell(request, upload)
        except CatalogueRefused as error:
            assert request is not None, "the catalogue is asked only for what was read"
            self._refused(request, error)
        except CatalogError as error:
            self._later(request, upload, error)
        except sqlite3.OperationalError:  # a full disk: the thread waits for room
            raise
        except Exception as error:  # the boundary of one upload: the others must go on
            log.exception("catalogue_step_failed")
            problem = BadAnswer(f"an unexpected error ({type(error).__name__}); the catalog's log says more")
            self._later(request, upload, problem)
        else:
            self._well(request)

    def _tell(self, request: Event[EventData], upload: WantedDataset) -> None:
        """Tell the catalogue what it can be told; metadata never keep a dataset from its completion."""
        assert isinstance(request.data, UploadRequested)
        if upload.state != "wanted":
            dataset_id = upload.dataset_id
        elif self._may_write(request.data):
            dataset_id = self._ensure(request, request.data)
        else:
            return
        if self._contents.register_files(request, upload, dataset_id):
            with self._change:
                self._gathering[upload.upload_id] = time.monotonic() + self._gathering_s
        hindrance = self._contents.attach_metadata(request, dataset_id)
        self._complete(request, upload, dataset_id)
        if hindrance is not None:
            raise hindrance

    def _may_write(self, wanted: UploadRequested) -> bool:
        """Judge whose dataset it is, and tell those who are refused; False where this upload is one of them.

        Raises:
            NotYetThere: what was heard before is still being found again, or an upload that this one goes on with is
                being told to the catalogue.
        """
        if self._store.needs_recovery:
            raise NotYetThere("the catalog is still loading which dataset belongs to whom; this upload waits for it")
        with self._change:
            if busy := self._busy.intersection(wanted.continues):
                raise NotYetThere(
                    f"the upload {min(busy)}, which this one continues, is being registered in the catalogue"
                )
        with self._store.transaction() as db:
            claims = DatasetClaims(db)
            for event, refusal in claims.settle_claims():
                log.warning("dataset_refused", refused=refusal.upload_id, problem=refusal.detail)
                self._refuse(db, event, refusal)
            state = claims.claim_state(wanted.upload_id)
        crash_point("catalog.claimed")
        self._outbox.wake()
        return state != "refused"

    def _ensure(self, request: Event[EventData], wanted: UploadRequested) -> str:
        """Make sure that the dataset exists, and that this user may have it there.

        Raises:
            Taken: it is complete, and was never this upload's.
        """
        owner = self._requesters.find_owner(wanted, request.station)
        if owner:
            self._catalogue.authorise(owner, wanted.investigation)
        else:
            self._catalogue.investigation(wanted.investigation)
        dataset = self._catalogue.ensure_dataset(
            port.NewDataset(
                investigation_id=wanted.investigation,
                name=wanted.dataset.name,
                location=f"{wanted.destination.remote}:{wanted.destination.location}",
                type=wanted.dataset.type,
                description=wanted.dataset.description,
                owner=owner,
            )
        )
        crash_point("catalog.ensured")
        with self._store.reading() as db:  # another catalog on the same state may have done all of it meanwhile
            before = WantedDatasets(db).dataset_of(wanted.upload_id)
        if dataset.complete and dataset.id != before:
            raise Taken(*complete_refusal(wanted.dataset.name))
        fact = DatasetEnsured(
            upload_id=wanted.upload_id,
            investigation_id=wanted.investigation,
            dataset_id=dataset.id,
            url=self._catalogue.dataset_url(dataset.id),
        )
        with self._store.transaction() as db:
            db.execute(
                "UPDATE uploads SET state = 'ensured', dataset_id = ?, attempts = 0, since = 0, due = 0"
                " WHERE upload_id = ?",
                (dataset.id, wanted.upload_id),
            )
            if wanted.dataset.parameters and not DescriptionQueue(db).is_described(wanted.upload_id):
                PendingMetadataTable(db).add_metadata(wanted.upload_id, None, wanted.dataset.parameters)
            again = (
                (str(time.time_ns()),) if before else ()
            )  # after a refusal: who has heard it once must hear it again
            self._say(db, request, fact, dataset.id, *again)
        crash_point("catalog.ensured-noted")
        self._outbox.wake()
        return dataset.id

    def _complete(self, request: Event[EventData], upload: WantedDataset, dataset_id: str) -> None:
        """Complete the dataset when every file of the manifest is a datafile."""
        with self._store.reading() as db:
            state = db.execute("SELECT state FROM uploads WHERE upload_id = ?", (upload.upload_id,)).fetchone()["state"]
            wanted = state == "ensured" and not DatasetClaims(db).is_cancelled(upload.upload_id)
            found = SealTable(db).complete_manifest(upload.upload_id) if wanted else "incomplete"
        if found == "incomplete":
            return
        if found == "differs":
            raise NotYetThere("the stored files are not yet those of the manifest; a newer version is on its way")
        seal = found
        if self._audit and not self._looked_at(request, seal):
            return
        dataset = self._catalogue.complete_dataset(dataset_id)
        crash_point("catalog.completed")
        fact = DatasetCompleted(
            upload_id=upload.upload_id,
            dataset_id=dataset_id,
            files=seal["files"],
            bytes=seal["bytes"],
            manifest_sha256=seal["manifest_sha256"],
            url=self._catalogue.dataset_url(dataset_id),
            doi=dataset.doi or "",
        )
        with self._store.transaction() as db:
            db.execute("UPDATE uploads SET state = 'completed' WHERE upload_id = ?", (upload.upload_id,))
            DatasetClaims(db).set_claim_state(upload.upload_id, "complete")
            TouchedUploads(db).touch_upload(upload.upload_id)
            self._say(db, request, fact, seal["manifest_sha256"])
        crash_point("catalog.completed-noted")
        self._outbox.wake()
        log.info("dataset_completed", dataset_id=dataset_id, files=seal["files"], bytes=seal["bytes"])

    def _looked_at(self, request: Event[EventData], seal: sqlite3.Row) -> bool:
        """Tell whether the storage holds this manifest as somebody has seen; else see that somebody looks."""
        with self._store.transaction() as db:
            awaited = AwaitedAudits(db)
            if awaited.is_well(request.data.upload_id, seal["manifest_sha256"]):
                return True
            asked = awaited.request_audit(request, seal)
        crash_point("catalog.audit-asked")
        self._outbox.wake()
        if asked >= audits.OFTEN:
            raise NotYetThere(
                f"the storage has not been compared with the manifest yet, although transfer was asked {asked} times; "
                "check that transfer is running and up to date"
            )
        return False

    def _refused(self, request: Event[EventData], error: CatalogueRefused) -> None:
        log.warning("dataset_refused", problem=str(error))
        crash_point("catalog.refused")
        taken = isinstance(error, Taken)
        fact = DatasetRefused(
            upload_id=request.data.upload_id,
            reason=error.reason if isinstance(error, Taken) else type(error).__name__.lower(),
            detail=str(error)[:2000],
            hint=ANOTHER_NAME if taken else _SHORTER if isinstance(error, ValueRefused) else _ASK,
        )
        with self._store.transaction() as db:
            DatasetClaims(db).set_claim_state(fact.upload_id, "refused")
            self._refuse(db, request, fact)
        self._outbox.wake()
        self._well(request)

    def _refuse(self, db: sqlite3.Connection, request: Event[Any], fact: DatasetRefused) -> None:
        CatalogueDelays(db).end_delay(request, fact.upload_id)
        query = "UPDATE uploads SET state = 'refused', trouble = ? WHERE upload_id = ?"
        db.execute(query, (fact.detail, fact.upload_id))
        self._say(db, request, fact, str(time.time_ns()))

    def _later(self, request: Event[EventData] | None, upload: WantedDataset, error: CatalogError) -> None:
        with self._store.transaction() as db:
            now = WantedDatasets(db).find_upload(upload.upload_id) or upload
            wait = CatalogueDelays(db).postpone_upload(request, now, error, self._grace)
        self._outbox.wake()
        with self._change:
            fresh = self._trouble.get(upload.upload_id) != str(error)
            self._trouble[upload.upload_id] = str(error)
        if fresh:
            log.warning("catalogue_retry_scheduled", problem=str(error), retry_in_s=wait)

    def _well(self, request: Event[EventData]) -> None:
        upload_id = request.data.upload_id
        with self._change:
            self._trouble.pop(upload_id, None)
            self._trouble.pop("", None)
        with self._store.reading() as db:
            waited = CatalogueDelays(db).is_delayed(upload_id)
        if waited:
            with self._store.transaction() as db:
                CatalogueDelays(db).end_delay(request, upload_id)
            self._outbox.wake()
            log.info("catalogue_recovered")

    @staticmethod
    def _say(db: sqlite3.Connection, request: Event[EventData], fact: EventData, *natural: str) -> None:
        identity = natural_id(type(fact), fact.upload_id, *natural)
        Outbox.put(db, request.follow(fact, service="catalog", id=identity))
