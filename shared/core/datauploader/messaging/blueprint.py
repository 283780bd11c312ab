"""Every exchange, queue and binding with its arguments, once: what services declare and what definitions.json says."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from datauploader.contracts.address import Station
from datauploader.messaging.topology import (
    ANSWERS,
    ASTRAY,
    BACK,
    BROKER_EVENTS,
    CLAIMS,
    EVENTS,
    LET_IN,
    LOG,
    PARKED,
    QUESTIONS,
    REFUSED,
    RETRY_DELAYS_S,
    SIGN_INS,
    STATION_SERVICES,
    Queue,
    answer_queues,
    asked_queue,
    astray_queue,
    facility_queues,
    question_key,
    retry_name,
    stations_key,
    stations_queue,
)

Arguments = Mapping[str, str | int]

CRASH_LIMIT = 30
"""Deliveries without any verdict, as when the consumer's process dies each time, before the broker parks a message.

Far above DELIVERY_LIMIT, which counts errors that a handler raises: a lost connection counts here as well, and a
broker that is killed twenty times must not park what is sound.
"""
NEVER_DROPPED = 1_000_000
"""Deliveries from a queue that drops nothing: each look at parked messages is one. RabbitMQ 4 drops a message after 20
unless told."""
LOG_AGE = "30D"
LOG_BYTES = 20_000_000_000
_LOG_SEGMENT_BYTES = 100_000_000
QUESTION_TTL_MS = 60_000
"""A question that is older has no one waiting for its answer; an answer neither."""
_MOST_QUESTIONS = 10_000
_SIGN_IN_TTL_MS, _MOST_SIGN_INS = 300_000, 1000
"""What is older says nothing of now; and nobody fills the broker by knocking."""
EXCHANGE_ARGUMENTS: Mapping[str, Arguments] = {BACK: {"alternate-exchange": ASTRAY}}
"""What no binding takes back goes astray, and stops nobody: a retry queue waits for a queue that takes its messages."""

_KEPT: Arguments = {"x-queue-type": "quorum", "x-delivery-limit": NEVER_DROPPED}
_SAFE = {"x-overflow": "reject-publish", "x-dead-letter-strategy": "at-least-once"}
"""Dead-lettering that waits until the next queue has confirmed; it exists only together with reject-publish."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """The specification of a durable queue and the arguments that it is declared with."""

    name: str
    arguments: Arguments = field(default_factory=dict)
    brief: bool = False
    """Nobody misses what it holds: one of this name with other arguments is used as it is, or made anew."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A key under which an exchange gives messages to a queue."""

    exchange: str
    queue: str
    key: str


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Objects of the broker, in an order in which they can be made; every exchange is a durable topic exchange."""

    exchanges: tuple[str, ...] = ()
    queues: tuple[QueueSpec, ...] = ()
    bindings: tuple[Binding, ...] = ()

    def only(self, names: Collection[str]) -> "Blueprint":
        """Keep the exchanges and queues of these names, and the bindings of the queues."""
        return Blueprint(
            tuple(name for name in self.exchanges if name in names),
            tuple(queue for queue in self.queues if queue.name in names),
            tuple(binding for binding in self.bindings if binding.queue in names),
        )

    def __add__(self, other: "Blueprint") -> "Blueprint":
        return Blueprint(self.exchanges + other.exchanges, self.queues + other.queues, self.bindings + other.bindings)


def shared_topology(delays: Iterable[float] = RETRY_DELAYS_S) -> Blueprint:
    """Describe what all services share, but for the log: the exchanges and the retry queues."""
    steps, astray = tuple(delays), astray_queue().parked
    names = tuple(retry_name(step) for step in steps)
    return Blueprint(
        exchanges=(EVENTS, QUESTIONS, ANSWERS, PARKED, CLAIMS, ASTRAY, BACK, *names),
        queues=(
            _kept(astray),
            *(
                QueueSpec(
                    name,
                    {
                        "x-queue-type": "quorum",
                        "x-message-ttl": round(step * 1000),
                        "x-dead-letter-exchange": BACK,  # hands each back to the queue that its routing key names
                        **_SAFE,
                    },
                )
                for name, step in zip(names, steps, strict=True)
            ),
        ),
        bindings=(Binding(ASTRAY, astray, "#"), *(Binding(name, name, "#") for name in names)),
    )


def event_log() -> Blueprint:
    """Describe the event log; apart from the ground, because nothing but a replay needs it."""
    arguments: Arguments = {
        "x-queue-type": "stream",
        "x-max-age": LOG_AGE,
        "x-max-length-bytes": LOG_BYTES,
        "x-stream-max-segment-size-bytes": _LOG_SEGMENT_BYTES,
    }
    return Blueprint(queues=(QueueSpec(LOG, arguments),), bindings=(Binding(EVENTS, LOG, "#"),))


def sign_ins() -> Blueprint:
    """Describe the queue of sign-ins; apart, because only a broker's definitions may bind it to the broker's events.

    No stream: RabbitMQ 3.10 puts none of its own events into one.
    """
    arguments: Arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": CRASH_LIMIT,
        "x-message-ttl": _SIGN_IN_TTL_MS,
        "x-max-length": _MOST_SIGN_INS,
    }
    bindings = tuple(Binding(BROKER_EVENTS, SIGN_INS, key) for key in (REFUSED, LET_IN))
    return Blueprint(queues=(QueueSpec(SIGN_INS, arguments),), bindings=bindings)


def consumed(queue: Queue) -> Blueprint:
    """Describe one consumer's queue, where it is bound, and where its hopeless messages go."""
    own = QueueSpec(
        queue.name,
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": CRASH_LIMIT,
            "x-dead-letter-exchange": PARKED,
            "x-dead-letter-routing-key": queue.name,
            **_SAFE,
        },
    )
    return Blueprint(
        queues=(_kept(queue.parked), own),
        bindings=(
            Binding(PARKED, queue.parked, queue.name),
            Binding(BACK, queue.name, queue.name),
            *(Binding(EVENTS, queue.name, key) for key in queue.bindings),
        ),
    )


def claim(queue: Queue) -> Blueprint:
    """Describe where it is kept which state consumes a queue: the latest claim alone stays there."""
    own = QueueSpec(queue.claim, {**_KEPT, "x-max-length": 1}, brief=True)
    return Blueprint(queues=(own,), bindings=(_by_name(CLAIMS, queue.claim),))


def asked(name: str, key: str) -> Blueprint:
    """Describe a queue of questions, and the keys under which they come."""
    return Blueprint(queues=(_passing(name),), bindings=(Binding(QUESTIONS, name, key),))


def answered(name: str) -> Blueprint:
    """Describe a queue of answers; what an earlier reader has left there is nobody's."""
    return Blueprint(queues=(_passing(name),), bindings=(_by_name(ANSWERS, name),))


def facility(stations: Iterable[Station], delays: Iterable[float] = RETRY_DELAYS_S) -> Blueprint:
    """Describe everything that the four services need for these stations."""
    known = tuple(stations)
    queues = facility_queues(known)
    parts = [*(consumed(queue) for queue in queues), *(claim(queue) for queue in queues if queue.one_state)]
    for service in ("catalog", "gateway"):
        parts += (asked(asked_queue(service, None), question_key(service, None)),)
        parts += (asked(stations_queue(service), stations_key(service)),)
    for station in known:
        parts += (asked(asked_queue(name, station), question_key(name, station)) for name in STATION_SERVICES)
        parts += (answered(name) for name in answer_queues(station))
    return sum(parts, shared_topology(delays) + event_log())


def _by_name(exchange: str, queue: str) -> Binding:
    return Binding(exchange, queue, queue)


def _kept(name: str) -> QueueSpec:
    return QueueSpec(name, _KEPT)


def _passing(name: str) -> QueueSpec:
    """Hold questions or answers, on several nodes where there are some: nobody waits for a node that is away."""
    arguments: Arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": CRASH_LIMIT,
        "x-message-ttl": QUESTION_TTL_MS,
        "x-max-length": _MOST_QUESTIONS,
    }
    return QueueSpec(name, arguments, brief=True)
