"""Brings the datafiles and the metadata of one upload into its dataset.

What the catalogue refuses does not keep the rest out: it is found among what was sent together, and said at its file.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import structlog

from datauploader.contracts import (
    DatasetPartlyRefused,
    Event,
    EventData,
    Parameter,
    RefusedFile,
    UploadRequested,
)
from datauploader.contracts.batching import split
from datauploader.plugins.catalogue import port
from datauploader.plugins.catalogue.batches import attempt, send_apart
from datauploader.plugins.catalogue.errors import BadAnswer, CatalogError, CatalogueRefused
from datauploader.reliability import Outbox, Store
from datauploader.runtime import metrics
from datauploader.runtime.crash_points import crash_point
from datauploader_catalog import receipts
from datauploader_catalog.ledger import DatafileTable, WantedDatafile, WantedDataset
from datauploader_catalog.metadata import PendingMetadata, PendingMetadataTable
from datauploader_catalog.objections import UNSURE, GracePeriod, Objections, Subject, is_away

log = structlog.get_logger()

metrics.begin(metrics.FILES, ("catalogued", "ok"), ("catalogued", "refused"))
BATCH = 2000
"""Datafiles that are registered in one step; the adapter may split them further."""
RENAME = "Rename the file and upload it again; or ask the user office to accept it, then press Retry."
READ_AGAIN = (
    "The files themselves are not affected. When the catalogue can accept the metadata, read it "
    "again with: datauploader harvest replay."
)
DESCRIBE_AGAIN = (
    "The files themselves are not affected. Correct the metadata on the page of the upload: "
    "press Edit at Description and parameters."
)
RARELY = "It is retried automatically, at growing intervals."
_NAMED = 3


class DatasetContents:
    """Contents of datasets: what is told of one upload after another; may be used from any number of threads."""

    def __init__(
        self, store: Store, outbox: Outbox, catalogue: port.Catalogue, grace: GracePeriod, stopping: Callable[[], bool]
    ) -> None:
        """Work until `stopping` says so; be silent about what fails no longer than `grace`."""
        self._store, self._outbox, self._catalogue = store, outbox, catalogue
        self._grace, self._stopping = grace, stopping

    def register_files(self, request: Event[EventData], upload: WantedDataset, dataset_id: str) -> bool:
        """Register stored files in batches until a batch has room left; return whether there were any.

        Raises:
            CatalogError: it is about all of them.
        """
        wanted = _wanted(request)
        remote, below = f"{wanted.destination.remote}:", f"{wanted.destination.location}/"
        lasts = self._grace.has_ended(upload.attempts, upload.since, time.time())
        on = (CatalogueRefused, *UNSURE) if lasts else (CatalogueRefused,)

        def send(some: Sequence[WantedDatafile]) -> None:
            datafiles = [
                port.Datafile(object_.removeprefix(below), remote + object_, size, sha256, mtime_ns)
                for _, _, size, sha256, _, object_, mtime_ns, _ in some
            ]
            self._catalogue.register_datafiles(dataset_id, datafiles)
            crash_point("catalog.registered")

        registered = False
        while not self._stopping():
            with self._store.reading() as db:
                batch = DatafileTable(db).wanted_files(wanted.upload_id, BATCH)
                known = Objections(db).refused_datafiles(wanted.upload_id) if batch else set()
            if not batch:
                break
            again = [[one] for one in batch if one.path in known] if known else []
            rest = [one for one in batch if one.path not in known] if known else batch
            tried = ((some, attempt(some, send, (CatalogueRefused, *UNSURE))) for some in again)
            for some, error in chain(tried, send_apart(rest, send, on) if rest else ()):
                if error is None:
                    self._registered(request, dataset_id, some)
                else:
                    self._refused(request, dataset_id, some[0], error, upload.since)
            registered = True
            if len(batch) < BATCH:
                break
        return registered

    def attach_metadata(self, request: Event[EventData], dataset_id: str) -> CatalogError | None:
        """Attach what was read in files and asked for with the dataset; return why nothing can be attached now."""
        upload_id = request.data.upload_id
        while not self._stopping():
            with self._store.reading() as db:
                rows = PendingMetadataTable(db).pending_metadata(upload_id, 100)
            if not rows:
                return None
            for row in rows:
                path = _path(_wanted(request), row.stored.object) if row.stored else None
                lasts = self._grace.has_ended(row.attempts, row.since, time.time())
                error: CatalogError | None
                try:
                    error = attach(self._catalogue, dataset_id, row.parameters, path, unsure=lasts)
                except CatalogError as all_of_it:
                    error = all_of_it
                except Exception as fault:  # the boundary of a row: metadata never keep a dataset from its completion
                    log.exception("metadata_failed", path=path)
                    error = BadAnswer(f"an unexpected error ({type(fault).__name__}); the catalog's log says more")
                if error is not None and is_away(error):
                    return error
                crash_point("catalog.described")
                self._attached(request, dataset_id, row, error)
        return None

    def _registered(self, request: Event[EventData], dataset_id: str, batch: Sequence[WantedDatafile]) -> None:
        upload_id = request.data.upload_id
        with self._store.transaction() as db:
            DatafileTable(db).mark_registered(upload_id, batch)
            for receipt, identity in receipts.of_registered(
                upload_id, dataset_id, ((one.stored, one.state) for one in batch)
            ):
                Outbox.put(db, request.follow(receipt, service="catalog", id=identity))
            taken = set(Objections(db).settle_datafiles(upload_id, (one.path for one in batch)))
            mended = [one.version() for one in batch if one.path in taken] if taken else []
            refusals = [RefusedFile(file=file, what="datafile", detail="") for file in mended]
            self._say(db, request, dataset_id, refusals)
        crash_point("catalog.registered-noted")
        self._outbox.wake()
        metrics.note_files("catalogued", "ok", (one.size for one in batch))

    def _refused(
        self, request: Event[EventData], dataset_id: str, wanted: WantedDatafile, error: CatalogError, since: float
    ) -> None:
        file = wanted.version()
        log.warning("datafile_refused", path=file.path, problem=str(error))
        final = isinstance(error, CatalogueRefused)
        refusal = RefusedFile(
            file=file, what="datafile", detail=str(error)[:2000], final=final,
            hint=RENAME if final else f"{RARELY} Ask the user office.",
        )  # fmt: skip
        with self._store.transaction() as db:
            DatafileTable(db).set_datafile_aside(request.data.upload_id, wanted)
            subject = Subject(request.data.upload_id, wanted.path, "datafile")
            if Objections(db).note_objection(subject, error, self._grace, since):
                self._say(db, request, dataset_id, [refusal])
        self._outbox.wake()
        metrics.FILES.labels("catalogued", "refused").inc()

    def _attached(
        self, request: Event[EventData], dataset_id: str, row: PendingMetadata, error: CatalogError | None
    ) -> None:
        upload_id = request.data.upload_id
        subject = row.subject(upload_id)
        final = error is None or isinstance(error, CatalogueRefused)
        if error is not None:
            log.warning("metadata_refused", path=row.stored.file.path if row.stored else "", problem=str(error))
        with self._store.transaction() as db:
            if final:
                db.execute("DELETE FROM parameters WHERE id = ?", (row.id,))
            else:
                db.execute("UPDATE parameters SET aside = 1 WHERE id = ?", (row.id,))
            objections = Objections(db)
            tell = (
                objections.settle_objection(subject)
                if error is None
                else objections.note_objection(subject, error, self._grace)
            )
            detail, again = str(error or "")[:2000], "" if final else f" {RARELY}"
            file = row.stored.file if row.stored else None
            if tell and file is None:  # the dataset's own; "" takes back what was said
                sentence = f"{detail} {DESCRIBE_AGAIN}{again}"[:2000] if detail else ""
                self._say(db, request, dataset_id, (), sentence)
            elif tell and file is not None:
                hint = f"{READ_AGAIN}{again}" if detail else ""
                refusal = RefusedFile(
                    file=file,
                    what="metadata",
                    harvester=row.harvester,
                    detail=detail,
                    hint=hint,
                    final=final,
                )
                self._say(db, request, dataset_id, [refusal])
        self._outbox.wake()

    @staticmethod
    def _say(
        db: sqlite3.Connection, request: Event[EventData], dataset_id: str, refusals: Sequence[RefusedFile],
        metadata: str | None = None,
    ) -> None:  # fmt: skip
        def fact(some: tuple[RefusedFile, ...]) -> DatasetPartlyRefused:
            return DatasetPartlyRefused(
                upload_id=request.data.upload_id, dataset_id=dataset_id, files=some, metadata=metadata
            )

        facts: Iterator[DatasetPartlyRefused] = split(refusals, fact) if refusals else iter(())
        for one in facts if metadata is None else (fact(()),):
            Outbox.put(db, request.follow(one, service="catalog"))


def attach(
    catalogue: port.Catalogue, dataset_id: str, parameters: Sequence[Parameter], datafile: str | None = None, *,
    unsure: bool = False,
) -> CatalogError | None:  # fmt: skip
    """Attach parameters, without those that the catalogue refuses; return an error that names these, if there are any.

    Args:
        catalogue: takes them.
        dataset_id: what they belong to.
        parameters: in any number.
        datafile: the path in the dataset, None for the dataset itself.
        unsure: errors that nobody knows are about single parameters as well.

    Raises:
        CatalogError: it is about all of them.
    """
    if not parameters:
        return None
    on = (CatalogueRefused, *UNSURE) if unsure else (CatalogueRefused,)
    refused: list[tuple[str, CatalogError]] = []

    def send(some: Sequence[Parameter]) -> None:
        catalogue.attach_parameters(dataset_id, parameters_of(some), datafile=datafile)

    for some, error in send_apart(parameters, send, on):
        if error is not None:
            refused.append((some[0].name, error))
    if not refused:
        return None
    said = " ".join(f"{name!r}: {error}" for name, error in refused[:_NAMED])
    more = f" And {len(refused) - _NAMED} more of its values." if len(refused) > _NAMED else ""
    unknown = next((error for _, error in refused if not isinstance(error, CatalogueRefused)), None)
    kind = CatalogueRefused if unknown is None else BadAnswer
    return kind(f"Not accepted: {said}{more}")


def parameters_of(parameters: Sequence[Parameter]) -> list[port.NamedValue]:
    """Write parameters as a catalogue takes them."""
    return [
        port.NamedValue(p.name, str(p.value).lower() if isinstance(p.value, bool) else p.value, p.units)
        for p in parameters
    ]


def _wanted(request: Event[EventData]) -> UploadRequested:
    assert isinstance(request.data, UploadRequested)
    return request.data


def _path(wanted: UploadRequested, name: str) -> str:
    """Return the path below the dataset; the object's own, because that one is text whatever the file's bytes are."""
    return name.removeprefix(f"{wanted.destination.location}/")
