"""Consumers that are no harvesters on the real broker, with their few rights: ours, and one of another language."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from datauploader.contracts import DatasetCompleted, Event, EventData, encode
from datauploader.errors import Park
from datauploader.messaging import topology
from datauploader.messaging.blueprint import CRASH_LIMIT
from datauploader.messaging.rabbit import RabbitBus
from datauploader.plugins.consumer import ConsumerService, ConsumerSettings, HandlerContext, consumer
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_client.cli import main
from datauploader_testing import builders

pytestmark = [pytest.mark.rabbitmq, pytest.mark.usefixtures("nothing_stays")]

USER = "consumer.notifier"
QUEUE = topology.consumer_queue("notifier", ["*.*.*.dataset.completed.v1"])
SOON = topology.retry_name(topology.RETRY_DELAYS_S[0])


def completed(name: str = "") -> Event[EventData]:
    """Make an event that the catalog says."""
    return builders.event(builders.dataset_completed(), service="catalog", id=name or str(uuid.uuid4()))


class World:
    """A consumer with a function that does what the test says, at the broker under its own account."""

    def __init__(self, sign_in: Callable[..., RabbitBus], folder: Path) -> None:
        self.sign_in, self.folder = sign_in, folder
        self.catalog, self.operations = sign_in("catalog"), sign_in("operations", declare=False)
        self.handled: list[str] = []
        self.calls: list[str] = []
        self.do: Callable[[str], None] = lambda _: None
        self.plug_in = consumer("notifier")
        self.plug_in.on("dataset.completed.v1")(self.handle)

    def handle(self, event: Event[DatasetCompleted], _: HandlerContext[None]) -> None:
        """Call what the test says, and note that it returned."""
        self.calls.append(event.id)
        self.do(event.id)
        self.handled.append(event.id)

    def start(self, **settings: float) -> ConsumerService:
        """Start the service on its state."""
        self.bus = self.sign_in(USER)
        context = Context(Settings(facility="elettra", state_dir=self.folder), self.bus)
        service = ConsumerService(context, self.plug_in, ConsumerSettings(**settings))
        service.start()
        return service

    def say(self, *names: str) -> None:
        """Have the catalog say that datasets are complete."""
        for name in names:
            self.catalog.publish(completed(name)).result(60)

    def parked(self) -> dict[str, str]:
        """Return what an operator sees as parked."""
        return {message.id: message.reason for message in self.operations.parked(QUEUE)}


@pytest.fixture
def world(sign_in: Callable[..., RabbitBus], tmp_path: Path) -> World:
    """Give a consumer that is not started."""
    return World(sign_in, tmp_path)


def test_an_event_that_the_broker_delivers_twice_has_one_effect(world: World, eventually) -> None:
    """It is said twice; and its connection is lost while its function runs, so that it is not acknowledged."""
    first, second, third = (str(uuid.uuid4()) for _ in range(3))
    service = world.start()
    world.do = lambda _: world.bus.close(5) if world.bus.health().ok else None
    world.say(first)
    eventually(lambda: world.handled == [first], "it is handled while its connection is lost")
    service.stop(5)
    world.do = lambda _: None
    service = world.start()
    world.say(second, second, third)
    eventually(lambda: third in world.handled, "the last event")
    service.stop(5)
    assert world.handled == [first, second, third]


def test_what_fails_comes_again_is_parked_and_handled_once_by_a_replay(world: World, eventually) -> None:
    """An operator sees the sentence, mends the cause and gives it back."""
    name = str(uuid.uuid4())
    endings = [ValueError("odd"), Park("nobody knows the chat")]

    def fail(_: str) -> None:
        if endings:
            raise endings.pop(0)

    world.do = fail
    service = world.start()
    world.say(name)
    eventually(lambda: world.parked() == {name: "nobody knows the chat"}, "it is parked", 30)
    assert world.operations.replay_parked(QUEUE, [name]) == 1
    eventually(lambda: world.handled == [name], "it is handled")
    service.stop(5)
    assert (len(world.calls), world.parked()) == (3, {})


def test_past_events_are_given_to_it_from_the_log_and_those_it_knows_are_skipped(
    world: World, eventually, url, monkeypatch, capfd
) -> None:
    """By an account that may read the log; the consumer's own may not, unless it was made so."""
    before, known = str(uuid.uuid4()), str(uuid.uuid4())
    connection = pika.BlockingConnection(pika.URLParameters(url(USER)))
    world.say(before)
    eventually(lambda: connection.channel().basic_get(QUEUE.name, auto_ack=True)[0], "somebody has lost it")
    connection.close()
    service = world.start()
    world.say(known)
    eventually(lambda: world.handled == [known], "it is handled")
    monkeypatch.setenv("DATAUPLOADER_BROKER", url("operator"))
    replay = ["consumer", "replay", "notifier", "--events", "dataset.completed.v1"]
    assert main([*replay, "--since", "1h", "--dry-run", "--json"]) == 0
    shown = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    offset = next(one["offset"] for one in shown if one["id"] == before)
    assert {before, known} <= {one["id"] for one in shown}
    assert main([*replay, "--from-offset", str(offset)]) == 0
    eventually(lambda: before in world.handled, "the lost one is handled")
    assert main([*replay, "--since", "1h"]) == 0
    world.say(last := str(uuid.uuid4()))
    eventually(lambda: last in world.handled, "what comes later is handled")
    eventually(lambda: not world.operations.queues([SOON, QUEUE.name])[0].waiting, "nothing waits any more")
    service.stop(5)
    assert [world.handled.count(name) for name in (before, known, last)] == [1, 1, 1]
    monkeypatch.setenv("DATAUPLOADER_BROKER", url(USER))
    assert main([*replay, "--since", "1h"]) != 0


def test_a_function_that_never_returns_costs_no_connection(world: World, eventually, url) -> None:
    """It goes on saying how it is; its message is back in the queue, and another process may have it."""
    reports: list[Any] = []
    heard = topology.harvester_queue("nexus", ["#"])
    listener = world.sign_in("nexus")
    listener.consume(heard, lambda delivery: reports.append(delivery.event.data))
    hanging, name = threading.Event(), str(uuid.uuid4())
    world.do = lambda _: hanging.wait() and None
    service = world.start(seconds=0.3, report_interval_s=0.1)
    world.say(name)

    def told() -> list[Any]:
        return [one for one in reports if getattr(one, "service", "") == service.name and one.troubles]

    eventually(lambda: len(told()) >= 10, "it goes on telling what hangs")
    assert "other events wait until it returns" in told()[-1].troubles[0]
    assert world.bus.health().ok
    assert world.calls == [name]
    hanging.set()
    eventually(lambda: world.handled == [name], "it returns in the end")
    service.stop(5)


@pytest.fixture
def foreigner(url) -> Iterator[Any]:
    """Give the channel of a program that knows AMQP and nothing of ours."""
    connection = pika.BlockingConnection(pika.URLParameters(url(USER)))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


@pytest.fixture
def take(foreigner: Any, eventually) -> Callable[[], Any]:
    """Give a step that takes the next message as a foreigner does."""

    def step() -> Any:
        found: list[Any] = []

        def look() -> bool:
            got = foreigner.basic_get(QUEUE.name)
            if got[0] is not None:
                found.append(got)
            return bool(found)

        eventually(look, "a message")
        return found[0]

    return step


def test_a_foreigner_parks_by_a_nack_or_with_a_sentence(world: World, foreigner, take, eventually) -> None:
    """Both are seen by operators and can be given back, which brings them to the queue again."""
    refused, told = str(uuid.uuid4()), str(uuid.uuid4())
    world.say(refused)
    method, _, body = take()
    assert json.loads(body)["id"] == refused
    foreigner.basic_nack(method.delivery_tag, requeue=False)
    world.say(told)
    method, _, body = take()
    headers = {"x-reason": "the disk for conversions is full"}
    foreigner.basic_publish(topology.PARKED, QUEUE.name, body, pika.BasicProperties(headers=headers), mandatory=True)
    foreigner.basic_ack(method.delivery_tag)
    expected = {
        refused: "its consumer refused it (a reject or nack without requeue) and gave no reason",
        told: "the disk for conversions is full",
    }
    eventually(lambda: world.parked() == expected, "both are parked")
    assert world.operations.replay_parked(QUEUE, [refused, told]) == 2
    assert {json.loads(take()[2])["id"] for _ in range(2)} == {refused, told}
    assert world.parked() == {}


def test_a_foreigner_has_a_message_again_later_by_the_retry_queues(world: World, foreigner, take) -> None:
    """It publishes to the one with the delay that it wants, under the name of its queue, and then acknowledges."""
    world.say(name := str(uuid.uuid4()))
    method, properties, body = take()
    again = pika.BasicProperties(headers={"x-attempt": 2}, message_id=properties.message_id, delivery_mode=2)
    foreigner.basic_publish(SOON, QUEUE.name, body, again, mandatory=True)
    foreigner.basic_ack(method.delivery_tag)
    method, properties, body = take()
    assert (method.exchange, method.routing_key, method.redelivered) == (topology.BACK, QUEUE.name, False)
    assert (json.loads(body)["id"], properties.message_id, properties.headers["x-attempt"]) == (name, name, 2)
    foreigner.basic_ack(method.delivery_tag)


def test_a_foreigner_who_gives_back_at_once_has_it_so_often_and_then_it_is_parked(
    world: World, foreigner, take, eventually
) -> None:
    """Requeueing is no retry: nothing waits between; the broker's limit ends it."""
    world.say(name := str(uuid.uuid4()))
    for number in range(CRASH_LIMIT + 1):
        method, properties, _ = take()
        assert (properties.headers or {}).get("x-delivery-count", 0) == number
        foreigner.basic_nack(method.delivery_tag, requeue=True)
    eventually(lambda: "its consumer crashed" in world.parked().get(name, ""), "it is parked by the broker")


@pytest.mark.attack("S13")
@pytest.mark.parametrize(
    "step",
    [
        lambda c: c.basic_get(topology.catalog_queue().name),
        lambda c: c.basic_get(topology.harvester_queue("nexus", ()).name),
        lambda c: c.basic_get(topology.LOG),
        lambda c: c.queue_bind(QUEUE.name, topology.EVENTS, "#"),
        lambda c: c.queue_declare("mine", durable=True),
        lambda c: c.queue_delete(QUEUE.name),
        lambda c: c.basic_publish(topology.EVENTS, completed().routing_key, encode(completed())),
        lambda c: c.basic_publish(topology.EVENTS, "elettra.xrd1.ws01.metadata.extracted.v1", b""),
        lambda c: c.basic_publish(topology.EVENTS, "elettra.consumer.other.station.reported.v1", b""),
        lambda c: c.basic_publish(topology.PARKED, topology.catalog_queue().name, b""),
        lambda c: c.basic_publish(SOON, topology.catalog_queue().name, b""),
        lambda c: c.basic_publish("", QUEUE.name, b""),
    ],
    ids=[
        "reads the catalog's queue", "reads a harvester's queue", "reads the log", "binds", "declares", "deletes",
        "says what the catalog says", "says metadata", "reports for another", "parks for another",
        "retries for another", "writes past the exchange",
    ],
)  # fmt: skip
def test_a_consumer_reaches_into_nothing_of_others(foreigner: Any, step: Callable[[Any], None]) -> None:
    """Every way is a 403."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        step(foreigner)
    assert refused.value.reply_code == 403
