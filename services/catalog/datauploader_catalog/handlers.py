"""What the catalog does when it hears something: it writes down what the catalogue must be told."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from datauploader.contracts import (
    AuditReported,
    DatasetCompleted,
    DatasetDescribed,
    DatasetEnsured,
    Event,
    EventData,
    FileStored,
    InvestigationDescribed,
    MetadataExtracted,
    UploadControlled,
    UploadRejected,
    UploadRequested,
    UploadSealed,
)
from datauploader.contracts.envelope import natural_id
from datauploader.errors import Park, Retry
from datauploader.messaging import Dispatcher, UnitOfWork
from datauploader_catalog import receipts
from datauploader_catalog.audits import AwaitedAudits
from datauploader_catalog.claims import DatasetClaims
from datauploader_catalog.description_queue import DescriptionQueue
from datauploader_catalog.description_sync import outcome_event
from datauploader_catalog.ledger import DatafileTable, OwningStations, WantedDatasets
from datauploader_catalog.metadata import PendingMetadataTable
from datauploader_catalog.objections import Objections
from datauploader_catalog.seals import SealTable

D = TypeVar("D", bound=EventData)


class RequestMissing(Retry):
    """Nobody has asked for the upload yet, and another station has spoken about it: the request may be on its way."""

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"upload {upload_id} was not requested yet", timedelta(seconds=1))


def register(dispatcher: Dispatcher) -> None:
    """Register a handler for every event of the catalog's queue."""
    dispatcher.on(UploadRequested, requested)
    dispatcher.on(UploadControlled, from_owning_station(controlled))
    dispatcher.on(UploadRejected, from_owning_station(rejected))
    dispatcher.on(DatasetEnsured, from_owning_station(said_before))
    dispatcher.on(DatasetCompleted, from_owning_station(said_before))
    dispatcher.on(FileStored, from_owning_station(stored), redeliver=True)
    dispatcher.on(UploadSealed, from_owning_station(sealed))
    dispatcher.on(AuditReported, from_owning_station(audited))
    dispatcher.on(MetadataExtracted, from_owning_station(extracted))
    dispatcher.on(DatasetDescribed, from_owning_station(described), redeliver=True)
    dispatcher.on(InvestigationDescribed, described, redeliver=True)


def from_owning_station(handler: Callable[[UnitOfWork, Event[D]], None]) -> Callable[[UnitOfWork, Event[D]], None]:
    """Let a handler hear only what the station says that the upload belongs to.

    The broker vouches for the station of an event, and for nothing of what its data claim. Until the request is here,
    nobody knows whose the upload is: who was not the first to speak about it is heard again later.
    """

    def handle(unit: UnitOfWork, event: Event[D]) -> None:
        home = OwningStations(unit.db).assign_home(event)
        if home != event.station.key and WantedDatasets(unit.db).is_requested(event.data.upload_id):
            raise _foreign(event, home)
        if home != event.station.key:
            raise RequestMissing(event.data.upload_id)
        handler(unit, event)

    return handle


def _foreign(event: Event[EventData], home: str) -> Park:
    return Park(f"{event.station.key} speaks about upload {event.data.upload_id}, which belongs to {home}")


def requested(unit: UnitOfWork, event: Event[UploadRequested]) -> None:
    """A dataset is wanted; an upload that was asked for already does not change its station."""
    stations = OwningStations(unit.db)
    home = stations.assign_home(event)
    if home != event.station.key and not stations.move_upload(event):
        raise _foreign(event, home)
    if WantedDatasets(unit.db).add_upload(event):
        DatafileTable(unit.db).drop_strangers(event)
    DatasetClaims(unit.db).add_claim(event)


def controlled(unit: UnitOfWork, event: Event[UploadControlled]) -> None:
    """A retry asks the catalogue once more for what it has refused; who cancels keeps the dataset's name.

    A retry also has the storage looked at anew, and tries at once what is put off.
    """
    upload_id = event.data.upload_id
    if event.data.action == "cancel":
        DatasetClaims(unit.db).cancel_claim(upload_id)
    if event.data.action == "retry":
        AwaitedAudits(unit.db).forget_audit(upload_id)
        Objections(unit.db).retry_objections(upload_id, (file.raw for file in event.data.files))
        unit.db.execute("UPDATE uploads SET due = 0 WHERE upload_id = ?", (upload_id,))
        query = "UPDATE uploads SET state = 'wanted', due = 0, attempts = 0 WHERE upload_id = ? AND state = 'refused'"
        if unit.db.execute(query, (upload_id,)).rowcount:
            DatasetClaims(unit.db).set_claim_state(upload_id, "wanted")


def rejected(unit: UnitOfWork, event: Event[UploadRejected]) -> None:
    """The station cannot do the upload, so that its dataset's name is free."""
    DatasetClaims(unit.db).set_claim_state(event.data.upload_id, "rejected")


def said_before(unit: UnitOfWork, event: Event[DatasetEnsured] | Event[DatasetCompleted]) -> None:
    """The log tells a catalog that has forgotten it which dataset an upload had."""
    query = "UPDATE uploads SET dataset_id = ? WHERE upload_id = ? AND dataset_id = ''"
    unit.db.execute(query, (event.data.dataset_id, event.data.upload_id))


def stored(unit: UnitOfWork, event: Event[FileStored]) -> None:
    """Files are on the storage; the receipts of those that are registered already are sent once more."""
    asked = WantedDatasets(unit.db).find_destination(event.data.upload_id)
    if asked is not None and (why := event.data.forbidden(asked)):
        raise Park(why)
    known = DatafileTable(unit.db).add_stored(event.data.upload_id, event.data.files)
    if not known:
        return
    row = unit.db.execute("SELECT dataset_id FROM uploads WHERE upload_id = ?", (event.data.upload_id,)).fetchone()
    for receipt, identity in receipts.of_registered(
        event.data.upload_id, row["dataset_id"], ((one.to_json().decode(), one.state) for one in known)
    ):
        unit.follow(receipt, id=identity)


def sealed(unit: UnitOfWork, event: Event[UploadSealed]) -> None:
    """The manifest is complete."""
    SealTable(unit.db).add_seal(event)


def audited(unit: UnitOfWork, event: Event[AuditReported]) -> None:
    """The storage was compared with a manifest."""
    AwaitedAudits(unit.db).note_report(event.data)


def extracted(unit: UnitOfWork, event: Event[MetadataExtracted]) -> None:
    """A harvester has read something in files."""
    for item in event.data.files:
        if item.parameters:
            PendingMetadataTable(unit.db).add_metadata(
                event.data.upload_id, item.file, item.parameters, event.data.harvester
            )


def described(unit: UnitOfWork, event: Event[DatasetDescribed] | Event[InvestigationDescribed]) -> None:
    """Somebody has described a dataset or an investigation; what was told to the catalogue already is answered again.

    A description that a later one has overtaken gets the answer of that one, and waits with it until there is one.
    """
    description = DescriptionQueue(unit.db).enqueue_description(event)
    if description.told:
        fact = outcome_event(description, description.refusal)
        unit.follow(
            fact, id=natural_id(type(fact), description.subject, event.id, description.event.id, description.refusal)
        )
