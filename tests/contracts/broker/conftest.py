"""Both engines behind one face, so that one suite says what a broker must do."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import pika
import pytest

from datauploader.contracts.address import Station
from datauploader.contracts.envelope import Event
from datauploader.contracts.model import EventData
from datauploader.contracts.uploads import UploadOpened
from datauploader.errors import Retry
from datauploader.messaging.definitions import BrokerUser, definitions
from datauploader.messaging.memory import bus as memory_bus
from datauploader.messaging.port import Bus, Consumer, Delivery, Handler
from datauploader.messaging.rabbit import RabbitBus, Tuning
from datauploader.messaging.topology import (
    ANSWERS,
    EVENTS,
    RETRY_DELAYS_S,
    Queue,
    astray_queue,
    consumer_queue,
    facility_queues,
    harvester_queue,
    retry_name,
)
from datauploader_testing.servers import BrokerAddress, RabbitServer
from datauploader_testing.servers.rabbitmq_definitions import password_hash

LADDER = (0.1, 0.3)
STATIONS = (Station.parse("elettra.xrd1.ws01"), Station.parse("elettra.xrd1.ws02"))
PASSWORD = "correct-horse-7319"
USERS = (
    BrokerUser("ws01", "station", station=STATIONS[0], password_hash=password_hash(PASSWORD)),
    BrokerUser("ws02", "station", station=STATIONS[1], password_hash=password_hash(PASSWORD)),
    BrokerUser("catalog", "catalog", password_hash=password_hash(PASSWORD)),
    BrokerUser("gateway", "gateway", password_hash=password_hash(PASSWORD)),
    BrokerUser("nexus", "harvester", harvester="nexus", hears=("#",), password_hash=password_hash(PASSWORD)),
    BrokerUser.of_consumer("notifier", ["dataset.completed.v1"], password_hash=password_hash(PASSWORD)),
    BrokerUser("operations", "operations", password_hash=password_hash(PASSWORD)),
    BrokerUser("operator", "operator", password_hash=password_hash(PASSWORD)),
)
NAMED = {"ws01": f"station:{STATIONS[0].key}", "ws02": f"station:{STATIONS[1].key}"}
NAMED["former"] = NAMED["ws01"]
"""The users whose names do not say who they are; `former` has the rights of a station of former releases."""
QUICK = Tuning(
    retry_delays_s=LADDER,
    presence_s=0.3,
    heal_s=0.5,
    backoff_first_s=0.05,
    backoff_most_s=0.5,
    patience_s=1.0,
    owned_s=1.0,
)


def _eventually(condition: Callable[[], object], what: str | Callable[[], str], seconds: float = 60.0) -> None:
    """Wait until something is true, and name it when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what() if callable(what) else what}"
        threading.Event().wait(0.01)


class Recorder:
    """A handler that keeps what it was given; the first deliveries end with the given exceptions."""

    def __init__(self, *endings: BaseException | None) -> None:
        self.deliveries: list[Delivery] = []
        self._endings = list(endings)
        self._lock = threading.Lock()

    def __call__(self, delivery: Delivery) -> None:
        """Keep the delivery, and end as planned."""
        with self._lock:
            self.deliveries.append(delivery)
            ending = self._endings.pop(0) if self._endings else None
        if ending is not None:
            raise ending

    @property
    def ids(self) -> list[str]:
        """The events' ids, in the order in which they came."""
        return [delivery.event.id for delivery in self.deliveries]

    def wait_for(self, count: int, seconds: float = 60.0) -> list[Delivery]:
        """Wait until so many deliveries have come."""
        _eventually(lambda: len(self.deliveries) >= count, lambda: f"{count} deliveries; so far {self.ids}", seconds)
        return self.deliveries


class Engine(Protocol):
    """A broker as the suite needs it."""

    def bus(self, name: str = "watcher elettra/xrd1/ws01", **options: Any) -> Bus:
        """Connect a service; the suite closes it."""

    def inject(self, queue: Queue, body: bytes) -> None:
        """Put a body into a queue as it is, past the port."""


class MemoryEngine:
    """The engine for one process."""

    def __init__(self) -> None:
        self.broker = memory_bus.MemoryBroker(delays=LADDER)
        self.buses: list[Bus] = []

    def bus(self, name: str = "watcher elettra/xrd1/ws01", **_options: Any) -> Bus:
        """Connect a service."""
        self.buses.append(self.broker.bus(name))
        return self.buses[-1]

    def inject(self, queue: Queue, body: bytes) -> None:
        """Put a body into a queue."""
        self.broker.put_message(queue.name, memory_bus._Message(body))


class RabbitEngine:
    """A virtual host of a private RabbitMQ."""

    def __init__(self, address: BrokerAddress) -> None:
        self.address = address
        self.buses: list[Bus] = []

    def bus(
        self, name: str = "watcher elettra/xrd1/ws01", *, tuning: Tuning = QUICK, declare: bool = True, query: str = ""
    ) -> RabbitBus:
        """Connect a service."""
        bus = RabbitBus(self.address.url + query, name=name, tuning=tuning, declare=declare)
        self.buses.append(bus)
        return bus

    def inject(self, queue: Queue, body: bytes) -> None:
        """Publish a body as if it came back from the retry queues; no other way past the port is believed."""
        connection = pika.BlockingConnection(pika.URLParameters(self.address.url))
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(retry_name(LADDER[0]), queue.name, body, mandatory=True)
        connection.close()


def _with_former_rights(document: dict[str, Any]) -> dict[str, Any]:
    """Add a user of the station ws01 who may make queues of its own, as stations might before."""
    own = r"(watcher|transfer)\.elettra\.xrd1\.ws01(\.parked|\.owner)?|answers\.former\.[0-9a-f]+"
    exchanges = r"datauploader\.(events|questions|answers|parked|again\.[0-9]+s)"
    anywhere = {"user": "former", "vhost": "/", "configure": f"^({own})$"}
    also = [one | {"user": "former"} for one in document["topic_permissions"] if one["user"] == "ws01"]
    station = next(user for user in document["users"] if user["name"] == "ws01")
    for one in also:
        if one["exchange"] == ANSWERS:
            one |= {"write": r"^answers\.", "read": r"^answers\.former\."}
        if one["exchange"] == EVENTS:
            one["read"] = r"^elettra\.xrd1\.ws01\."
    return document | {
        "users": [*document["users"], station | {"name": "former"}],
        "permissions": [
            *document["permissions"], anywhere | {"write": f"^({own}|{exchanges})$", "read": f"^({own}|{exchanges})$"},
        ],
        "topic_permissions": [*document["topic_permissions"], *also],
    }  # fmt: skip


@pytest.fixture(scope="session")
def facility_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """Give a second broker, booted from the definitions of two stations, that tests may stop and kill."""
    path = tmp_path_factory.mktemp("definitions") / "definitions.json"
    path.write_text(json.dumps(_with_former_rights(definitions(STATIONS, USERS))))
    with RabbitServer(definitions=path, plugins=()) as server:
        yield server


@pytest.fixture
def url(facility_server: RabbitServer) -> Callable[[str], str]:
    """Give the address for a user of the second broker."""
    place = f"{facility_server.address.host}:{facility_server.address.port}"
    return lambda user: f"amqp://{user}:{PASSWORD}@{place}/"


@pytest.fixture
def sign_in(url: Callable[[str], str]) -> Iterator[Callable[..., RabbitBus]]:
    """Give a maker of buses for the users of the second broker."""
    buses: list[Bus] = []

    def make(user: str, **options: Any) -> RabbitBus:
        tuning = replace(QUICK, retry_delays_s=RETRY_DELAYS_S)
        buses.append(RabbitBus(url(user), name=f"{user} elettra/xrd1/ws01", tuning=tuning, users=NAMED, **options))
        return buses[-1]

    yield make
    _close(buses)


@pytest.fixture
def empty(facility_server: RabbitServer) -> Callable[..., None]:
    """Give a step that removes what other tests have left in queues of the second broker."""

    def purge(*names: str) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(facility_server.address.url))
        for name in names:
            connection.channel().queue_purge(name)
        connection.close()

    return purge


@pytest.fixture
def nothing_stays(empty: Callable[..., None]) -> Iterator[None]:
    """Empty all queues of the second broker's two stations, before and afterwards: it serves other tests too."""
    stations = [Station.parse(f"elettra.xrd1.ws0{number}") for number in (1, 2)]
    queues = [*facility_queues(stations), harvester_queue("nexus", ()), consumer_queue("notifier")]
    names = [*(name for queue in queues for name in (queue.name, queue.parked)), astray_queue().parked]
    empty(*names)
    yield
    empty(*names)


@pytest.fixture
def rabbit(rabbitmq_vhost: BrokerAddress) -> Iterator[RabbitEngine]:
    """Give the real broker, for what only it can do."""
    engine = RabbitEngine(rabbitmq_vhost)
    yield engine
    _close(engine.buses)


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Give each engine in turn."""
    if request.param == "rabbitmq":
        yield request.getfixturevalue("rabbit")
        return
    engine = MemoryEngine()
    yield engine
    _close(engine.buses)


@pytest.fixture
def bus(engine: Engine) -> Bus:
    """Give a service's connection."""
    return engine.bus()


@pytest.fixture
def queue() -> Queue:
    """Give a queue that hears everything."""
    return harvester_queue("everything", ["#"])


@pytest.fixture
def station() -> Station:
    """Give the station that the suite speaks for."""
    return Station.parse("elettra.xrd1.ws01")


@pytest.fixture
def new_event(station: Station) -> Callable[..., Event[EventData]]:
    """Give a maker of events that no queue is required for."""

    def make(data: EventData | None = None, **attributes: Any) -> Event[EventData]:
        return Event(data or UploadOpened(upload_id="upload-0001"), station, "watcher", **attributes)

    return make


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Give a wait for a condition, with a deadline and a name."""
    return _eventually


@pytest.fixture
def recorder() -> type[Recorder]:
    """Give handlers that keep what they were given."""
    return Recorder


@pytest.fixture
def password() -> str:
    """Give the password of every user on the second broker."""
    return PASSWORD


@pytest.fixture
def quick() -> Tuning:
    """Give the intervals that this suite runs with."""
    return QUICK


@pytest.fixture
def soon() -> Callable[[], Retry]:
    """Give a request for the message again, after the shortest delay."""
    return lambda: Retry("not yet", timedelta(seconds=LADDER[0]))


@pytest.fixture
def consume() -> Callable[..., Consumer]:
    """Give a consume that returns when the broker delivers."""

    def begin(bus: Bus, queue: Queue, handler: Handler, **options: Any) -> Consumer:
        consumer = bus.consume(queue, handler, **options)
        _eventually(lambda: bus.health().ok, lambda: f"{queue.name} is consumed: {bus.health().detail}")
        return consumer

    return begin


def _close(buses: list[Bus]) -> None:
    for bus in buses:
        bus.close(5)
