"""What people say about datasets and investigations reaches the catalogue: the latest word, once, whatever happens."""

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from datauploader.contracts import (
    DatasetAnnotated,
    DatasetDescribed,
    DatasetEnsured,
    Event,
    EventData,
    InvestigationAnnotated,
    InvestigationDescribed,
    Parameter,
    Person,
    Station,
    StationReported,
    UploadControlled,
)
from datauploader.contracts.model import Question
from datauploader.contracts.questions import (
    CreateInvestigation,
    Investigations,
    InvestigationSummary,
    ListInvestigations,
)
from datauploader.errors import QuestionRefused
from datauploader.messaging import connect
from datauploader.messaging.topology import catalog_queue, gateway_queue, transfer_queue, watcher_queue
from datauploader.plugins.catalogue.port import CatalogueInvestigation, CatalogueUser
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_catalog.adapters.memory import Fault, MemoryCatalogue
from datauploader_catalog.service import CatalogService
from datauploader_catalog.settings import CatalogSettings
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

HERE = builders.HERE
THERE = Station(facility="elettra", beamline="xrd2", station="ws01")
ANNA, EVE = Person(id="1234", name="Anna"), Person(id="666", name="Eve")
PROPOSAL = "20250001"
REPORT = StationReported(service="watcher", version="1", host="ws01", state="ok", interval_s=10)
BEGAN = datetime(2026, 3, 4, 12, tzinfo=UTC)
D = TypeVar("D", bound=EventData)


class World:
    """A catalog service that is told what people say."""

    def __init__(self, folder: Path, catalogue: MemoryCatalogue | None = None, **settings: Any) -> None:
        self.catalogue = catalogue or MemoryCatalogue()
        mine = CatalogueInvestigation(PROPOSAL, PROPOSAL, "1", "Grains", "/experiments/1")
        self.catalogue.seed("anna", CatalogueUser(ANNA.id, "anna", 1, 1), [mine])
        self.folder, self.url, self.settings = folder, f"memory://{uuid.uuid4()}", settings
        self.heard: list[Event[EventData]] = []
        self.outside = connect(self.url, name="test")
        self.outside.consume(gateway_queue(), lambda delivery: self.heard.append(delivery.event))
        for station in (HERE, THERE):
            self.outside.consume(watcher_queue(station), lambda _delivery: None)
            self.outside.consume(transfer_queue(station), lambda _delivery: None)
        self.start()

    def start(self) -> None:
        """Start the service on its state."""
        self.bus = connect(self.url, name="catalog")
        settings = CatalogSettings(adapter="memory", **self.settings)
        self.service = CatalogService(Context(Settings(state_dir=self.folder), self.bus), self.catalogue, settings)
        self.service.start()
        eventually(lambda: self.service._answering, what="it has its queue, and answers")
        # a station reports every ten seconds; with such an event the catalog has read the log to its end
        self.outside.publish(Event(REPORT, HERE, "watcher")).result(60)

    def stop(self) -> None:
        """Stop the service."""
        self.service.stop(5.0)
        self.bus.close()

    def say(self, data: EventData, at: int = 0, name: str = "", station: Station = HERE) -> Event[EventData]:
        """Publish an event that happened so many seconds after the beginning."""
        event = Event(data, station, "gateway", id=name or str(uuid.uuid4()), time=BEGAN + timedelta(seconds=at))
        self.outside.publish(event).result(60)
        return event

    def await_(self, kind: type[D], count: int = 1) -> list[D]:
        """Wait for so many events of a kind."""

        def found() -> list[D]:
            events = [event.data for event in list(self.heard) if isinstance(event.data, kind)]
            return events if len(events) >= count else []

        return eventually(found, what=f"{count} {kind.__name__}")

    def ask(self, question: Question, answer: type[Any]) -> Any:
        """Ask the service over the broker."""
        return self.outside.ask(question, answer).result(60)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A running catalog service."""
    made = World(tmp_path, create_investigations=True)
    yield made
    made.stop()
    made.outside.close()


def about(text: str, *parameters: Parameter, upload_id: str = builders.UPLOAD, by: Person = ANNA) -> DatasetDescribed:
    """A word about the dataset."""
    return DatasetDescribed(upload_id=upload_id, description=text, parameters=parameters, requested_by=by)


def dataset(world: World) -> str:
    """Ask for the dataset; return its id."""
    world.say(builders.upload_requested(), at=-60)
    return world.await_(DatasetEnsured)[0].dataset_id


def test_a_word_about_a_dataset_reaches_the_catalogue_and_is_answered(world: World) -> None:
    """Description and parameters, with the id and the time of the word in the answer."""
    made = dataset(world)
    said = world.say(about("It was cold.", Parameter(name="temperature", value=4.2, units="K")))
    answer = world.await_(DatasetAnnotated)[0]
    assert (answer.word, answer.said, answer.refusal, answer.dataset_id) == (said.id, said.time, "", made)
    assert world.catalogue.descriptions[made] == "It was cold."
    assert world.catalogue.parameters[made, ""]["temperature"].value == 4.2


def test_a_word_waits_for_its_dataset(world: World) -> None:
    """Whichever comes first; the description of the request is older and does not come back."""
    world.catalogue.fail("find_dataset", Fault.UNAVAILABLE)
    world.say(about("the last word"))
    world.say(builders.upload_requested(), at=-60)
    answer = world.await_(DatasetAnnotated)[0]
    assert world.catalogue.descriptions[answer.dataset_id] == "the last word"


@pytest.mark.fault("F26")
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_the_latest_word_wins_in_whatever_order_words_arrive(world: World, order: tuple[int, ...]) -> None:
    """By time; each of them three times."""
    made = dataset(world)
    for index in order * 3:
        world.say(about(f"word {index}"), at=index, name=f"word-{index}")
        eventually(lambda: not world.outside.parked(catalog_queue()))
    eventually(lambda: "word-2" in {answer.word for answer in world.await_(DatasetAnnotated)})
    world.say(about("word 0"), at=0, name="word-0")
    last = world.await_(DatasetAnnotated)[-1]
    eventually(lambda: world.catalogue.descriptions[made] == "word 2", what=f"word 2, not {last}")


def test_of_two_words_of_the_same_moment_the_higher_id_wins(world: World) -> None:
    """So that every service comes to the same."""
    made = dataset(world)
    for count, name in enumerate(("b", "a"), 1):
        world.say(about(f"word {name}"), at=5, name=f"word-{name}")
        world.await_(DatasetAnnotated, count)
    assert {answer.word for answer in world.await_(DatasetAnnotated, 2)} == {"word-b"}
    assert world.catalogue.descriptions[made] == "word b"


def test_a_word_that_is_said_again_is_answered_again_and_told_once(world: World) -> None:
    """Whoever repeats it has not heard the answer."""
    dataset(world)
    first = world.say(about("text"), name="word-1")
    world.await_(DatasetAnnotated)
    world.catalogue.fail("describe_dataset", Fault.UNAVAILABLE, times=100)
    world.say(first.data, name="word-1")
    before, after = world.await_(DatasetAnnotated, 2)
    assert before == after
    assert not world.service._descriptions.problems


@pytest.mark.fault("F42")
@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.LOST, Fault.UNREADABLE])
@pytest.mark.parametrize("operation", ["describe_dataset", "add_parameters"])
def test_a_word_is_told_until_the_catalogue_has_it(world: World, operation: str, fault: Fault) -> None:
    """The catalogue is away, or its answer is lost after the effect: it is told again, and answered once."""
    made = dataset(world)
    world.catalogue.fail(operation, fault)
    world.say(about("text", Parameter(name="energy", value=1)))
    world.await_(DatasetAnnotated)
    assert world.catalogue.descriptions[made] == "text"
    assert world.catalogue.parameters[made, ""]["energy"].value == 1
    assert len({event.id for event in world.heard if isinstance(event.data, DatasetAnnotated)}) == 1


def test_a_word_that_waits_survives_a_restart_and_health_says_that_it_waits(world: World) -> None:
    """The catalogue is away for long."""
    made = dataset(world)
    world.catalogue.fail("describe_dataset", Fault.UNAVAILABLE, times=1000)
    world.say(about("text"))
    eventually(lambda: any("does not answer" in check.detail for check in world.service.checks()))
    world.stop()
    world.catalogue.heal()
    world.start()
    world.await_(DatasetAnnotated)
    assert world.catalogue.descriptions[made] == "text"


@pytest.mark.fault("F28")
def test_a_lost_ledger_ends_with_the_latest_word_all_the_same(world: World) -> None:
    """It is filled again from the event log."""
    made = dataset(world)
    world.say(about("first"), at=1)
    world.say(about("second"), at=2)
    eventually(lambda: world.catalogue.descriptions[made] == "second")
    world.stop()
    for path in world.folder.glob("catalog.sqlite*"):
        path.unlink()
    world.start()
    eventually(lambda: not world.service._store.needs_recovery, what="the log is read")
    eventually(lambda: world.catalogue.descriptions[made] == "second")


class Slow(MemoryCatalogue):
    """A catalogue that takes its time over the first description."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def describe_dataset(self, dataset_id: str, description: str, by: str) -> None:
        """Wait for the test."""
        self.asked.set()
        assert self.go_on.wait(10)
        super().describe_dataset(dataset_id, description, by)


def test_a_word_that_comes_while_an_earlier_one_is_being_told_is_told_next(tmp_path: Path) -> None:
    """It is not taken for told with the earlier one, and every word that counts has its answer."""
    slow = Slow()
    world = World(tmp_path, catalogue=slow)
    made = dataset(world)
    world.say(about("first"), at=1, name="word-1")
    assert slow.asked.wait(10)
    world.say(about("second"), at=2, name="word-2")
    eventually(lambda: kept(world) == "word-2", what="the second word is kept")
    slow.go_on.set()
    assert world.await_(DatasetAnnotated)[-1].word == "word-2"
    assert slow.descriptions[made] == "second"
    world.stop()
    world.outside.close()


def kept(world: World) -> str:
    """Return the id of the word that the service keeps of the dataset."""
    with world.service._store.reading() as db:
        return str(db.execute("SELECT event_id FROM words").fetchone()[0])


def test_a_later_word_of_another_upload_to_the_same_dataset_is_not_undone(world: World) -> None:
    """The second goes on with the first, which was cancelled; the earlier word arrives last."""
    made = dataset(world)
    world.say(UploadControlled(upload_id=builders.UPLOAD, action="cancel", requested_by=ANNA))
    other = builders.upload_requested(upload_id="upload-0002").model_copy(update={"continues": (builders.UPLOAD,)})
    world.say(other, at=-50)
    world.await_(DatasetEnsured, 2)
    world.say(about("later", upload_id="upload-0002"), at=9)
    world.await_(DatasetAnnotated)
    world.say(about("earlier"), at=1)
    world.await_(DatasetAnnotated, 2)
    assert world.catalogue.descriptions[made] == "later"


@pytest.mark.attack("S30")
def test_a_stranger_is_refused_where_the_effect_happens(world: World) -> None:
    """The answer says why, and the next word of a member is taken."""
    made = dataset(world)
    world.say(about("mine", by=EVE), at=1)
    assert "does not belong" in world.await_(DatasetAnnotated)[0].refusal
    assert world.catalogue.descriptions[made] != "mine"
    world.say(about("ours"), at=2)
    assert world.await_(DatasetAnnotated, 2)[1].refusal == ""
    assert world.catalogue.descriptions[made] == "ours"


@pytest.mark.attack("S13")
def test_a_word_by_way_of_another_station_is_parked(world: World) -> None:
    """The upload belongs to one station."""
    made = dataset(world)
    world.say(about("forged"), station=THERE)
    eventually(lambda: world.outside.parked(catalog_queue()))
    assert world.catalogue.descriptions[made] != "forged"


@pytest.mark.fault("F45")
def test_a_word_that_is_refused_holds_up_no_other(world: World) -> None:
    """One dataset's description is not taken; the investigation's is."""
    dataset(world)
    world.catalogue.fail("describe_dataset", Fault.REFUSED, times=100)
    world.say(about("text"))
    world.say(InvestigationDescribed(investigation=PROPOSAL, description="what we want", requested_by=ANNA))
    assert world.await_(DatasetAnnotated)[0].refusal
    assert world.await_(InvestigationAnnotated)[0].refusal == ""
    assert world.catalogue.known[PROPOSAL].description == "what we want"


def test_a_stranger_does_not_describe_an_investigation(world: World) -> None:
    """The catalogue decides."""
    world.say(InvestigationDescribed(investigation=PROPOSAL, description="mine", requested_by=EVE))
    assert "does not belong" in world.await_(InvestigationAnnotated)[0].refusal
    assert world.catalogue.known[PROPOSAL].description == ""


def creation(name: str = "new", title: str = "Films", user: str = ANNA.id) -> CreateInvestigation:
    """A wish for an investigation."""
    return CreateInvestigation(user_id=user, investigation=name, title=title, beamline="XRD1", start=BEGAN.date())


@pytest.mark.fault("F42")
def test_an_investigation_whose_making_was_not_heard_of_is_given_by_asking_again(world: World) -> None:
    """Exactly one is made, however often the answer gets lost."""
    world.catalogue.fail("create_investigation", Fault.LOST)
    with pytest.raises(QuestionRefused) as refused:
        world.ask(creation(), InvestigationSummary)
    assert refused.value.code == "unavailable"
    first, second = (world.ask(creation(), InvestigationSummary) for _ in range(2))
    assert first == second
    assert (first.title, first.beamline, first.start, first.open) == ("Films", "XRD1", BEGAN.date(), True)
    assert [i.name for i in world.catalogue.known.values()].count("new") == 1
    listed = world.ask(ListInvestigations(user_id=ANNA.id), Investigations)
    assert (listed.may_create, listed.total) == (True, 2)


@pytest.mark.parametrize("wish", [creation(user=EVE.id), creation(title="Another title")])
def test_an_investigation_that_is_somebody_elses_or_another_is_not_given(world: World, wish: Any) -> None:
    """The name and visit are taken."""
    world.ask(creation(), InvestigationSummary)
    with pytest.raises(QuestionRefused, match="already") as refused:
        world.ask(wish, InvestigationSummary)
    assert refused.value.code == "taken"


@pytest.mark.parametrize("by", ["setting", "catalogue"])
def test_where_none_can_be_made_a_sentence_says_so(tmp_path: Path, by: str) -> None:
    """Neither without the setting nor where the catalogue has no way."""
    world = World(tmp_path, create_investigations=by != "setting")
    world.catalogue.may_create = by != "catalogue"
    world.stop()
    world.start()
    listed = world.ask(ListInvestigations(user_id=ANNA.id), Investigations)
    assert (listed.may_create, "user office" in listed.create_refusal) == (False, True)
    with pytest.raises(QuestionRefused, match="user office"):
        world.ask(creation(), InvestigationSummary)
    assert len(world.catalogue.known) == 1
    world.stop()
    world.outside.close()


def test_a_closed_investigation_is_listed_with_the_reason(world: World) -> None:
    """The catalogue's words, or ours where it has none."""
    for number, reason in (("1", "Its time is over."), ("2", "")):
        shut = CatalogueInvestigation(number, number, "1", "t", "/x", active=False, reason=reason, end=BEGAN.date())
        world.catalogue.seed("anna", CatalogueUser(ANNA.id, "anna", 1, 1), [shut])
    reasons = {i.id: i.reason for i in world.ask(ListInvestigations(user_id=ANNA.id), Investigations).items}
    assert reasons[PROPOSAL] == ""
    assert reasons["1"] == "Its time is over."
    assert "2026-03-04" in reasons["2"]
