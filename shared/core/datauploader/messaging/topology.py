"""The broker's exchanges, queues, bindings and policies as data; everything else is made from this."""

from collections.abc import Iterable
from dataclasses import dataclass

from datauploader.contracts.address import Station
from datauploader.contracts.audits import AuditReported, AuditRequested
from datauploader.contracts.datasets import DatasetCompleted, DatasetEnsured, DatasetRefused
from datauploader.contracts.descriptions import DatasetDescribed, InvestigationDescribed
from datauploader.contracts.files import FileCatalogued, FileFailed, FileReady, FileStored
from datauploader.contracts.metadata import MetadataExtracted
from datauploader.contracts.model import EventData
from datauploader.contracts.registry import topic
from datauploader.contracts.uploads import UploadControlled, UploadRejected, UploadRequested, UploadSealed

EVENTS = "datauploader.events"
"""Durable topic exchange: every event."""
QUESTIONS = "datauploader.questions"
"""Durable topic exchange: questions, by the answering service and station; a topic, so that its keys have an owner."""
ANSWERS = "datauploader.answers"
"""Durable topic exchange: answers, by the queue of the one who asked."""
PARKED = "datauploader.parked"
"""Durable topic exchange: messages given up on, by the name of the queue whose consumer gave up."""
BACK = "datauploader.back"
"""Durable topic exchange: messages whose delay is over, by the name of the queue that they go back to."""
ASTRAY = "datauploader.astray"
"""Durable topic exchange: messages whose delay is over and whose queue does not exist any more."""
CLAIMS = "datauploader.claims"
"""Durable topic exchange: which state consumes a queue, by the name of the queue that keeps its claim."""
RESTORING = "datauploader.restoring"
"""A topic exchange that leads to the log alone, there while an administrator fills it."""
LOG = "datauploader.log"
"""The stream that keeps every event for replay."""
BROKER_EVENTS = "amq.rabbitmq.event"
"""Where RabbitMQ's plugin `rabbitmq_event_exchange` tells what happens in the broker; no client may publish there."""
SIGN_INS = "operations.sign-ins"
"""The queue of who signed in at the broker, and whom it refused."""
REFUSED, LET_IN = "user.authentication.failure", "user.authentication.success"
"""The keys of these events."""
RETURNED = (BACK, "")
"""Exchanges by way of which a retry comes back; the default one from the retry queues of former releases."""
RETRY_DELAYS_S: tuple[float, ...] = (1, 10, 60, 600)
"""Fixed delays of the retry queues, in seconds; each has its own queue, so that none blocks another."""
DELIVERY_LIMIT = 5
"""Deliveries of one message that end in an unexpected error before it is parked."""
MOST_RETRIES = 50
"""Times that a handler may ask for a message again before it is parked: about eight hours of delays."""


def retry_name(seconds: float) -> str:
    """Name the exchange and the queue that hold messages for so many seconds."""
    return f"datauploader.again.{seconds:g}s"


def retry_queue_names(delays: Iterable[float]) -> frozenset[str]:
    """Name the retry queues, and those of former releases, where messages may wait while one updates."""
    return frozenset(name for step in delays for name in (retry_name(step), f"datauploader.retry.{step:g}s"))


def delay_for_attempt(attempt: int, after_s: float, delays: tuple[float, ...] = RETRY_DELAYS_S) -> float:
    """Choose a retry delay: at least what was asked for, growing with the attempts."""
    wanted = max(after_s, delays[min(attempt - 1, len(delays) - 1)] if attempt > 1 else 0)
    return next((step for step in delays if step >= wanted), delays[-1])


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that belongs to one consumer."""

    name: str
    bindings: tuple[str, ...]
    required_for: tuple[type[EventData], ...] = ()
    """Events that must not be published while this queue is missing."""
    station: Station | None = None
    one_state: bool = False
    """Only those may consume it who share one state."""

    @property
    def parked(self) -> str:
        """The queue where this one's hopeless messages wait for a person."""
        return f"{self.name}.parked"

    @property
    def claim(self) -> str:
        """The queue whose only message says which state consumes this one."""
        return f"{self.name}.claim"

    def must_hear(self, kind: type[EventData], station: Station) -> bool:
        """Tell whether an event of this kind and station must find this queue in place."""
        return kind in self.required_for and self.station in (None, station)


def _here(station: Station, *kinds: type[EventData]) -> tuple[str, ...]:
    return tuple(f"{station.key}.{topic(kind)}" for kind in kinds)


def catalog_queue() -> Queue:
    """Everything that changes the catalogue."""
    kinds = (
        UploadRequested, UploadControlled, UploadRejected, FileStored, UploadSealed, MetadataExtracted,
        DatasetDescribed, InvestigationDescribed, AuditReported,
    )  # fmt: skip
    needed = (
        UploadRequested, FileStored, UploadSealed, DatasetDescribed, InvestigationDescribed, AuditReported,
    )  # fmt: skip
    bindings = tuple(f"*.*.*.{topic(kind)}" for kind in kinds)
    return Queue("catalog.work", bindings, required_for=needed, one_state=True)


def gateway_queue() -> Queue:
    """Everything, for the status view."""
    return Queue("gateway.view", ("#",))


def watcher_queue(station: Station) -> Queue:
    """Requests to one station, and the receipts for what it announced."""
    kinds = (
        UploadRequested, UploadControlled, FileStored, FileFailed, FileCatalogued, DatasetEnsured, DatasetCompleted,
        DatasetRefused,
    )  # fmt: skip
    return Queue(
        f"watcher.{station.key}",
        _here(station, *kinds),
        required_for=(UploadRequested, UploadControlled, FileStored, FileFailed, FileCatalogued),
        station=station,
        one_state=True,
    )


def transfer_queue(station: Station) -> Queue:
    """File versions of one station that wait to be moved, what steers them, and what is to be compared."""
    kinds = (FileReady, UploadControlled, AuditRequested)
    needed = (FileReady, AuditRequested)
    return Queue(
        f"transfer.{station.key}", _here(station, *kinds), required_for=needed, station=station, one_state=True
    )


def harvester_queue(name: str, bindings: Iterable[str]) -> Queue:
    """A harvester's queue; nobody waits for it."""
    return Queue(f"harvester.{name}", tuple(bindings))


def consumer_queue(name: str, bindings: Iterable[str] = ()) -> Queue:
    """A queue for a consumer that is no harvester; its account at the broker has the same name."""
    return Queue(f"consumer.{name}", tuple(bindings))


def astray_queue() -> Queue:
    """Stand for the queues that do not exist any more; what was on the way back to them is parked."""
    return Queue(ASTRAY, ())


STATION_SERVICES = ("watcher", "transfer")
"""Services that every station has of its own."""
ANSWER_QUEUES = 6
"""Queues of each station for answers; each process takes a free one. Two are used, two more may be held for a minute by
connections that the broker still believes alive, two are for a second computer."""


def question_key(service: str, station: Station | None) -> str:
    """Return the routing key of questions to a service: of one station, or asked by one."""
    return f"{service}.questions" + (f".{station.key}" if station else "")


def stations_key(service: str) -> str:
    """Return the pattern of what stations ask a service of the facility, each under its own three words."""
    return f"{service}.questions.*.*.*"


def asked_queue(service: str, station: Station | None) -> str:
    """Name the queue of a question: each station's service has one, a facility's one more for what stations ask."""
    if station is None:
        return f"{service}.asked"
    return f"{service}.asked.{station.key if service in STATION_SERVICES else 'stations'}"


def stations_queue(service: str) -> str:
    """Name the queue of questions that stations ask a service of the facility."""
    return f"{service}.asked.stations"


def answer_queues(station: Station) -> tuple[str, ...]:
    """Name the queues where answers for a station's processes arrive."""
    return tuple(f"answers.{station.key}.{number}" for number in range(1, ANSWER_QUEUES + 1))


def facility_queues(stations: Iterable[Station]) -> tuple[Queue, ...]:
    """All queues of the four services for these stations."""
    own = [queue for station in stations for queue in (watcher_queue(station), transfer_queue(station))]
    return (catalog_queue(), gateway_queue(), *own)
