"""What the catalogue does not take keeps nothing else out and is said at its file; nothing waits in silence (F59)."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datauploader.contracts import (
    DatasetAnnotated,
    DatasetCompleted,
    DatasetDelayed,
    DatasetDescribed,
    DatasetEnsured,
    DatasetPartlyRefused,
    DatasetRefused,
    Event,
    ExtractedFile,
    FileCatalogued,
    FileVersion,
    MetadataExtracted,
    Parameter,
    Person,
    RefusedFile,
    UploadControlled,
)
from datauploader.contracts.questions import CatalogCondition, HowIsTheCatalog
from datauploader.reliability import Store, inbox
from datauploader_catalog import description_queue, schema
from datauploader_catalog.adapters.memory import Fault
from datauploader_catalog.description_queue import DescriptionQueue
from datauploader_catalog.ledger import WantedDatasets
from datauploader_catalog.metadata import PendingMetadataTable
from datauploader_testing.waiting import eventually

from .test_catalog_service import HERE, UPLOAD, World, requested, sealed, stored, version

ALWAYS = 1_000_000
pytestmark = pytest.mark.fault("F59")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A running catalog service."""
    made = World(tmp_path)
    yield made
    made.stop()
    made.outside.close()


def read(*files: FileVersion, name: str = "title", harvester: str = "nexus") -> MetadataExtracted:
    """What a harvester says of files: one value, and another that every catalogue takes."""
    values = (Parameter(name=name, value="long"), Parameter(name="frames", value=3))
    return MetadataExtracted(
        upload_id=UPLOAD, harvester=harvester, files=tuple(ExtractedFile(file=one, parameters=values) for one in files)
    )


def retry(world: World) -> None:
    """Do what a person does when the cause is gone."""
    world.catalogue.heal()
    world.say(UploadControlled(upload_id=UPLOAD, action="retry", requested_by=Person(id="1101")))


def refusals(world: World, count: int = 1) -> list[RefusedFile]:
    """Return what was said at files."""
    return eventually(
        lambda: (
            found if len(found := [f for e in world.await_(DatasetPartlyRefused) for f in e.files]) >= count else []
        ),
        what=f"{count} refusals are said",
    )


def age(world: World) -> None:
    """Let what waits have waited for a long time, and be tried again now."""
    with world.service._store.transaction() as db:
        db.execute("UPDATE uploads SET attempts = 9, since = since - 10000, due = 0 WHERE since > 0")
        db.execute("UPDATE objections SET attempts = 9, since = since - 10000, due = 1 WHERE due > 0")
    world.service._worker.wake()


def waits(world: World) -> bool:
    """Tell whether the upload was put off."""
    with world.service._store.reading() as db:
        return db.execute("SELECT 1 FROM uploads WHERE since > 0").fetchone() is not None


def rests(world: World) -> bool:
    """Tell whether the catalog has nothing to do, so that it waits instead of looking again and again."""
    with world.service._store.reading() as db:
        return WantedDatasets(db).next_upload(time.time(), ()) is None


def condition(world: World) -> CatalogCondition:
    """Ask as the gateway does."""
    return world.outside.ask(HowIsTheCatalog(), CatalogCondition).result(60)


def test_one_refused_parameter_keeps_neither_the_others_nor_the_dataset_waiting(world: World) -> None:
    """It is said at its file, in the catalogue's words; what else was read in it is taken."""
    one, two = version("a.nxs", "a"), version("b.nxs", "b")
    world.catalogue.fail("add_parameters", Fault.VALUE, times=ALWAYS, match="title")
    for data in (requested(), stored(one, two), read(one), read(two, name="sample"), sealed(one, two)):
        world.say(data)
    world.await_(DatasetCompleted)
    (said,) = refusals(world)
    assert (said.file.path, said.what, said.harvester, said.final) == ("a.nxs", "metadata", "nexus", True)
    assert "'title'" in said.detail
    assert "as it was told" in said.detail
    held = world.catalogue.parameters
    eventually(
        lambda: {"frames", "sample"} <= set(held.get(("1", "b.nxs"), {})), what="the other file has its metadata"
    )
    assert set(held["1", "a.nxs"]) == {"frames"}


def test_what_is_read_again_and_taken_is_no_refusal_any_more(world: World) -> None:
    """The column was widened, and the harvester has replayed."""
    one = version("a.nxs")
    world.catalogue.fail("add_parameters", Fault.VALUE, times=ALWAYS, match="title")
    for data in (requested(), stored(one), read(one)):
        world.say(data)
    refusals(world)
    world.catalogue.heal()
    world.say(read(one))
    assert refusals(world, 2)[1].detail == ""


def test_metadata_that_fail_for_ever_do_not_keep_the_dataset_from_its_completion(world: World) -> None:
    """Whatever the reason: away, unknown, unreadable, or not expected at all."""
    one = version("a.nxs")
    for kind in (Fault.UNAVAILABLE, Fault.UNKNOWN, Fault.UNREADABLE):
        world.catalogue.fail("add_parameters", kind, times=ALWAYS, match="a.nxs" if kind is Fault.UNREADABLE else "")
    for data in (requested(), stored(one), read(one), sealed(one)):
        world.say(data)
    world.await_(DatasetCompleted)


def test_an_unknown_refusal_of_metadata_is_told_after_a_while_and_taken_back(world: World) -> None:
    """It is tried rarely then, and taken once the catalogue takes it."""
    one = version("a.nxs")
    world.catalogue.fail("add_parameters", Fault.UNKNOWN, times=ALWAYS, match="a.nxs")
    for data in (requested(), stored(one), read(one)):
        world.say(data)
    eventually(lambda: _objections(world), what="it was tried")
    age(world)
    said = refusals(world)[0]
    assert (said.what, said.final) == ("metadata", False)
    assert "at growing intervals" in said.hint
    retry(world)
    assert refusals(world, 2)[1].detail == ""
    assert set(world.catalogue.parameters["1", "a.nxs"]) == {"title", "frames"}


def _objections(world: World) -> list[sqlite3.Row]:
    with world.service._store.reading() as db:
        return db.execute("SELECT * FROM objections WHERE due > 0").fetchall()


def test_refused_metadata_of_the_dataset_itself_do_not_refuse_the_dataset(world: World) -> None:
    """The note at the dataset names it."""
    one = version("a.h5")
    world.catalogue.fail("add_parameters", Fault.VALUE, times=ALWAYS, match="energy")
    for data in (requested(), stored(one), sealed(one)):
        world.say(data)
    world.await_(DatasetCompleted)
    assert "'energy'" in (world.await_(DatasetPartlyRefused)[0].metadata or "")


def described(energy: float) -> DatasetDescribed:
    """Say what the dataset's own metadata are now."""
    anna = Person(id="1101", name="Anna")
    values = (Parameter(name="energy", value=energy),)
    return DatasetDescribed(upload_id=UPLOAD, description="", parameters=values, requested_by=anna)


def test_who_describes_the_dataset_anew_puts_its_refused_metadata_right(world: World) -> None:
    """The note at the dataset goes."""
    world.catalogue.fail("add_parameters", Fault.VALUE, times=ALWAYS, match="energy")
    world.say(requested())
    assert world.await_(DatasetPartlyRefused)[0].metadata
    world.catalogue.heal()
    world.say(described(9.0))
    assert world.await_(DatasetPartlyRefused, 2)[1].metadata == ""
    assert world.catalogue.parameters["1", ""]["energy"].value == 9.0


def test_a_retry_does_not_bring_back_what_was_asked_for_before_somebody_described_it(world: World) -> None:
    """The dataset is ensured anew, and its metadata stay as they were said last."""
    world.say(requested())
    eventually(lambda: world.catalogue.parameters.get(("1", "")), what="what was asked for is there")
    world.say(described(9.0))
    world.await_(DatasetAnnotated)
    world.catalogue.fail("add_datafiles", Fault.REFUSED)
    world.say(stored(version("a.h5")))
    world.await_(DatasetRefused)
    retry(world)
    world.await_(FileCatalogued)
    assert world.catalogue.parameters["1", ""]["energy"].value == 9.0


def test_what_was_asked_for_with_a_dataset_is_told_before_what_was_said_later() -> None:
    """Else the older metadata would replace the newer ones; what fails for longer keeps no description waiting."""
    store = Store(None, [inbox.SCHEMA, schema.SCHEMA, description_queue.SCHEMA])
    with store.transaction() as db:
        WantedDatasets(db).add_upload(Event(data=requested(), station=HERE, service="test"))
        db.execute("UPDATE uploads SET state = 'ensured', dataset_id = '1'")
        PendingMetadataTable(db).add_metadata(UPLOAD, None, requested().dataset.parameters)
        queue = DescriptionQueue(db)
        queue.enqueue_description(Event(data=described(9.0), station=HERE, service="test"))
        assert queue.next_description(1, 60) is None
        assert queue.has_waiting_descriptions()
        db.execute("UPDATE parameters SET aside = 1")
        assert queue.next_description(1, 60) is not None


def test_one_refused_datafile_is_said_at_the_file_and_keeps_the_dataset_open(world: World) -> None:
    """All others are catalogued; a person's retry completes the dataset, and takes the word back."""
    files = [version(f"{name}.h5", "a") for name in "abcdefghijkl"]
    world.catalogue.fail("add_datafiles", Fault.VALUE, times=ALWAYS, match="e.h5")
    for data in (requested(), stored(*files), sealed(*files)):
        world.say(data)
    (said,) = refusals(world)
    assert (said.file.path, said.what, said.final) == ("e.h5", "datafile", True)
    assert said.hint
    eventually(lambda: len(world.catalogue.datafiles["1"]) == len(files) - 1, what="all others are datafiles")
    known = {one.file.path for event in world.await_(FileCatalogued) for one in event.files}
    assert "e.h5" not in known
    assert not world.catalogue.datasets["1"].complete
    eventually(lambda: rests(world), what="the catalog has nothing to do")
    retry(world)
    world.await_(DatasetCompleted)
    assert refusals(world, 2)[1].detail == ""


def test_a_sealed_dataset_that_is_cancelled_before_its_completion_gives_the_catalog_nothing_to_do(world: World) -> None:
    """It is never completed, so that it must not be looked at again and again."""
    files = [version("a.h5", "a"), version("b.h5", "b")]
    world.say(requested())
    world.await_(DatasetEnsured)
    world.say(UploadControlled(upload_id=UPLOAD, action="cancel", requested_by=Person(id="1101")))
    for data in (stored(*files), sealed(*files)):
        world.say(data)
    eventually(lambda: len(world.catalogue.datafiles["1"]) == len(files), what="what is stored is told")
    eventually(lambda: rests(world), what="the catalog rests")


def test_a_file_at_which_the_catalogue_fails_for_ever_is_found_told_and_tried_rarely(world: World) -> None:
    """Nobody knows whether it passes: the others go in after a while, and it itself once the catalogue takes it."""
    files = [version(f"{name}.h5", "a") for name in "abcdefghijkl"]
    world.catalogue.fail("add_datafiles", Fault.UNKNOWN, times=ALWAYS, match="e.h5")
    for data in (requested(), stored(*files), sealed(*files)):
        world.say(data)
    eventually(lambda: waits(world), what="it was tried")
    assert not world.catalogue.datafiles["1"]
    age(world)
    (said,) = refusals(world)
    assert (said.file.path, said.what, said.final) == ("e.h5", "datafile", False)
    eventually(lambda: len(world.catalogue.datafiles["1"]) == len(files) - 1, what="all others are datafiles")
    age(world)
    new = version("new.h5", "b")
    world.say(stored(new))
    eventually(lambda: "new.h5" in world.catalogue.datafiles["1"], what="it keeps no later file waiting")
    world.catalogue.heal()
    age(world)
    assert refusals(world, 2)[-1].detail == ""
    assert "e.h5" in world.catalogue.datafiles["1"]


def test_a_name_that_the_catalogue_cannot_hold_is_refused_at_once(world: World) -> None:
    """Its words are shown at the upload, which needs a person."""
    world.catalogue.fail("create_dataset", Fault.VALUE, times=ALWAYS)
    world.say(requested())
    assert "as it was told" in world.await_(DatasetRefused)[0].detail


@pytest.mark.parametrize("operation", ["create_dataset", "add_datafiles", "complete_dataset"])
@pytest.mark.parametrize("kind", [Fault.UNKNOWN, Fault.UNAVAILABLE])
def test_what_waits_too_long_is_told_and_taken_back(world: World, operation: str, kind: Fault) -> None:
    """With the cause and the next attempt; a person is asked where nobody knows whether it passes."""
    one = version("a.h5")
    world.catalogue.fail(operation, kind, times=ALWAYS)
    for data in (requested(), stored(one), sealed(one)):
        world.say(data)
    eventually(lambda: waits(world), what="it was tried")
    assert not [event for event in world.heard if isinstance(event.data, DatasetDelayed)]
    age(world)
    said = world.await_(DatasetDelayed)[0]
    assert said.since is not None
    assert said.needs_person == (kind is Fault.UNKNOWN)
    assert said.retry_s >= 60
    assert condition(world).waiting == (said.detail,)
    retry(world)
    world.await_(DatasetCompleted)
    assert world.await_(DatasetDelayed, 2)[1].detail == ""
    assert not condition(world).waiting


def test_an_upload_whose_request_cannot_be_read_keeps_no_other_waiting(world: World) -> None:
    """It waits alone, and the service says so."""
    world.say(requested())
    world.await_(DatasetEnsured)
    with world.service._store.transaction() as db:
        db.execute("INSERT INTO uploads (upload_id, request, state) VALUES ('broken-01', 'nonsense', 'wanted')")
    one = version("a.h5")
    world.say(stored(one))
    world.say(sealed(one))
    world.await_(DatasetCompleted)
    eventually(lambda: any("unexpected" in check.detail for check in world.service.checks()), what="it is said")


class Deadly(BaseException):
    """Ends a thread, as nothing should."""


def ending(*_: object, **__: object) -> None:
    """End the thread that calls."""
    raise Deadly


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("thread", ["catalogue.0", "catalogue.words", "outbox"])
def test_a_thread_that_has_ended_is_told(world: World, thread: str) -> None:
    """By the service's own health, and to the gateway, which asks."""
    service = world.service
    if thread == "catalogue.0":
        service._worker._advance = ending  # type: ignore[method-assign]
        world.say(requested())
    elif thread == "catalogue.words":
        service._descriptions._step = ending  # type: ignore[method-assign]
        service._descriptions.wake()
    else:
        service._outbox._turn = ending  # type: ignore[method-assign]
        service._outbox.wake()
    eventually(lambda: any("has ended" in sentence for sentence in condition(world).troubles), what="it is said")
    assert any("has ended" in check.detail and not check.ok for check in service.checks())


def test_a_state_file_that_cannot_be_used_is_told_and_stops_being_told(world: World) -> None:
    """Each thread says so, and goes on by itself."""
    service = world.service

    def refusing(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    steps = service._worker._step, service._descriptions._step
    service._worker._step = service._descriptions._step = refusing  # type: ignore[method-assign, assignment]
    world.say(requested())
    eventually(lambda: any("disk is full" in sentence for sentence in condition(world).troubles), what="it is said")
    service._worker._step, service._descriptions._step = steps  # type: ignore[method-assign]
    world.await_(DatasetEnsured)
    eventually(lambda: not condition(world).troubles, what="it is said no more")


def test_a_queue_that_could_not_be_taken_up_is_told(world: World) -> None:
    """Nobody else would hear of what goes wrong in that thread; with the next turn that goes well it is over."""

    def failing() -> None:
        raise RuntimeError

    world.service._in_turn(failing)
    eventually(
        lambda: any("took up its queue" in sentence for sentence in condition(world).troubles), what="it is said"
    )
    world.service._in_turn(lambda: None)
    eventually(lambda: not condition(world).troubles, what="it is said no more")
