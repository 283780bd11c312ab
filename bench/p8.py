"""P8: publishing and consuming on a quorum queue, beside pika's BlockingConnection with a confirm for each message.

The parties take turns on one broker with the same bodies. Consuming is measured as a service does it: each event runs
through the dispatcher, its id is committed to SQLite, then it is acknowledged.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pika
from measuring import finish, options_of, processor_since, read, show, spread
from processor import processor_seconds

from datauploader.contracts.address import Station
from datauploader.contracts.envelope import Event, encode
from datauploader.contracts.model import EventData
from datauploader.contracts.uploads import UploadOpened
from datauploader.messaging.dispatcher import Dispatcher
from datauploader.messaging.port import Consumer, Delivery, Handler, Together
from datauploader.messaging.rabbit import RabbitBus
from datauploader.messaging.topology import EVENTS, Queue, harvester_queue
from datauploader.reliability import Outbox, Store, inbox, outbox
from datauploader.runtime import logging
from datauploader_testing.servers import BrokerAddress, RabbitServer

QUEUE = harvester_queue("bench", ["#"])
Events = list[Event[EventData]]


def main() -> int:
    """Run the rounds and print the figures; end with a sentence when an event was lost or doubled."""
    parser = options_of(
        "p8",
        __doc__,
        broker=False,
        events=(100_000, "events that we publish and consume"),
        one_by_one=(2_000, "messages of the other party, which is slow"),
    )
    options = read(parser, events=200, one_by_one=20)
    logging.configure("bench", level="WARNING")
    theirs, ours, consumed = [], [], []
    with RabbitServer() as server, tempfile.TemporaryDirectory(prefix="datauploader-bench-") as folder:
        bus = RabbitBus(server.address.url, name="bench p8")
        attached(bus, QUEUE, lambda _: None).stop()
        before = processor_seconds()
        for number in range(options.rounds):
            few, many = events(options.one_by_one), events(options.events)
            theirs.append(len(few) / seconds(lambda few=few: one_by_one(server.address, few)))
            ours.append(len(many) / seconds(lambda many=many: in_a_window(bus, many)))
            consumed.append(consume(bus, Path(folder, f"{number}.sqlite"), few + many))
            print(f"round {number + 1}: {theirs[-1]:.0f}, {ours[-1]:.0f}, consumed {consumed[-1]:.0f}", flush=True)
        used = processor_since(before)
        versions = {"pika": version("pika"), "rabbitmq": server.management.get("overview")["rabbitmq_version"]}
        bus.close()
    found = {
        "one by one": spread(theirs, "a second"),
        "published": spread(ours, "a second"),
        "consumed": spread(consumed, "a second"),
        "ratio": spread([mine / other for mine, other in zip(ours, theirs, strict=True)], "times"),
    }
    show(found)
    finish(options, **found, processor_s=used, versions=versions)
    return 0


def events(count: int) -> Events:
    """Make so many small events."""
    station = Station.parse("bench.bench.bench")
    return [Event(UploadOpened(upload_id="benchmark"), station, "watcher") for _ in range(count)]


def seconds(step: Callable[[], object]) -> float:
    """Measure a step."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def one_by_one(address: BrokerAddress, few: Events) -> None:
    """Publish as pika's examples do: a BlockingConnection that waits for each confirm."""
    connection = pika.BlockingConnection(pika.URLParameters(address.url))
    channel = connection.channel()
    channel.confirm_delivery()
    for event in few:
        properties = pika.BasicProperties(delivery_mode=2, message_id=event.id, user_id=address.user)
        channel.basic_publish(EVENTS, event.routing_key, encode(event), properties, mandatory=True)
    connection.close()


def in_a_window(bus: RabbitBus, many: Events) -> None:
    """Publish as the services do, and wait until all is confirmed."""
    for future in [bus.publish(event) for event in many]:
        future.result(120)


def attached(bus: RabbitBus, queue: Queue, handler: Handler, together: Together | None = None) -> Consumer:
    """Consume, and return when the broker delivers."""
    consumer = bus.consume(queue, handler, together=together, prefetch=500)
    while not bus.health().ok:
        time.sleep(0.01)
    return consumer


def consume(bus: RabbitBus, path: Path, expected: Events) -> float:
    """Handle and commit what was published; return events a second."""
    store = Store(path, [inbox.SCHEMA, outbox.SCHEMA])
    handled: list[str] = []
    done = threading.Event()
    dispatcher = Dispatcher(store, Outbox(store, bus.publish), "bench")
    dispatcher.on(UploadOpened, lambda _unit, event: handled.append(event.id))

    def together(deliveries: Sequence[Delivery]) -> None:
        dispatcher.handle_all(deliveries)
        if len(handled) == len(expected):
            done.set()

    began = time.perf_counter()
    consumer = attached(bus, QUEUE, lambda delivery: together([delivery]), together)
    if not done.wait(600):
        raise SystemExit(f"{len(handled)} of {len(expected)} events came")
    taken = time.perf_counter() - began
    consumer.stop()
    if sorted(handled) != sorted(event.id for event in expected):
        raise SystemExit("events were lost or doubled")
    return len(expected) / taken


if __name__ == "__main__":
    sys.exit(main())
