"""The command `parked`, on a broker in this process: list, show, replay, drop."""

import json
import threading

import pytest

from datauploader.errors import Park
from datauploader.messaging import connect
from datauploader.messaging.topology import catalog_queue, harvester_queue, watcher_queue
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

URL = "memory://parked"
GOOD_ID = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def bus(surroundings):
    """Connect to the broker that the command line will find."""
    for name, value in (("FACILITY", "elettra"), ("BEAMLINE", "xrd1"), ("STATION", "ws01"), ("BROKER", URL)):
        surroundings.setenv(f"DATAUPLOADER_{name}", value)
    bus = connect(URL, name="test")
    yield bus
    for queue in (catalog_queue(), watcher_queue(builders.HERE)):
        bus.drop_parked(queue, [message.id for message in bus.parked(queue)])
    bus.close()


def park(bus) -> list:
    """Let the catalogue's consumer give up on an event once; return what it is given later."""
    queue, seen, parked = catalog_queue(), [], threading.Event()

    def handler(delivery) -> None:
        seen.append(delivery.event.id)
        if len(seen) == 1:
            raise Park("the dataset \x1b[31mis gone")

    bus.consume(watcher_queue(builders.HERE), lambda _: None)
    bus.consume(queue, handler)
    bus.publish(builders.event(builders.upload_requested(), id=GOOD_ID)).result(60)
    for _ in range(1000):
        if bus.parked(queue):
            return seen
        parked.wait(0.01)
    raise AssertionError("nothing was parked")


def test_parked_messages_are_listed_and_shown_with_their_reason(run, bus) -> None:
    """For people and for programs, harmless for the terminal."""
    park(bus)
    assert run("parked", "list").out.split("\t")[:2] == [GOOD_ID, "catalog.work"]
    assert "the dataset \\x1b[31mis gone" in run("parked", "list").out
    assert run("parked", "list").err == ""
    assert json.loads(run("parked", "list", "--json").out)["reason"] == "the dataset \x1b[31mis gone"
    shown = run("parked", "show", GOOD_ID)
    assert '"type": "eu.ceric.datauploader.upload.requested.v1"' in shown.out


def test_what_an_installed_harvester_has_parked_is_listed_too(run, bus) -> None:
    """Without its queue being named; one that is not there is passed over."""

    def give_up(_delivery) -> None:
        raise Park("this file has no entry")

    queue = harvester_queue("nexus", ("#",))
    bus.consume(queue, give_up)
    bus.consume(watcher_queue(builders.HERE), lambda _: None)
    bus.consume(catalog_queue(), lambda _: None)
    bus.publish(builders.event(builders.upload_requested(), id=GOOD_ID)).result(60)
    eventually(lambda: bus.parked(queue), what="it is parked")
    assert run("parked", "list").out.split("\t")[:2] == [GOOD_ID, "harvester.nexus"]
    assert "1 message dropped." in run("parked", "drop", GOOD_ID, "--yes").out


@pytest.mark.attack("S31")
def test_replaying_hands_the_message_out_once_more_and_is_audited(run, bus) -> None:
    """Who did it stands in the log."""
    seen = park(bus)
    ran = run("parked", "replay", GOOD_ID, "unknown-id")
    assert ran.code == 3
    assert "1 message replayed." in ran.out
    assert "unknown-id" in ran.err
    assert "parked_messages_settled" in ran.err
    assert '"by"' in ran.err
    for _ in range(1000):
        if len(seen) == 2:
            break
        threading.Event().wait(0.01)
    assert seen == [GOOD_ID, GOOD_ID]
    assert bus.parked(catalog_queue()) == []


@pytest.mark.fault("F24")
def test_an_event_that_several_consumers_gave_up_on_is_settled_in_each_of_their_queues(run, bus) -> None:
    """One id, two queues, one command."""

    def handler(delivery) -> None:
        raise Park("nobody can")

    queues = (watcher_queue(builders.HERE), catalog_queue())
    for queue in queues:
        bus.consume(queue, handler)
    bus.publish(builders.event(builders.upload_requested(), id=GOOD_ID)).result(60)
    eventually(lambda: all(bus.parked(queue) for queue in queues), what="both give up")
    assert "2 messages dropped." in run("parked", "drop", "--yes", GOOD_ID).out
    assert not any(bus.parked(queue) for queue in queues)


def test_dropping_asks_first(run, bus) -> None:
    """No answer is no."""
    park(bus)
    assert run("parked", "drop", GOOD_ID).code == 1
    assert len(bus.parked(catalog_queue())) == 1
    assert run("parked", "drop", GOOD_ID, "--yes").code == 0
    assert bus.parked(catalog_queue()) == []


def test_nothing_parked_is_fine_and_an_unknown_id_is_not(run, bus) -> None:
    """An empty list is good news."""
    assert run("parked", "list").code == 0
    assert run("parked", "show", "x").code == 2
    assert run("parked", "drop", "x", "--yes").code == 1
    assert run("parked", "list", "--queue", "nonsense").code == 2


def test_all_messages_of_one_reason_are_settled_together(run, bus) -> None:
    """`groups` names one of them, and `--like` it takes the whole group."""
    queue, seen = catalog_queue(), []

    def handler(delivery) -> None:
        seen.append(delivery.event.id)
        if seen.count(delivery.event.id) == 1:
            raise Park(f"the dataset {len(seen)} is gone" if len(seen) < 4 else "this is not a dataset")

    bus.consume(watcher_queue(builders.HERE), lambda _: None)
    bus.consume(queue, handler)
    for _ in range(4):
        bus.publish(builders.event(builders.upload_requested())).result(60)
    eventually(lambda: len(bus.parked(queue)) == 4, what="all are parked")
    largest, other = (json.loads(line) for line in run("parked", "groups", "--json").out.splitlines())
    assert (largest["messages"], largest["reason"], other["messages"]) == (3, "the dataset 1 is gone", 1)
    assert "3 messages replayed." in run("parked", "replay", "--like", largest["like"]).out
    eventually(lambda: len(seen) == 7, what="three are handled again")
    assert "1 message dropped." in run("parked", "drop", "--like", other["like"], "--yes").out
    assert run("parked", "replay").code == 2
