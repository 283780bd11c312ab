"""The catalog service with its real handlers, ledger and workers, on the memory engine and the memory catalogue."""

import itertools
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import ValidationError

from datauploader.contracts import (
    DatasetCompleted,
    DatasetEnsured,
    DatasetRefused,
    DatasetSpec,
    Destination,
    Event,
    EventData,
    ExtractedFile,
    FileCatalogued,
    FileStored,
    FileVersion,
    MetadataExtracted,
    Parameter,
    Person,
    Station,
    StationReported,
    StoredFile,
    UploadControlled,
    UploadRequested,
    UploadSealed,
)
from datauploader.contracts.model import Question, WireModel, microseconds
from datauploader.contracts.questions import (
    Heard,
    Identity,
    Investigations,
    LastHeard,
    ListInvestigations,
    MayUpload,
    UploadRight,
    WhoIs,
)
from datauploader.contracts.uploads import manifest_digest
from datauploader.errors import NoAnswer, QuestionRefused
from datauploader.messaging import connect
from datauploader.messaging.port import Consumer, Handler, Start
from datauploader.messaging.topology import catalog_queue, gateway_queue, transfer_queue, watcher_queue
from datauploader.plugins.catalogue.errors import NotTrusted
from datauploader.plugins.catalogue.port import CatalogueInvestigation, CatalogueUser
from datauploader.reliability import Store, inbox, outbox
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_catalog import claims, description_queue, proposals, schema
from datauploader_catalog.adapters.memory import Fault, MemoryCatalogue
from datauploader_catalog.ledger import WantedDatasets
from datauploader_catalog.service import CatalogService
from datauploader_catalog.settings import CatalogSettings
from datauploader_testing.auditing import auditor
from datauploader_testing.waiting import eventually

HERE = Station(facility="elettra", beamline="xrd1", station="ws01")
THERE = Station(facility="elettra", beamline="xrd2", station="ws01")
UPLOAD = "upload-0001"
D = TypeVar("D", bound=EventData)
DESTINATION = Destination(remote="store", location="20260101/run1")


class World:
    """A catalog service and everything around it that it hears and says."""

    def __init__(self, folder: Path) -> None:
        self.catalogue = MemoryCatalogue()
        anna = CatalogueUser("1101", "anna", 1, 1)
        mine = CatalogueInvestigation("20260101", "20260101", "1", "Grains", "/experiments/20260101")
        self.catalogue.seed("session-anna", anna, [mine])
        self.folder, self.url = folder, f"memory://{uuid.uuid4()}"
        self.heard: list[Event[EventData]] = []
        self.readings: list[Start] = []
        self.outside = connect(self.url, name="test")
        self.outside.consume(gateway_queue(), lambda delivery: self.heard.append(delivery.event))
        self.listen()
        self.start()

    def listen(self) -> None:
        """Be the stations, whose storages always hold what they should."""
        for station in (HERE, THERE):
            self.outside.consume(watcher_queue(station), lambda _delivery: None)
            self.outside.consume(transfer_queue(station), auditor(self.outside))

    def start(self, **more: object) -> None:
        """Start the service on its state."""
        self.bus = connect(self.url, name="catalog")
        replay = self.bus.replay

        def noted(start: Start, handler: Handler, *, at_end: Callable[[], None] | None = None) -> Consumer:
            self.readings.append(start)
            return replay(start, handler, at_end=at_end)

        self.bus.replay = noted  # type: ignore[method-assign]
        settings = CatalogSettings.model_validate({"adapter": "memory", **more})
        self.service = CatalogService(Context(Settings(state_dir=self.folder), self.bus), self.catalogue, settings)
        self.service.start()
        eventually(lambda: self.service._answering, what="it has its queue, and answers")

    def stop(self) -> None:
        """Stop the service."""
        self.service.stop(5.0)
        self.bus.close()

    def say(self, data: EventData, station: Station = HERE) -> None:
        """Publish an event as another service would."""
        self.outside.publish(Event(data=data, station=station, service="test")).result(60)

    def parked(self) -> list[str]:
        """Return why messages were set aside."""
        return [message.reason for message in self.outside.parked(catalog_queue())]

    def await_(self, kind: type[D], count: int = 1) -> list[D]:
        """Wait for so many events of a kind."""

        def found() -> list[D]:
            events = [event.data for event in list(self.heard) if isinstance(event.data, kind)]
            return events if len(events) >= count else []

        return eventually(found, what=f"{count} {kind.__name__}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A running catalog service."""
    made = World(tmp_path)
    yield made
    made.stop()
    made.outside.close()


def requested(upload_id: str = UPLOAD, user: str = "1101", investigation: str = "20260101") -> UploadRequested:
    """A request for the dataset run1."""
    return UploadRequested(
        upload_id=upload_id,
        investigation=investigation,
        dataset=DatasetSpec(name="run1", description="first run", parameters=(Parameter(name="energy", value=9.5),)),
        root="/data/run1",
        mode="batch",
        destination=DESTINATION,
        requested_by=Person(id=user),
    )


_revisions = itertools.count(1)


def version(name: str, digit: str = "a") -> FileVersion:
    """A version of a file, newer than any before."""
    return FileVersion.of(name.encode(), size=10, mtime_ns=5, sha256=digit * 64, revision=next(_revisions))


def stored(*files: FileVersion, upload_id: str = UPLOAD) -> FileStored:
    """The news that these are on the storage."""
    facts = [StoredFile(file=f, object=f"{DESTINATION.location}/{f.path}", state="verified", method="t") for f in files]
    return FileStored(upload_id=upload_id, destination=DESTINATION, files=tuple(facts))


def sealed(*files: FileVersion, upload_id: str = UPLOAD) -> UploadSealed:
    """The manifest of exactly these files."""
    digest = manifest_digest((f.raw, f.sha256) for f in files)
    size = sum(f.size for f in files)
    return UploadSealed(upload_id=upload_id, files=len(files), bytes=size, left_out=0, manifest_sha256=digest)


@pytest.mark.fault("F54")
def test_the_second_seal_counts_when_the_clock_of_the_first_was_ahead(world: World) -> None:
    """The watcher's clock was put right in between: its numbers say which seal is the later one."""
    kept, gone = version("a.h5", "a"), version("b.h5", "b")
    now = datetime.now(UTC)
    world.say(requested())
    for number, (at, seal) in enumerate(((now + timedelta(hours=2), sealed(kept, gone)), (now, sealed(kept)))):
        event = Event(data=seal, station=HERE, service="test", time=at, sequence=microseconds(now) + number)
        world.outside.publish(event).result(60)
    world.say(stored(kept))
    assert world.await_(DatasetCompleted)[0].files == 1


@pytest.mark.fault("F54")
def test_an_upload_that_was_put_off_with_the_clock_ahead_goes_on_when_the_clock_is_put_right(world: World) -> None:
    """It does not wait longer for its next attempt than the longest pause."""
    world.stop()
    schemas = [inbox.SCHEMA, outbox.SCHEMA, schema.SCHEMA, description_queue.SCHEMA, claims.SCHEMA, proposals.SCHEMA]
    state = Store(world.folder / "catalog.sqlite", schemas)
    with state.transaction() as db:
        WantedDatasets(db).add_upload(Event(data=requested(), station=HERE, service="test"))
        db.execute("UPDATE uploads SET due = ?, attempts = 3", (time.time() + 7200,))
    state.close()
    world.start()
    world.await_(DatasetEnsured)


def test_a_requested_dataset_with_its_files_becomes_a_complete_dataset(world: World) -> None:
    """Request, stored files and seal lead to one complete dataset with exactly these datafiles."""
    files = [version("a.h5", "a"), version("b/c.h5", "b")]
    world.say(requested())
    world.say(stored(*files))
    world.say(sealed(*files))
    completed = world.await_(DatasetCompleted)[0]
    assert completed.files == 2
    (dataset,) = world.catalogue.datasets.values()
    assert dataset.complete
    assert set(world.catalogue.datafiles[dataset.id]) == {"a.h5", "b/c.h5"}
    assert world.catalogue.parameters[dataset.id, ""]["energy"].value == 9.5
    assert [f.file.path for f in world.await_(FileCatalogued)[0].files] == ["a.h5", "b/c.h5"]


ORDERS = list(itertools.permutations(range(3)))


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_request_files_and_seal_does_not_matter(world: World, order: tuple[int, ...]) -> None:
    """Messages overtake each other; the dataset is complete all the same, once."""
    file = version("a.h5")
    news = [requested(), stored(file), sealed(file)]
    for index in order:
        world.say(news[index])
    world.await_(DatasetCompleted)
    assert len(world.catalogue.datasets) == 1


@pytest.mark.fault("F26")
def test_every_event_three_times_changes_nothing(world: World) -> None:
    """Duplicates with the same and with other ids lead to one dataset and one completion."""
    file = version("a.h5")
    for _ in range(3):
        for data in (requested(), stored(file), sealed(file)):
            world.say(data)
    world.await_(FileCatalogued)
    world.await_(DatasetCompleted)
    assert len(world.catalogue.datasets) == 1
    assert not world.catalogue.duplicates
    assert len({event.id for event in world.heard if isinstance(event.data, DatasetCompleted)}) == 1


@pytest.mark.fault("F26")
def test_an_older_version_never_replaces_a_newer_one(world: World) -> None:
    """The news of the first version arrives after that of the second."""
    old, new = version("a.h5", "a"), version("a.h5", "b")
    world.say(requested())
    world.say(stored(new))
    world.await_(FileCatalogued)
    world.say(stored(old))
    world.say(sealed(new))
    world.await_(DatasetCompleted)
    (files,) = world.catalogue.datafiles.values()
    assert files["a.h5"].checksum == "b" * 64


def test_a_manifest_with_another_version_does_not_complete_the_dataset(world: World) -> None:
    """Count and names agree, but one file is not the one that was sealed."""
    old, new = version("a.h5", "a"), version("a.h5", "b")
    world.say(requested())
    world.say(stored(old))
    world.say(sealed(new))
    world.await_(FileCatalogued)
    eventually(lambda: any("manifest" in check.detail for check in world.service.checks()), what="the reason is shown")
    assert not any(dataset.complete for dataset in world.catalogue.datasets.values())
    world.say(stored(new))
    world.await_(DatasetCompleted)


@pytest.mark.fault("F42", "F44")
@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE, Fault.UNREADABLE, Fault.LOST])
@pytest.mark.parametrize("operation", ["find_dataset", "create_dataset", "add_datafiles", "complete_dataset"])
def test_it_goes_on_by_itself_when_the_catalogue_comes_back(world: World, kind: Fault, operation: str) -> None:
    """A catalogue that is away, unreadable, or whose answer is lost delays one step and doubles nothing."""
    world.catalogue.fail(operation, kind)
    file = version("a.h5")
    for data in (requested(), stored(file), sealed(file)):
        world.say(data)
    world.await_(DatasetCompleted)
    assert len(world.catalogue.datasets) == 1
    assert not world.catalogue.duplicates


@pytest.mark.fault("F45")
def test_a_permanent_refusal_is_told_and_other_uploads_flow(world: World) -> None:
    """One dataset is refused for good; the next one completes, and a retry takes the first one up again."""
    world.catalogue.fail("create_dataset", Fault.REFUSED, match="run1")
    world.say(requested())
    refused = world.await_(DatasetRefused)[0]
    assert refused.detail
    other = requested("upload-0002").model_copy(update={"dataset": DatasetSpec(name="run2")})
    file = version("a.h5")
    for data in (other, stored(file, upload_id="upload-0002"), sealed(file, upload_id="upload-0002")):
        world.say(data)
    assert world.await_(DatasetCompleted)[0].upload_id == "upload-0002"
    world.say(UploadControlled(upload_id=UPLOAD, action="retry", requested_by=Person(id="1101")))
    assert UPLOAD in {event.upload_id for event in world.await_(DatasetEnsured, 2)}


@pytest.mark.attack("S30")
@pytest.mark.parametrize(("user", "investigation"), [("9999", "20260101"), ("1101", "unknown"), ("rule:x", "unknown")])
def test_membership_is_checked_again_where_the_effect_happens(world: World, user: str, investigation: str) -> None:
    """A forged request for somebody else's investigation makes nothing in the catalogue."""
    world.say(requested(user=user, investigation=investigation))
    assert world.await_(DatasetRefused)[0].hint
    assert not world.catalogue.datasets


@pytest.mark.attack("S30")
def test_a_station_puts_nothing_into_the_dataset_of_another(world: World) -> None:
    """Files, manifest, metadata and requests of another station are set aside with the reason."""
    mine, theirs = version("a.h5"), version("forged.h5")
    title = ExtractedFile(file=mine, parameters=(Parameter(name="title", value="forged"),))
    world.say(requested())
    world.await_(DatasetEnsured)
    again = requested().model_copy(update={"investigation": "other"})
    extracted = MetadataExtracted(upload_id=UPLOAD, harvester="nexus", files=(title,))
    for data in (stored(theirs), sealed(theirs), extracted, again):
        world.say(data, THERE)
    eventually(lambda: len(world.parked()) == 4, what=f"all four are parked, not {world.parked()}")
    assert all(f"{THERE.key} speaks about upload {UPLOAD}" in reason for reason in world.parked())
    world.say(stored(mine))
    world.say(sealed(mine))
    world.await_(DatasetCompleted)
    (files,) = world.catalogue.datafiles.values()
    assert set(files) == {"a.h5"}


@pytest.mark.attack("S35")
def test_another_ones_object_is_no_file_of_an_upload(world: World) -> None:
    """Said before the request it is forgotten, said after it parked: what lies elsewhere, or is said to go there."""
    annas = Destination(remote=DESTINATION.remote, location="20260101/annas")
    first, second, mine = version("a.h5"), version("b.h5"), version("c.h5")
    theirs = [one.model_copy(update={"object": f"{annas.location}/x.h5"}) for one in stored(first, second).files]
    world.say(FileStored(upload_id=UPLOAD, destination=DESTINATION, files=(theirs[0],)))
    eventually(lambda: held(world), what="what was said before the request")
    world.say(requested())
    world.await_(DatasetEnsured)
    assert held(world) == 0
    world.say(FileStored(upload_id=UPLOAD, destination=DESTINATION, files=(theirs[1],)))
    world.say(FileStored(upload_id=UPLOAD, destination=annas, files=(theirs[1],)))
    world.say(stored(mine))
    world.say(sealed(mine))
    world.await_(DatasetCompleted)
    reasons = eventually(lambda: len(parked := world.parked()) == 2 and parked, what="parked messages")
    assert all(reason.startswith("forbidden") for reason in reasons)


def held(world: World) -> int:
    """Count the files that the catalog believes to be stored."""
    with world.service._store.reading() as db:
        return int(db.execute("SELECT count(*) FROM datafiles").fetchone()[0])


@pytest.mark.attack("S30")
def test_what_another_station_said_before_the_request_is_not_taken_over(world: World) -> None:
    """Somebody who guesses an upload's name beforehand gains nothing, and stops nobody."""
    mine, theirs = version("a.h5"), version("forged.h5")
    world.say(stored(theirs), THERE)
    world.say(sealed(theirs), THERE)
    world.say(requested())
    world.say(stored(mine))
    world.say(sealed(mine))
    world.await_(DatasetCompleted)
    (files,) = world.catalogue.datafiles.values()
    assert set(files) == {"a.h5"}


@pytest.mark.attack("S30")
def test_whom_nobody_asked_for_in_the_log_does_not_stop_its_reading(world: World) -> None:
    """The request is older than the log, and a stranger has spoken first: the rest is heard all the same."""
    world.say(stored(version("forged.h5")), THERE)
    world.say(stored(version("a.h5")))
    world.stop()
    for path in world.folder.glob("catalog.sqlite*"):
        path.unlink()
    world.start()
    world.say(requested("upload-0002"))
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read to its end")


@pytest.mark.attack("S19")
@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b"])
def test_no_object_outside_its_folder_can_be_said(name: str) -> None:
    """The contract refuses it, so that no consumer meets it."""
    outside = StoredFile(file=version("a.h5"), object=name, state="verified", method="t")
    with pytest.raises(ValidationError, match="not a path below"):
        FileStored(upload_id="upload-0001", destination=DESTINATION, files=(outside,))


def test_what_harvesters_read_is_attached_when_the_datafile_is_there(world: World) -> None:
    """Metadata that arrive before their datafile wait for it."""
    file = version("a.h5")
    title = Parameter(name="title", value="a scan")
    extracted = ExtractedFile(file=file, parameters=(title,))
    world.say(requested())
    world.say(MetadataExtracted(upload_id=UPLOAD, harvester="nexus", files=(extracted,)))
    world.await_(DatasetEnsured)
    world.say(stored(file))
    (dataset_id,) = world.catalogue.datasets
    found = eventually(lambda: world.catalogue.parameters.get((dataset_id, "a.h5")), what="the parameters")
    assert found["title"].value == "a scan"


def test_a_repeated_announcement_is_answered_with_its_receipt_again(world: World) -> None:
    """A station that lost its receipts hears them again, without another call to the catalogue."""
    file = version("a.h5")
    world.say(requested())
    world.say(stored(file))
    world.await_(FileCatalogued)
    world.say(stored(file))
    first, second = world.await_(FileCatalogued, 2)
    assert first.files == second.files


def test_what_was_not_told_before_a_stop_is_told_after_the_start(world: World) -> None:
    """The service stops while the catalogue is away, and goes on where it was."""
    world.catalogue.fail("find_dataset", Fault.UNAVAILABLE, times=1000)
    file = version("a.h5")
    for data in (requested(), stored(file), sealed(file)):
        world.say(data)
    eventually(lambda: any(not check.ok for check in world.service.checks()), what="the catalogue is seen to be away")
    world.stop()
    world.catalogue.heal()
    world.start()
    world.await_(DatasetCompleted)


@pytest.mark.fault("F28")
def test_a_lost_ledger_is_filled_from_the_event_log(world: World) -> None:
    """Without its state file the service hears everything again and makes nothing twice."""
    file = version("a.h5")
    world.say(requested())
    world.say(stored(file))
    world.await_(FileCatalogued)
    world.stop()
    for path in world.folder.glob("catalog.sqlite*"):
        path.unlink()
    world.start()
    world.say(sealed(file))
    world.await_(DatasetCompleted)
    assert len(world.catalogue.datasets) == 1


@pytest.mark.fault("F40")
def test_a_death_while_the_log_is_heard_is_made_up_for_by_the_next_start(world: World) -> None:
    """The state file is there and holds nothing yet: that is how such a death leaves it."""
    file = version("a.h5")
    world.say(requested())
    world.say(stored(file))
    world.await_(FileCatalogued)
    world.stop()
    for path in world.folder.glob("catalog.sqlite*"):
        path.unlink()
    Store(world.folder / "catalog.sqlite", [inbox.SCHEMA, outbox.SCHEMA, schema.SCHEMA]).close()
    world.start()
    world.say(sealed(file))
    world.await_(DatasetCompleted)
    assert len(world.catalogue.datasets) == 1


@pytest.mark.fault("F23")
def test_a_seal_that_is_said_again_is_answered_again(world: World) -> None:
    """Whoever repeats it has not heard that the dataset is complete; the dataset stays as it is."""
    file = version("a.h5")
    for data in (requested(), stored(file), sealed(file)):
        world.say(data)
    world.await_(DatasetCompleted)
    world.say(sealed(file))
    first, second = world.await_(DatasetCompleted, 2)
    assert first == second
    assert len(world.catalogue.datasets) == 1


@pytest.mark.fault("F28")
def test_the_log_is_read_once_and_not_at_every_start(world: World) -> None:
    """A start after one that has read it to its end believes the state file."""
    world.say(requested())
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read")
    world.stop()
    world.start()
    assert not world.service._store.needs_recovery


@pytest.mark.fault("F53", "F54")
@pytest.mark.parametrize("ahead_s", [0, 7200])
def test_a_ledger_from_a_copy_catches_up_with_the_event_log(world: World, ahead_s: int) -> None:
    """What was asked for and stored since the copy is known again, and both uploads are completed; nothing twice."""
    early, late = version("a.h5"), version("b.h5")
    world.say(requested())
    world.say(stored(early))
    world.await_(FileCatalogued)
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read")
    world.stop()
    shutil.copyfile(world.folder / "catalog.sqlite", world.folder / "copy")
    with closing(sqlite3.connect(world.folder / "copy")) as db, db:  # written with the clock ahead
        db.execute("UPDATE inbox SET seen_at = seen_at + ?", (ahead_s,))
    world.start()
    world.say(stored(late))
    world.await_(FileCatalogued, 2)
    world.say(requested("upload-0002").model_copy(update={"dataset": DatasetSpec(name="run2")}))
    world.await_(DatasetEnsured, 2)
    world.stop()
    for path in world.folder.glob("catalog.sqlite*"):
        path.unlink()
    shutil.copyfile(world.folder / "copy", world.folder / "catalog.sqlite")
    before = len([event for event in world.heard if isinstance(event.data, FileCatalogued)])
    world.start()
    assert not world.service._store.needs_recovery
    world.say(sealed(early, late))
    world.say(sealed(upload_id="upload-0002"))
    world.await_(DatasetCompleted, 2)
    again = [event.data for event in world.heard if isinstance(event.data, FileCatalogued)][before:]
    assert {one.file.path for data in again for one in data.files} <= {"b.h5"}
    assert len(world.catalogue.datasets) == 2


@pytest.mark.fault("F53")
def test_a_catalog_that_the_gateway_knows_to_have_been_further_reads_the_whole_log(world: World) -> None:
    """Whatever the clocks say; its numbers are asked for before anything is done."""
    world.say(requested())
    world.await_(DatasetEnsured)
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read")
    world.stop()
    asked: list[Question] = []

    def gateway(question: Question) -> Heard:
        asked.append(question)
        return Heard(number=1000)

    world.outside.answer("gateway", gateway)
    world.start()
    assert [type(question) for question in asked] == [LastHeard]
    eventually(lambda: world.readings[1:] == [Start(first=True)], what="the log is read from its beginning again")
    file = version("a.h5")
    world.say(stored(file))
    world.say(sealed(file))
    world.await_(DatasetCompleted)
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read again")


@pytest.mark.attack("S30")
@pytest.mark.parametrize(("owner", "kind"), [("1101", DatasetEnsured), ("9999", DatasetRefused)])
def test_a_standing_rule_reaches_what_its_owner_may(world: World, owner: str, kind: type[EventData]) -> None:
    """The deployment says who answers for the rules of a station; the catalogue decides about that person."""
    world.stop()
    world.start(rule_owners={HERE.key: owner})
    world.say(requested(user="rule:scans"))
    assert world.await_(kind)


@pytest.mark.fault("F43")
def test_what_another_catalog_has_heard_meanwhile_is_found_in_the_log(world: World) -> None:
    """Its queue belonged to one with another state for a while; then it comes back here.

    Here the queue stays deaf afterwards, so the answer to an audit would not be heard.
    """
    world.stop()
    world.start(audit=False)
    world.say(requested())
    world.await_(DatasetEnsured)
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read")
    for consumer in world.service._consumers:
        consumer.stop(5)
    world.service._in_turn(world.service._miss)
    eventually(lambda: world.service._store.needs_recovery, what="it knows that it misses something")
    with pytest.raises(NoAnswer):  # the other one answers
        world.outside.ask(WhoIs(session="session-anna"), Identity, timeout_s=0.3).result(60)
    file = version("a.h5")
    world.say(stored(file))
    world.say(sealed(file))
    world.service._in_turn(world.service._take_over)
    world.await_(DatasetCompleted)


def test_a_full_disk_delays_and_ends_no_thread(world: World) -> None:
    """The state file cannot be written for a while; health says so, and all goes on afterwards."""
    world.catalogue.fail("add_datafiles", Fault.UNAVAILABLE, times=1000)
    file = version("a.h5")
    for data in (requested(), stored(file), sealed(file)):
        world.say(data)
    eventually(lambda: any(not check.ok for check in world.service.checks()), what="the catalogue is seen to be away")
    world.service._store._write.execute("PRAGMA query_only = ON")
    eventually(lambda: any("state file" in check.detail for check in world.service.checks()), what="the disk is full")
    world.catalogue.heal()
    world.service._store._write.execute("PRAGMA query_only = OFF")
    world.await_(DatasetCompleted)


@pytest.mark.fault("F57")
def test_the_catalog_says_that_it_is_alive_until_it_stops(world: World) -> None:
    """At once and at its interval, under the address of its computer; the last word is that it stops."""
    assert world.await_(StationReported)[0].state == "ok"
    world.stop()
    world.start(report_interval_s=0.02)
    assert {report.service for report in world.await_(StationReported, 5)} == {"catalog"}
    world.stop()
    states = [event.data.state for event in list(world.heard) if isinstance(event.data, StationReported)]
    assert [state for state in states if state != "ok"] == ["stopping", "stopping"]
    assert states[-1] == "stopping"
    world.start()


@pytest.mark.fault("F57")
def test_the_catalog_says_what_keeps_it_from_its_work(world: World) -> None:
    """A full disk, which leaves the report without a number; a catalogue that is away is none of its own troubles."""
    world.stop()
    world.start(report_interval_s=0.02)
    world.service._stuck = "restart it"
    world.service._store._write.execute("PRAGMA query_only = ON")
    before = len(world.heard)

    def told() -> bool:
        reports = [event for event in list(world.heard)[before:] if isinstance(event.data, StationReported)]
        return any(
            (event.data.state, event.data.troubles, event.sequence) == ("degraded", ("restart it",), None)
            for event in reports
        )

    eventually(told, what="the trouble is told")
    world.service._store._write.execute("PRAGMA query_only = OFF")


A = TypeVar("A", bound=WireModel)


def ask(world: World, question: Question, answer: type[A]) -> A:
    """Ask the service over the broker."""
    return world.outside.ask(question, answer).result(60)


def test_it_answers_who_may_do_what(world: World) -> None:
    """Identity, rights and investigations come from the catalogue; a refusal carries its own words."""
    assert ask(world, MayUpload(user_id="1101", investigation="20260101"), UploadRight) == UploadRight(
        allowed=True, base_dir="experiments/20260101"
    )
    assert not ask(world, MayUpload(user_id="9999", investigation="20260101"), UploadRight).allowed
    assert ask(world, WhoIs(session="session-anna"), Identity).user_id == "1101"
    assert [i.id for i in ask(world, ListInvestigations(user_id="1101"), Investigations).items] == ["20260101"]
    with pytest.raises(QuestionRefused) as refusal:
        ask(world, WhoIs(session="stolen"), Identity)
    assert refusal.value.code == "not-signed-in"
    world.catalogue.fail("authorise", Fault.UNAVAILABLE)
    with pytest.raises(QuestionRefused) as refusal:
        ask(world, MayUpload(user_id="1101", investigation="20260101"), UploadRight)
    assert refusal.value.code == "unavailable"


def test_a_catalogue_that_is_away_is_told_without_any_work(world: World) -> None:
    """By the check that alerts go by; when it answers again, that is told too."""

    def check() -> str:
        return next(check.detail for check in world.service.checks() if check.name == "catalogue")

    world.catalogue.fail("identify", Fault.UNAVAILABLE, times=1000)
    world.service._probe.wake()
    eventually(lambda: "does not answer" in check(), what="it is seen to be away")
    world.catalogue.heal()
    world.service._probe.wake()
    eventually(lambda: not check(), what="it is seen to be back")


def test_a_catalogue_that_does_not_let_the_service_in_is_told_to_operators(world: World) -> None:
    """The page asks only whether the catalogue answers, and it does."""

    def unwilling() -> None:
        raise NotTrusted("The catalogue does not accept the password.")

    world.catalogue.probe_catalogue = unwilling  # type: ignore[method-assign]
    world.service._probe.wake()
    eventually(lambda: "does not accept" in str(world.service._condition().troubles), what="it is said")
