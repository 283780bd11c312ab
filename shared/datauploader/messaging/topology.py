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
LOG = "datauploader.log"
"""The stream that keeps every event for replay."""
RETRY_LADDER_S: tuple[float, ...] = (1, 10, 60, 600)
"""Fixed delays of the retry queues, in seconds; each has its own queue, so that none blocks another."""
DELIVERY_LIMIT = 5
"""Deliveries of one message that end in an unexpected error before it is parked."""
MOST_RETRIES = 50
"""Times that a handler may ask for a message again before it is parked: about eight hours of the ladder."""


def retry_name(seconds: float) -> str:
    """Name the exchange and the queue that hold messages for so many seconds."""
    return f"datauploader.retry.{seconds:g}s"


def rung(attempt: int, after_s: float, ladder: tuple[float, ...] = RETRY_LADDER_S) -> float:
    """Choose a delay from the ladder: at least what was asked for, growing with the attempts."""
    wanted = max(after_s, ladder[min(attempt - 1, len(ladder) - 1)] if attempt > 1 else 0)
    return next((step for step in ladder if step >= wanted), ladder[-1])


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that belongs to one consumer."""

    name: str
    bindings: tuple[str, ...]
    required_for: tuple[type[EventData], ...] = ()
    """Events that must not be published while this queue is missing."""
    station: Station | None = None

    @property
    def parked(self) -> str:
        """The queue where this one's hopeless messages wait for a person."""
        return f"{self.name}.parked"

    @property
    def owner(self) -> str:
        """The queue that holds no message: its arguments say whose state this one belongs to."""
        return f"{self.name}.owner"

    def must_hear(self, kind: type[EventData], station: Station) -> bool:
        """Tell whether an event of this kind and station must find this queue in place."""
        return kind in self.required_for and self.station in (None, station)


def _everywhere(*kinds: type[EventData]) -> tuple[str, ...]:
    return tuple(f"*.*.*.{topic(kind)}" for kind in kinds)


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
    return Queue("catalog.work", _everywhere(*kinds), required_for=needed)


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
    )


def transfer_queue(station: Station) -> Queue:
    """File versions of one station that wait to be moved, what steers them, and what is to be compared."""
    kinds = (FileReady, UploadControlled, AuditRequested)
    needed = (FileReady, AuditRequested)
    return Queue(f"transfer.{station.key}", _here(station, *kinds), required_for=needed, station=station)


def harvester_queue(name: str, bindings: Iterable[str]) -> Queue:
    """A queue for a consumer of somebody else's; nobody waits for it."""
    return Queue(f"harvester.{name}", tuple(bindings))


def question_queue(service: str, station: Station | None) -> str:
    """Name the queue (and routing key) of questions to a service, of one station where given."""
    return f"{service}.questions" + (f".{station.key}" if station else "")


def stations_queue(service: str) -> str:
    """Name the queue of questions that stations ask a service of the facility."""
    return f"{service}.questions.stations"


def stations_key(service: str) -> str:
    """Return the pattern of its keys: each station asks under its own three words, so it is known which one asks."""
    return f"{service}.questions.*.*.*"


def facility_queues(stations: Iterable[Station]) -> tuple[Queue, ...]:
    """All queues of the four services for these stations."""
    own = [queue for station in stations for queue in (watcher_queue(station), transfer_queue(station))]
    return (catalog_queue(), gateway_queue(), *own)
