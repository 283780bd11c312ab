"""A consumer's service on the memory engine: one effect for one event, however often it comes and long it takes."""

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from datauploader.contracts import DatasetCompleted, DatasetRefused, Event, EventData
from datauploader.errors import ConfigurationError, Park, Retry
from datauploader.messaging import Bus, connect
from datauploader.messaging.memory import bus as memory_bus
from datauploader.messaging.topology import consumer_queue, facility_queues, harvester_queue
from datauploader.plugins.consumer import ConsumerPlugIn, ConsumerService, ConsumerSettings, HandlerContext, consumer
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_testing import builders
from datauploader_testing.consumers import hand
from datauploader_testing.waiting import eventually

QUEUE = consumer_queue("odd")


class World:
    """A consumer whose function does what the test says, and everything that it was called for."""

    def __init__(self, folder: Path) -> None:
        self.folder, url = folder, f"memory://{uuid.uuid4()}"
        memory_bus.MemoryBroker._shared[url] = memory_bus.MemoryBroker(delays=(0.05, 0.1))
        self.outside, self.url = connect(url, name="test"), url
        for queue in facility_queues([builders.HERE]):
            self.outside.consume(queue, lambda _: None)
        self.handled: list[str] = []
        self.contexts: list[HandlerContext[None]] = []
        self.endings: list[BaseException | None] = []
        self.gate = threading.Event()
        self.gate.set()
        self.plug_in: ConsumerPlugIn[None] = consumer("odd")
        self.plug_in.on(DatasetCompleted)(self.handle)

    def handle(self, event: Event[DatasetCompleted], context: HandlerContext[None]) -> None:
        """Do what is planned."""
        self.contexts.append(context)
        self.gate.wait()
        if self.endings and (ending := self.endings.pop(0)) is not None:
            raise ending
        self.handled.append(event.id)

    def start(self, **settings: float) -> ConsumerService:
        """Start the service on its state."""
        self.bus: Bus = connect(self.url, name="odd-consumer")
        context = Context(Settings(state_dir=self.folder / "state"), self.bus)
        self.service = ConsumerService(context, self.plug_in, ConsumerSettings(**settings))
        self.service.start()
        eventually(lambda: self.outside.queues([QUEUE.name])[0].consumers, what="it consumes")
        return self.service

    def stop(self) -> None:
        """Stop the service."""
        self.service.stop(5)
        self.bus.close(5)

    def say(self, name: str = "") -> Event[EventData]:
        """Say that a dataset is complete."""
        event = builders.event(builders.dataset_completed(), id=name)
        self.outside.publish(event).result(60)
        return event

    def problem(self) -> str:
        """Return what health says."""
        return self.service.checks()[0].detail


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a consumer that is not started."""
    world = World(tmp_path)
    yield world
    world.gate.set()
    world.stop()
    world.outside.close(5)


def test_an_event_that_comes_twice_has_one_effect(world: World) -> None:
    """Also after a restart: the inbox is in the state file."""
    world.start()
    world.say("first")
    world.say("first")
    world.say("second")
    eventually(lambda: "second" in world.handled, what="the second event")
    world.stop()
    world.start()
    world.say("first")
    world.say("third")
    eventually(lambda: "third" in world.handled, what="the third event")
    assert world.handled == ["first", "second", "third"]


def test_a_failure_is_tried_again_with_the_same_key(world: World) -> None:
    """The function sees which attempt it is, and can tell the outside that it is the same thing."""
    world.endings = [ValueError("odd"), Retry("not yet", timedelta(seconds=0.05)), None]
    world.start()
    event = world.say()
    eventually(lambda: world.handled, what="the event")
    assert [(one.attempt, one.key) for one in world.contexts] == [(n, event.id) for n in (1, 2, 3)]


def test_what_cannot_be_handled_is_parked_and_a_replay_has_one_effect(world: World) -> None:
    """At once where the function says so, after five failures otherwise; neither counts as handled."""
    world.endings = [Park("the chat does not know us"), *[ValueError("odd")] * 5]
    world.start()
    world.say("refused")
    world.say("broken")
    parked = eventually(lambda: len(found := world.outside.parked(QUEUE)) == 2 and found, what="both are parked")
    assert {one.id: one.reason for one in parked} == {
        "refused": "the chat does not know us",
        "broken": "failed 5 times, at last with ValueError: odd",
    }
    world.outside.replay_parked(QUEUE, ["refused", "broken"])
    eventually(lambda: sorted(world.handled) == ["broken", "refused"], what="both are handled")
    world.outside.replay_parked(QUEUE, ["refused"])
    assert world.outside.parked(QUEUE) == []


def test_a_function_that_takes_long_goes_on_and_is_not_called_twice(world: World) -> None:
    """Its message goes back meanwhile; others stay in the queue, which costs them no attempt; health says why."""
    world.gate.clear()
    world.start(seconds=0.1)
    world.say("long")
    world.say("next")
    eventually(world.problem, what="health says that it takes long")
    assert "handle has been handling dataset.completed.v1 long for 0 minutes; other events wait" in world.problem()
    eventually(lambda: not world.outside.queues([QUEUE.name])[0].consumers, what="nothing is consumed")
    eventually(lambda: world.outside.queues([QUEUE.name])[0].waiting == 2, what="both wait in the queue")
    assert len(world.contexts) == 1
    world.gate.set()
    eventually(lambda: sorted(world.handled) == ["long", "next"], what="both are handled, once")
    assert len(world.contexts) == 2
    eventually(lambda: not world.problem(), what="all is well again")


def test_a_function_that_hangs_leaves_the_others_their_places(world: World) -> None:
    """With two places one is left."""
    hanging = threading.Event()
    endings = iter([True, False, False])

    def handle(event: Event[DatasetCompleted], _: HandlerContext[None]) -> None:
        if next(endings):
            hanging.wait()
        world.handled.append(event.id)

    world.plug_in.handlers[DatasetCompleted] = handle
    world.start(seconds=0.1, at_once=2)
    world.say("hangs")
    eventually(world.problem, what="health says that it takes long")
    assert "other events wait" not in world.problem()
    world.say("other")
    eventually(lambda: world.handled == ["other"], what="the other one is handled")
    hanging.set()
    eventually(lambda: world.handled == ["other", "hangs"], what="it goes on")


def test_what_was_handled_while_the_disk_was_full_is_not_handled_again(world: World) -> None:
    """It is known in memory until the state file takes it; the message waits for that."""
    world.start()
    store = world.service._runner._store
    store._write.execute("PRAGMA query_only = ON")
    world.say("full")
    eventually(lambda: world.handled == ["full"], what="it is handled")
    eventually(lambda: "full" in world.service._runner._calls, what="it is remembered")
    store._write.execute("PRAGMA query_only = OFF")
    world.say("full")
    eventually(lambda: not world.service._runner._calls, what="it is noted")
    world.say("last")
    eventually(lambda: "last" in world.handled, what="the last event")
    assert world.handled == ["full", "last"]


def test_it_is_told_to_stop_and_ends_in_order(world: World) -> None:
    """What takes long sees that, and asks for its message again."""

    def handle(_: Event[DatasetCompleted], context: HandlerContext[None]) -> None:
        world.contexts.append(context)
        context.stopping.wait()
        raise Retry("the service stops")

    world.plug_in.handlers[DatasetCompleted] = handle
    world.start()
    world.say("long")
    eventually(lambda: world.contexts, what="it runs")
    world.stop()
    world.plug_in.handlers[DatasetCompleted] = world.handle
    world.start()
    eventually(lambda: world.handled == ["long"], what="it comes again")


def test_a_function_that_would_end_the_process_is_a_failure_like_others(world: World) -> None:
    """A library that calls sys.exit is met five times, and then parked."""
    world.endings = [SystemExit(1)] * 5
    world.start()
    world.say("exits")
    (parked,) = eventually(lambda: world.outside.parked(QUEUE), what="it is parked")
    assert "the function has raised SystemExit" in parked.reason


def test_a_consumer_says_how_it_is(world: World) -> None:
    """Under an address of its own, as harvesters do."""
    reports: list[Event[EventData]] = []
    heard = harvester_queue("reports", ["*.consumer.odd.station.reported.v1"])
    world.outside.consume(heard, lambda delivery: reports.append(delivery.event))
    world.gate.clear()
    world.start(seconds=0.1, report_interval_s=0.1)
    eventually(lambda: reports and reports[-1].data.state == "ok", what="it is well")
    world.say("long")
    eventually(lambda: "other events wait" in "".join(reports[-1].data.troubles), what="it says what hangs")
    world.gate.set()
    eventually(lambda: reports[-1].data.state == "ok", what="it is well again")


def test_a_queue_that_does_not_get_what_is_wanted_stops_the_start(world: World) -> None:
    """Else the consumer would wait for ever; the sentence is the command that mends it."""
    world.plug_in.on("dataset.refused.v1")(world.handle)
    with pytest.raises(ConfigurationError, match=r"add-consumer odd --events dataset.completed.v1,dataset.refused.v1"):
        world.start(events="dataset.completed.v1")
    world.start(events="dataset.refused.v1,dataset.completed.v1,file.stored.v1")


def test_a_wrong_event_or_name_is_told_where_it_is_written() -> None:
    """When the module is imported, with what was probably meant."""
    mine = consumer("mine")
    with pytest.raises(ConfigurationError, match=r"no event 'dataset.complete.v1'; did you mean dataset.completed.v1"):
        mine.on("dataset.complete.v1")
    mine.on(DatasetCompleted, DatasetRefused)(lambda _event, _context: None)
    with pytest.raises(ConfigurationError, match=r"two functions for dataset.refused.v1"):
        mine.on("dataset.refused.v1")(lambda _event, _context: None)
    for name in ("Mine", "a.b", "", "1x"):
        with pytest.raises(ConfigurationError, match="cannot be the name of a consumer"):
            consumer(name)


def test_the_test_kit_tells_how_an_event_ended_and_what_was_logged() -> None:
    """Without a broker and without a state: a unit test of the function alone."""
    mine = consumer("mine", Settings)

    @mine.on(DatasetCompleted)
    def tell(event: Event[DatasetCompleted], context: HandlerContext[Settings]) -> None:
        context.log.info("told", files=event.data.files, facility=context.settings.facility)
        if context.attempt == 1:
            raise Retry("busy", timedelta(seconds=60))

    first = hand(mine, builders.dataset_completed(), Settings(facility="elettra"))
    assert (first.verdict, first.reason, first.delay_s) == ("again", "busy", 60)
    assert first.log == ({"event": "told", "files": 0, "facility": "elettra", "level": "info"},)
    assert hand(mine, builders.dataset_completed(), Settings(), attempt=2).verdict == "done"
    with pytest.raises(ConfigurationError, match=r"mine does nothing with file.stored.v1; it wants dataset.completed"):
        hand(mine, builders.file_stored())
