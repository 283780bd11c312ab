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
    Parameter,
    StoredFile,
    UploadRequested,
    decode,
    receipts,
)
from datauploader.contracts.envelope import natural_id
from datauploader.crashing import crash_point
from datauploader.state import Outbox, Store
from datauploader_catalog import audits, claims, ledger, ports
from datauploader_catalog.errors import CatalogError, CatalogueRefused, NotYetThere, Taken
from datauploader_catalog.persons import Persons

log = structlog.get_logger()

BATCH = 2000
"""Datafiles that are registered in one step; the adapter may split them further."""
LONGEST_PAUSE_S = 60.0
_ASK = "Ask the user office, then press retry; the files that are stored stay stored."


def pause_s(attempts: int, retry_after: float | None) -> float:
    """Return how long to wait after so many failed attempts: 1 s doubling to a minute, never less than asked."""
    return max(min(2.0 ** min(attempts, 10), LONGEST_PAUSE_S), retry_after or 0)


class Worker:
    """Threads that bring uploads into the catalogue; each upload is in the hands of one thread at a time."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        catalogue: ports.Catalogue,
        persons: Persons,
        threads: int = 4,
        *,
        audit: bool = True,
    ) -> None:
        """Prepare; nothing runs before `start`."""
        self._store, self._outbox, self._catalogue = store, outbox, catalogue
        self._persons, self._audit = persons, audit
        self._change = threading.Condition()
        self._stopping = False
        self._busy: set[str] = set()
        self._trouble: dict[str, str] = {}
        self._longest_s = LONGEST_PAUSE_S
        """The longest pause that there can be: longer ones are what the catalogue asked for since the start."""
        self._threads = [threading.Thread(target=self._run, name=f"catalogue.{n}", daemon=True) for n in range(threads)]

    @property
    def troubles(self) -> Sequence[str]:
        """The sentences of what keeps uploads waiting now."""
        with self._change:
            return tuple(dict.fromkeys(self._trouble.values()))

    def start(self) -> None:
        """Begin with what a former run left undone."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that the ledger has changed."""
        with self._change:
            self._change.notify()

    def judge(self) -> None:
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
                self._cannot_use_state(error)

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

    def _cannot_use_state(self, error: sqlite3.DatabaseError) -> None:
        sentence = f"the catalog cannot use its state file ({error}): make room on its disk; it goes on by itself"
        with self._change:
            fresh = self._trouble.get("") != sentence
            self._trouble[""] = sentence
            self._change.wait(1.0)
        if fresh:
            log.error("state_not_used", problem=str(error))

    def _take(self) -> ledger.Upload | None:
        with self._change:
            while not self._stopping:
                now = time.time()
                self._put_right(now)
                with self._store.reading() as db:
                    upload = ledger.due(db, now, self._busy)
                    later = ledger.next_due(db, now)
                if upload is not None:
                    self._busy.add(upload.upload_id)
                    return upload
                self._change.wait(min(later - now, LONGEST_PAUSE_S) if later else LONGEST_PAUSE_S)
        return None

    def _put_right(self, now: float) -> None:
        """Let nobody wait longer than the longest pause, because the clock was ahead when the pause began."""
        latest = now + self._longest_s
        with self._store.reading() as db:
            last, asked = ledger.last_due(db), audits.last_due(db)
        if (last is not None and last > latest) or asked > now + audits.LONGEST_S:
            with self._store.transaction() as db:
                ledger.sooner(db, latest)
                audits.sooner(db, now + audits.LONGEST_S)

    def _advance(self, upload: ledger.Upload) -> None:
        """Do all that can be done for one upload now."""
        request = decode(upload.request)
        assert isinstance(request.data, UploadRequested)
        try:
            if upload.state != "wanted":
                dataset_id = upload.dataset_id
            elif self._may_write(request.data):
                dataset_id = self._ensure(request, request.data)
            else:
                self._well(upload.upload_id)
                return
            self._register(request, request.data, dataset_id)
            self._describe(request.data, dataset_id)
            self._complete(request, upload, dataset_id)
        except CatalogueRefused as error:
            self._refused(request, error)
        except CatalogError as error:
            self._later(upload, error)
        except Exception as error:  # the boundary of one upload: the others must go on
            log.exception("catalogue_step_failed")
            self._later(upload, CatalogError(f"an unexpected error ({type(error).__name__}); the log says more"))
        else:
            self._well(upload.upload_id)

    def _may_write(self, wanted: UploadRequested) -> bool:
        """Judge whose dataset it is, and tell those who are refused; False where this upload is one of them.

        Raises:
            NotYetThere: what was heard before is still being found again, or an upload that this one goes on with is
                being told to the catalogue.
        """
        if self._store.forgetful:
            raise NotYetThere("the catalog is still finding again which dataset is whose; this waits for it")
        with self._change:
            if busy := self._busy.intersection(wanted.continues):
                raise NotYetThere(f"the upload {min(busy)}, which this one goes on with, is told to the catalogue now")
        with self._store.transaction() as db:
            for event, refusal in claims.settle(db):
                log.warning("dataset_refused", refused=refusal.upload_id, problem=refusal.detail)
                self._refuse(db, event, refusal)
            state = claims.state_of(db, wanted.upload_id)
        crash_point("catalog.claimed")
        self._outbox.wake()
        return state != "refused"

    def _ensure(self, request: Event[EventData], wanted: UploadRequested) -> str:
        """Make sure that the dataset exists, and that this user may have it there.

        Raises:
            Taken: it is complete, and was never this upload's.
        """
        owner = self._persons.owner(wanted, request.station)
        if owner:
            self._catalogue.authorise(owner, wanted.investigation)
        else:
            self._catalogue.investigation(wanted.investigation)
        dataset = self._catalogue.ensure_dataset(
            ports.NewDataset(
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
            before = ledger.dataset_of(db, wanted.upload_id)
        if dataset.complete and dataset.id != before:
            raise Taken(*claims.complete(wanted.dataset.name))
        if wanted.dataset.parameters:
            self._catalogue.attach_parameters(dataset.id, parameters_of(wanted.dataset.parameters))
        fact = DatasetEnsured(
            upload_id=wanted.upload_id,
            investigation_id=wanted.investigation,
            dataset_id=dataset.id,
            url=self._catalogue.dataset_url(dataset.id),
        )
        with self._store.transaction() as db:
            db.execute(
                "UPDATE uploads SET state = 'ensured', dataset_id = ?, attempts = 0, due = 0 WHERE upload_id = ?",
                (dataset.id, wanted.upload_id),
            )
            again = (
                (str(time.time_ns()),) if before else ()
            )  # after a refusal: who has heard it once must hear it again
            self._say(db, request, fact, dataset.id, *again)
        crash_point("catalog.ensured-noted")
        self._outbox.wake()
        return dataset.id

    def _register(self, request: Event[EventData], wanted: UploadRequested, dataset_id: str) -> None:
        """Register stored files in batches until none is left."""
        while not self._stopping:
            with self._store.reading() as db:
                batch = ledger.wanted_files(db, wanted.upload_id, BATCH)
            if not batch:
                return
            self._catalogue.register_datafiles(dataset_id, [_datafile(wanted, stored) for stored in batch])
            crash_point("catalog.registered")
            with self._store.transaction() as db:
                ledger.mark_registered(db, wanted.upload_id, batch)
                for receipt, identity in receipts.of_catalogued(wanted.upload_id, dataset_id, batch):
                    Outbox.put(db, request.follow(receipt, service="catalog", id=identity))
            crash_point("catalog.registered-noted")
            self._outbox.wake()

    def _describe(self, wanted: UploadRequested, dataset_id: str) -> None:
        """Attach what harvesters have read to the datafiles that it belongs to."""
        while not self._stopping:
            with self._store.reading() as db:
                rows = ledger.wanted_parameters(db, wanted.upload_id, 100)
            if not rows:
                return
            for row_id, stored, parameters in rows:
                try:
                    path = _path(wanted, stored)
                    self._catalogue.attach_parameters(dataset_id, parameters_of(parameters), datafile=path)
                except CatalogueRefused as error:
                    log.warning("parameters_refused", path=stored.file.path, problem=str(error))
                crash_point("catalog.described")
                with self._store.transaction() as db:
                    db.execute("DELETE FROM parameters WHERE id = ?", (row_id,))

    def _complete(self, request: Event[EventData], upload: ledger.Upload, dataset_id: str) -> None:
        """Complete the dataset when every file of the manifest is a datafile."""
        with self._store.reading() as db:
            state = db.execute("SELECT state FROM uploads WHERE upload_id = ?", (upload.upload_id,)).fetchone()["state"]
            wanted = state == "ensured" and not claims.is_cancelled(db, upload.upload_id)
            found = ledger.complete_manifest(db, upload.upload_id) if wanted else "incomplete"
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
            claims.set_state(db, upload.upload_id, "complete")
            self._say(db, request, fact, seal["manifest_sha256"])
        crash_point("catalog.completed-noted")
        self._outbox.wake()
        log.info("dataset_completed", dataset_id=dataset_id, files=seal["files"], bytes=seal["bytes"])

    def _looked_at(self, request: Event[EventData], seal: sqlite3.Row) -> bool:
        """Tell whether the storage holds this manifest as somebody has seen; else see that somebody looks."""
        with self._store.transaction() as db:
            if audits.is_well(db, request.data.upload_id, seal["manifest_sha256"]):
                return True
            audits.ask(db, request, seal)
        crash_point("catalog.audit-asked")
        self._outbox.wake()
        return False

    def _refused(self, request: Event[EventData], error: CatalogueRefused) -> None:
        log.warning("dataset_refused", problem=str(error))
        crash_point("catalog.refused")
        taken = isinstance(error, Taken)
        fact = DatasetRefused(
            upload_id=request.data.upload_id,
            reason=error.reason if isinstance(error, Taken) else type(error).__name__.lower(),
            detail=str(error)[:2000],
            hint=claims.ANOTHER_NAME if taken else _ASK,
        )
        with self._store.transaction() as db:
            claims.set_state(db, fact.upload_id, "refused")
            self._refuse(db, request, fact)
        self._outbox.wake()
        self._well(request.data.upload_id)

    def _refuse(self, db: sqlite3.Connection, request: Event[Any], fact: DatasetRefused) -> None:
        query = "UPDATE uploads SET state = 'refused', trouble = ? WHERE upload_id = ?"
        db.execute(query, (fact.detail, fact.upload_id))
        self._say(db, request, fact, str(time.time_ns()))

    def _later(self, upload: ledger.Upload, error: CatalogError) -> None:
        self._longest_s = max(self._longest_s, error.retry_after or 0)
        with self._store.transaction() as db:
            row = db.execute("SELECT attempts FROM uploads WHERE upload_id = ?", (upload.upload_id,)).fetchone()
            wait = 1.0 if isinstance(error, NotYetThere) else pause_s(row["attempts"], error.retry_after)
            db.execute(
                "UPDATE uploads SET attempts = attempts + 1, due = ?, trouble = ? WHERE upload_id = ?",
                (time.time() + wait, str(error), upload.upload_id),
            )
        with self._change:
            fresh = self._trouble.get(upload.upload_id) != str(error)
            self._trouble[upload.upload_id] = str(error)
        if fresh:
            log.warning("catalogue_waits", problem=str(error), retry_in_s=wait)

    def _well(self, upload_id: str) -> None:
        with self._change:
            had = self._trouble.pop(upload_id, None)
            self._trouble.pop("", None)
        if had is not None:
            with self._store.transaction() as db:
                db.execute("UPDATE uploads SET attempts = 0, due = 0, trouble = '' WHERE upload_id = ?", (upload_id,))
            log.info("catalogue_goes_on")

    @staticmethod
    def _say(db: sqlite3.Connection, request: Event[EventData], fact: EventData, *natural: str) -> None:
        identity = natural_id(type(fact), fact.upload_id, *natural)
        Outbox.put(db, request.follow(fact, service="catalog", id=identity))


def _path(wanted: UploadRequested, stored: StoredFile) -> str:
    """Return the path below the dataset; the object's own, because that one is text whatever the file's bytes are."""
    return stored.object.removeprefix(f"{wanted.destination.location}/")


def _datafile(wanted: UploadRequested, stored: StoredFile) -> ports.Datafile:
    file = stored.file
    return ports.Datafile(
        path=_path(wanted, stored),
        location=f"{wanted.destination.remote}:{stored.object}",
        size=file.size,
        checksum=file.sha256,
        mtime_ns=file.mtime_ns,
    )


def parameters_of(parameters: Sequence[Parameter]) -> list[ports.Parameter]:
    """Write parameters as a catalogue takes them."""
    return [
        ports.Parameter(p.name, str(p.value).lower() if isinstance(p.value, bool) else p.value, p.units)
        for p in parameters
    ]
