"""The port that services speak to, whatever carries their messages."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from datauploader.contracts.address import Station
from datauploader.contracts.envelope import EncodedEvent, Event
from datauploader.contracts.model import EventData, Question, WireModel
from datauploader.errors import MessagingError
from datauploader.messaging.topology import Queue


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to a handler."""

    event: Event[EventData]
    attempt: int = 1
    """1 for the first time; counts re-deliveries and retries together."""
    offset: int | None = None
    """Position in the event log, where the delivery comes from there."""
    sender: str = ""
    """The broker's user who said it, where the broker vouches for that; a process that is its own broker has none."""


Handler = Callable[[Delivery], None]
"""Returns: done. Raises Park: for a person. Raises Retry: again later. Anything else: again, within the limit."""
Together = Callable[[Sequence[Delivery]], None]
"""Does for several deliveries what the handler does for each; where it raises anything, each goes to the handler alone.

So what it has done until then must be undone, or do no harm when it is done again.
"""


Skips = Callable[[bytes], bool]
"""Tells by its body alone that the handler has no use for a message: it is done without having been read."""


def skip_nothing(_body: bytes) -> bool:
    """Have everything read."""
    return False


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """An answer in JSON, put together from what was written before: it travels as it is, and nothing of it is read."""

    kind: type[WireModel]
    text: str

    def read(self) -> WireModel:
        """Read it as whoever has asked does."""
        return self.kind.model_validate_json(self.text)


A = TypeVar("A", bound=WireModel)
Answer = WireModel | WrittenAnswer
Answerer = Callable[[Question], Answer]
StationAnswerer = Callable[[Question, Station], Answer]


def told_by_key(answerer: StationAnswerer) -> Callable[[Question, str], Answer]:
    """Return the answerer of questions whose keys end in the three words of the station that asks."""
    return lambda question, key: answerer(question, Station.parse(".".join(key.split(".")[-3:])))


@dataclass(frozen=True, slots=True)
class Start:
    """Where a replay of the event log begins: exactly one of the three."""

    first: bool = False
    offset: int | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class BusHealth:
    """How the connection to the broker is, in a word and a sentence."""

    ok: bool
    detail: str = ""
    unconfirmed: int = 0
    """Published events that the broker has not confirmed yet."""
    blocked: bool = False
    """The broker has asked publishers to wait (memory or disk alarm)."""
    connected: bool = True
    """There is a connection, whatever else is wrong."""
    certificate_until: datetime | None = None
    """When the certificate ends that the broker showed; None without TLS, and before the first connection."""


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A message that nobody could handle, set aside with its reason."""

    id: str
    """The event's id, or a digest of the body where there is none."""
    queue: str
    """The queue whose consumer gave up on it."""
    reason: str
    time: datetime
    body: bytes = field(repr=False)
    trace_id: str = ""
    attempts: int = 0
    replayable: bool = True
    """False: it came in a way that its sender has no right to, so it may only be looked at and dropped."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How a queue is now."""

    name: str
    there: bool = True
    waiting: int = 0
    """Messages that no consumer has been given yet."""
    consumers: int = 0


@dataclass(frozen=True, slots=True)
class Ownership:
    """A claim to a queue that only those may consume who share one state; neither function may wait."""

    state: str
    """Names the state; who says the same shares it."""
    held: Callable[[], None]
    """Called whenever the queue begins to be consumed."""
    lost: Callable[[str], None]
    """Called whenever somebody with another state has it, and consumes meanwhile what this one does not hear; with the
    name of the computer, "" where that is not known."""
    host: str = ""
    """The computer that the state belongs to; "" lets several computers share it."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Somebody who signed in at the broker, or tried to."""

    user: str
    """As that somebody wrote it, bounded; characters that cannot be printed are `?`."""
    refused: bool
    host: str = ""
    """The address that it came from, "" where the broker does not say it."""


class Consumer(Protocol):
    """A running subscription."""

    @property
    def problem(self) -> MessagingError | None:
        """Why nothing is delivered now; BrokerRefused where waiting does not help; None while all is well."""

    def stop(self, deadline_s: float = 10.0) -> None:
        """Take nothing new, let running handlers finish, settle their verdicts; then return."""


class Bus(Protocol):
    """A connection to the broker for one service; safe to use from any thread."""

    @property
    def user(self) -> str:
        """The broker's user as whom this bus speaks; "" where there are no users."""

    def publish(self, event: Event[EventData] | EncodedEvent) -> "Future[None]":
        """Hand an event to the broker; the future ends when the broker has taken responsibility for it.

        It fails with Unroutable when a queue that must receive the event is not there. A lossy event's
        future ends at once. Any failure means "not known to be published", never "not published".
        """

    def consume(
        self, queue: Queue, handler: Handler, *, together: Together | None = None, workers: int = 1,
        prefetch: int = 32, skips: Skips = skip_nothing, on_new: Callable[[], None] | None = None,
        ownership: Ownership | None = None,
    ) -> Consumer:  # fmt: skip
        """Deliver the queue's events to the handler, in `workers` threads, until stopped, but those that it `skips`.

        What has come by the time that a thread is free may be given to `together` at once, in order.

        `on_new` is called, and must not wait, when the queue was not there before: whatever was said until then is
        in the log alone. That is so at first, and when somebody has deleted the queue. With an `ownership` nothing is
        delivered while a consumer has the queue that owns it with another state; it is tried again.
        """

    def replay(self, start: Start, handler: Handler, *, at_end: Callable[[], None] | None = None) -> Consumer:
        """Read the event log from `start` on, in order, and go on with what arrives.

        `at_end` is called once, in the reader's thread, when everything was handled that the log held when the reading
        began, and before anything that is known to be newer. No clock decides that: those of services differ.
        """

    def keep_log(self, kept_s: float) -> None:
        """Say for how many seconds after its last event an upload must be found in the log.

        An engine that keeps its log itself drops nothing earlier; a broker's log has the retention of its topology.
        """

    def ask(
        self, question: Question, answer: type[A], *, station: Station | None = None, timeout_s: float = 5.0
    ) -> "Future[A]":
        """Ask the service named by the question (of one station, where given).

        The future fails with NoAnswer after `timeout_s`, or QuestionRefused with the answerer's words.
        """

    def answer(self, service: str, answerer: Answerer, *, station: Station | None = None, workers: int = 4) -> Consumer:
        """Answer the questions put to `service` (of one station, where given).

        The answerer may raise QuestionRefused; any other exception is reported to the asker without details.
        """

    def answer_stations(self, service: str, answerer: StationAnswerer, *, workers: int = 2) -> Consumer:
        """Answer what stations ask `service` of the facility; the broker vouches for which station asks."""

    def queues(self, names: Sequence[str]) -> Sequence[QueueState]:
        """Say how these queues are, in this order; blocks while the broker is asked, and needs no right there."""

    def parked(self, queue: Queue) -> Sequence[ParkedMessage]:
        """List the messages that this queue's consumer gave up on, oldest first, without removing them."""

    def replay_parked(self, queue: Queue, ids: Sequence[str]) -> int:
        """Put parked messages back into their queue; each is delivered once more. Returns how many."""

    def redeliver(self, queue: Queue, logged: Delivery) -> "Future[None]":
        """Put an entry of the event log into this queue alone, on the way of retries; it is handled like any other.

        The future ends as that of `publish`. A queue that is not there has it set aside as astray.
        """

    def drop_parked(self, queue: Queue, ids: Sequence[str]) -> int:
        """Remove parked messages for good. Returns how many."""

    def health(self) -> BusHealth:
        """Say how the connection is now."""

    def close(self, deadline_s: float = 10.0) -> None:
        """Stop consuming, flush what is unconfirmed, disconnect; after the deadline leave the rest undone."""
