"""Two uploads, one dataset: the catalog decides whose it is before anything is registered."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.handlers.catalog.test_catalog_service import HERE, THERE, World, requested, sealed, stored, version

from datauploader.contracts import (
    DatasetCompleted,
    DatasetEnsured,
    DatasetRefused,
    DatasetSpec,
    Event,
    EventData,
    FileCatalogued,
    Person,
    Station,
    UploadControlled,
    UploadRejected,
    UploadRequested,
    encode,
)
from datauploader.contracts.questions import Datafiles, DatasetState, ListDatafiles, LookAtDataset
from datauploader.errors import QuestionRefused
from datauploader.plugins.catalogue.port import CatalogueUser, NewDataset
from datauploader.reliability import Store, inbox, outbox
from datauploader_catalog import claims, schema
from datauploader_catalog.adapters.memory import Fault
from datauploader_catalog.queries import CatalogQueries
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.fault("F47")
ANNA, BEN, RULE = "1101", "1102", "rule:scans"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A running catalog service, and a second person of the same investigation."""
    made = World(tmp_path)
    made.catalogue.seed("session-ben", CatalogueUser(BEN, "ben", 2, 2), [made.catalogue.known["20260101"]])
    yield made
    made.stop()
    made.outside.close()


def wish(upload_id: str, user: str = ANNA, *, name: str = "run1", continues: tuple[str, ...] = ()) -> UploadRequested:
    """A request for a dataset of the investigation."""
    more = {"dataset": DatasetSpec(name=name), "continues": continues}
    return requested(upload_id, user).model_copy(update=more)


def cancel(upload_id: str) -> UploadControlled:
    """Somebody's word that an upload is to stop."""
    return UploadControlled(upload_id=upload_id, action="cancel", requested_by=Person(id=ANNA))


def complete(world: World, upload_id: str = "upload-0001", user: str = ANNA) -> str:
    """Have an upload complete its dataset; return the sum of its one file."""
    file = version("a.h5", "a")
    for data in (wish(upload_id, user), stored(file, upload_id=upload_id), sealed(file, upload_id=upload_id)):
        world.say(data)
    world.await_(DatasetCompleted)
    return file.sha256


def begin(world: World, upload_id: str = "upload-0001", user: str = ANNA, station: Station = HERE) -> None:
    """Have an upload take its dataset."""
    world.say(wish(upload_id, user), station)
    world.await_(DatasetEnsured)


def refusal(world: World, data: EventData, station: Station = HERE) -> DatasetRefused:
    """Say something and wait for the next refusal."""
    before = len([event for event in list(world.heard) if isinstance(event.data, DatasetRefused)])
    world.say(data, station)
    return world.await_(DatasetRefused, before + 1)[before]


def look(world: World, user: str = ANNA, name: str = "run1") -> DatasetState:
    """Ask the catalog about a dataset."""
    question = LookAtDataset(investigation="20260101", dataset=name, user_id=user)
    return world.outside.ask(question, DatasetState).result(60)


@pytest.mark.parametrize("user", [ANNA, BEN, RULE])
@pytest.mark.parametrize("station", [HERE, THERE])
def test_a_complete_dataset_takes_no_second_upload(world: World, user: str, station: Station) -> None:
    """Whoever asks, from wherever: it is refused before anything is registered, and says what to do."""
    sha256 = complete(world)
    said = refusal(world, wish("upload-0002", user), station)
    assert (said.upload_id, said.reason) == ("upload-0002", "dataset-complete")
    assert "already complete" in said.detail
    assert "another dataset name" in said.hint
    changed = version("a.h5", "b")
    world.say(stored(changed, upload_id="upload-0002"), station)
    other = wish("upload-0003", name="run2")
    world.say(other)
    world.await_(DatasetEnsured, 2)
    assert world.catalogue.datafiles["1"]["a.h5"].checksum == sha256


def test_not_even_who_names_the_first_upload_goes_on_with_a_complete_dataset(world: World) -> None:
    """What is complete stays as it is."""
    complete(world)
    assert refusal(world, wish("upload-0002", continues=("upload-0001",))).reason == "dataset-complete"


@pytest.mark.parametrize(("user", "station"), [(ANNA, HERE), (BEN, HERE), (BEN, THERE), (RULE, HERE)])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_dataset_that_somebody_has_is_refused_to_all_others(
    world: World, user: str, station: Station, cancelled: bool
) -> None:
    """Open or cancelled: only its own person may go on with it, and must say so."""
    begin(world)
    if cancelled:
        world.say(cancel("upload-0001"))
    said = refusal(world, wish("upload-0002", user), station)
    assert said.reason == "dataset-in-use"
    assert "another dataset name" in said.hint


def test_of_two_requests_at_the_same_moment_one_has_the_dataset(world: World) -> None:
    """The catalogue is away while both come; then the first that was heard is ensured, the other refused."""
    world.catalogue.fail("authorise", Fault.UNAVAILABLE, times=3)
    world.say(wish("upload-0002", BEN))
    world.say(wish("upload-0001", ANNA))
    assert world.await_(DatasetRefused)[0].upload_id == "upload-0001"
    assert world.await_(DatasetEnsured)[0].upload_id == "upload-0002"


def test_its_own_person_goes_on_with_a_cancelled_upload(world: World) -> None:
    """From another station as well; what the cancelled one still tells is not told to the catalogue any more."""
    begin(world)
    world.say(cancel("upload-0001"))
    world.say(wish("upload-0002", continues=("upload-0001",)), THERE)
    world.await_(DatasetEnsured, 2)
    mine, late = version("a.h5", "b"), version("a.h5", "a")
    world.say(stored(mine, upload_id="upload-0002"), THERE)
    world.await_(FileCatalogued)
    world.say(stored(late, upload_id="upload-0001"))
    world.say(wish("upload-0003", name="other"))
    world.await_(DatasetEnsured, 3)
    assert world.catalogue.datafiles["1"]["a.h5"].checksum == mine.sha256
    world.say(sealed(mine, upload_id="upload-0002"), THERE)
    assert world.await_(DatasetCompleted)[0].upload_id == "upload-0002"
    assert world.catalogue.datafiles["1"]["a.h5"].checksum == mine.sha256
    assert look(world).reason == "dataset-complete"


def test_nobody_goes_on_with_an_upload_that_is_at_work_or_is_not_theirs(world: World) -> None:
    """To name it is not enough."""
    begin(world)
    assert "Cancel that upload first" in refusal(world, wish("upload-0002", continues=("upload-0001",))).hint
    world.say(cancel("upload-0001"))
    assert refusal(world, wish("upload-0003", BEN, continues=("upload-0001",))).reason == "dataset-in-use"
    world.say(wish("upload-0004", name="other"))
    stranger = refusal(world, wish("upload-0005", BEN, name="third", continues=("upload-0004",)))
    assert stranger.reason == "dataset-in-use"


@pytest.mark.parametrize("reason", ["rejected", "refused"])
def test_an_upload_that_never_began_keeps_no_name(world: World, reason: str) -> None:
    """The station cannot do it, or the catalogue will not have it: the next one has the dataset."""
    if reason == "rejected":
        begin(world)
        world.say(UploadRejected(upload_id="upload-0001", reason="root-missing", detail="there is no such folder"))
    else:
        world.catalogue.fail("create_dataset", Fault.REFUSED)
        refusal(world, wish("upload-0001"))
    world.say(wish("upload-0002", BEN))
    eventually(lambda: "upload-0002" in {one.upload_id for one in world.await_(DatasetEnsured)})


def test_a_retry_is_judged_anew(world: World) -> None:
    """What another one has is refused again; when that one was rejected meanwhile, it is ensured."""
    begin(world)
    refusal(world, wish("upload-0002", BEN))
    retry = UploadControlled(upload_id="upload-0002", action="retry", requested_by=Person(id=BEN))
    assert refusal(world, retry).reason == "dataset-in-use"
    world.say(UploadRejected(upload_id="upload-0001", reason="root-missing", detail="there is no such folder"))
    world.say(retry)
    assert world.await_(DatasetEnsured, 2)[1].upload_id == "upload-0002"


def test_a_dataset_that_is_granted_again_is_said_to_be_so_anew(world: World) -> None:
    """The catalogue refused its files for a while: who has stopped at that hears that it may go on."""
    begin(world)
    world.catalogue.fail("add_datafiles", Fault.REFUSED)
    refusal(world, stored(version("a.h5"), upload_id="upload-0001"))
    world.say(UploadControlled(upload_id="upload-0001", action="retry", requested_by=Person(id=ANNA)))
    world.await_(DatasetEnsured, 2)
    assert len({event.id for event in world.heard if isinstance(event.data, DatasetEnsured)}) == 2


def test_a_cancelled_upload_completes_nothing(world: World) -> None:
    """Its manifest was sealed before: the dataset stays open for its person."""
    file = version("a.h5")
    begin(world)
    world.say(cancel("upload-0001"))
    world.say(stored(file, upload_id="upload-0001"))
    world.say(sealed(file, upload_id="upload-0001"))
    eventually(lambda: world.catalogue.datafiles.get("1"), what="what is stored is in the catalogue")
    assert look(world).reason == "dataset-continues"
    assert not world.catalogue.datasets["1"].complete


def test_the_catalogue_has_a_complete_dataset_that_nobody_here_has_made(world: World) -> None:
    """Somebody has made it by other means."""
    made = world.catalogue.ensure_dataset(NewDataset("20260101", "run1", owner=ANNA))
    world.catalogue.complete_dataset(made.id)
    assert refusal(world, wish("upload-0001")).reason == "dataset-complete"
    assert not world.catalogue.parameters


def lose(world: World) -> None:
    """Restart the service without its state."""
    world.stop()
    for path in world.folder.glob("catalog.sqlite*"):
        path.unlink()
    world.heard.clear()
    world.start()


@pytest.mark.fault("F28")
def test_a_catalog_that_has_lost_its_state_knows_again_whose_dataset_is_whose(world: World) -> None:
    """Its own complete dataset is completed again where the station asks, and is refused to a second upload."""
    file = version("a.h5", "a")
    complete(world)
    world.say(wish("upload-0003", BEN, name="run2"))
    world.await_(DatasetEnsured, 2)
    lose(world)
    taken = wish("upload-0005", ANNA, name="run2")
    world.say(taken)
    world.say(wish("upload-0002", BEN))
    assert {one.upload_id for one in world.await_(DatasetRefused, 2)} == {"upload-0002", "upload-0005"}
    assert {one.upload_id for one in world.await_(DatasetEnsured, 2)} == {"upload-0001", "upload-0003"}
    assert world.await_(DatasetCompleted)[0].upload_id == "upload-0001"
    assert file.sha256 == world.catalogue.datafiles["1"]["a.h5"].checksum


def test_a_catalog_that_is_still_reading_says_nothing_of_a_dataset(world: World) -> None:
    """Its answer would be that the name is free."""
    forgetful = Store(world.folder / "new.sqlite", [inbox.SCHEMA, outbox.SCHEMA, schema.SCHEMA, claims.SCHEMA])
    answers = CatalogQueries(world.catalogue, "", may_create=False, store=forgetful)
    with pytest.raises(QuestionRefused) as away:
        answers(LookAtDataset(investigation="20260101", dataset="run1", user_id=ANNA))
    assert away.value.code == "unavailable"
    forgetful.close()


@pytest.mark.fault("F54")
def test_a_clock_that_was_ahead_does_not_end_the_reading_of_the_log(world: World) -> None:
    """The event of a station two hours ahead lies in the log before the request that has the dataset."""
    ahead = datetime.now(UTC) + timedelta(hours=2)
    early = Event(data=wish("upload-0009", name="early"), station=HERE, service="test", time=ahead)
    world.outside.publish(early).result(60)
    begin(world)
    world.await_(DatasetEnsured, 2)
    lose(world)
    assert refusal(world, wish("upload-0002", BEN)).reason == "dataset-in-use"


@pytest.mark.fault("F28")
def test_a_catalog_that_has_lost_its_state_need_not_wait_for_anybody_to_speak(world: World) -> None:
    """It has read the log to its end, and answers."""
    begin(world)
    lose(world)
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read")
    assert look(world, BEN).reason == "dataset-in-use"


@pytest.mark.fault("F28")
def test_the_datasets_of_an_earlier_release_belong_to_their_uploads(world: World) -> None:
    """Its state file says nothing of claims; nobody knows which uploads were cancelled, but whose they are."""
    world.stop()
    for path in world.folder.glob("catalog.sqlite*"):
        path.unlink()
    old = Store(world.folder / "catalog.sqlite", [inbox.SCHEMA, outbox.SCHEMA, schema.SCHEMA])
    with old.transaction() as db:
        for name, state in (("run1", "completed"), ("run2", "ensured")):
            event = Event(data=wish(f"upload-{name}", name=name), station=HERE, service="gateway")
            db.execute(
                "INSERT INTO uploads (upload_id, request, state, dataset_id) VALUES (?, ?, ?, ?)",
                (f"upload-{name}", encode(event), state, name),
            )
    old.mark_recovered()
    old.close()
    world.start()
    assert look(world).reason == "dataset-complete"
    assert [look(world, user, "run2").reason for user in (ANNA, BEN)] == ["dataset-continues", "dataset-in-use"]
    world.say(wish("upload-0002", name="run2", continues=("upload-run2",)))
    assert world.await_(DatasetEnsured)[0].upload_id == "upload-0002"


def test_who_asks_first_is_told_what_is_in_the_way_and_the_ways_out(world: World) -> None:
    """Free, one's own at work, one's own cancelled, somebody else's, complete."""
    world.say(wish("upload-0009", name="other"))  # with it, the catalog has read its log
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read")
    assert look(world) == DatasetState(free=True)
    begin(world)
    eventually(lambda: look(world).exists, what="the dataset is there")
    mine, theirs = look(world), look(world, BEN)
    assert (mine.reason, mine.held_by and mine.held_by.upload_id, mine.suggestion) == (
        "dataset-open", "upload-0001", "run1 (2)",
    )  # fmt: skip
    assert (theirs.free, theirs.reason, theirs.suggestion) == (False, "dataset-in-use", "run1 (2)")
    world.say(cancel("upload-0001"))
    eventually(lambda: look(world).reason == "dataset-continues", what="the cancelled one can be gone on with")
    assert look(world).may_continue == ("upload-0001",)
    assert look(world, BEN).may_continue == ()
    world.say(wish("upload-0002", continues=("upload-0001",)))
    world.say(cancel("upload-0002"))
    eventually(lambda: look(world).may_continue == ("upload-0001", "upload-0002"), what="the whole chain")
    world.say(wish("upload-0003", name="run1 (2)"))
    eventually(lambda: look(world).suggestion == "run1 (3)", what="the next free name")
    assert look(world, name="run1 (2)").suggestion == "run1 (3)"
    assert (look(world, name="Run1").free, look(world, name="Run1").alike) == (True, "run1")
    assert look(world, name="run").alike == ""


def test_a_station_that_has_forgotten_hears_whether_it_may_write(world: World) -> None:
    """The answer about its files says so, because the event is not said again."""
    begin(world)
    refusal(world, wish("upload-0002", BEN))
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read")

    def said(upload_id: str) -> tuple[bool, bool]:
        page = world.outside.ask(ListDatafiles(upload_id=upload_id), Datafiles, station=HERE).result(60)
        return page.ensured, page.complete

    assert [said("upload-0001"), said("upload-0002")] == [(True, False), (False, False)]
    complete(world)
    assert said("upload-0001") == (True, True)
