"""Every exchange, queue and binding with its arguments, once: what services declare and what definitions.json says."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from datauploader.contracts.address import Station
from datauploader.messaging.topology import (
    ANSWERS,
    EVENTS,
    LOG,
    PARKED,
    QUESTIONS,
    RETRY_LADDER_S,
    Queue,
    facility_queues,
    retry_name,
)

Arguments = Mapping[str, str | int]

CRASH_LIMIT = 30
"""Deliveries without any verdict, as when the consumer's process dies each time, before the broker parks a message.

Far above DELIVERY_LIMIT, which counts errors that a handler raises: a lost connection counts here as well, and a
broker that is killed twenty times must not park what is sound.
"""
_UNLIMITED = 1_000_000
"""Deliveries from a parked queue: each look at it is one, and RabbitMQ 4 drops a message after 20 unless told."""
LOG_AGE = "30D"
LOG_BYTES = 20_000_000_000
_LOG_SEGMENT_BYTES = 100_000_000
QUESTION_TTL_MS = 60_000
"""A question that is older has no one waiting for its answer."""

_ON = "on."

_SAFE = {"x-overflow": "reject-publish", "x-dead-letter-strategy": "at-least-once"}
"""Dead-lettering that waits until the next queue has confirmed; it exists only together with reject-publish."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A durable queue and the arguments that it is declared with."""

    name: str
    arguments: Arguments = field(default_factory=dict)


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
    queues: tuple[Shape, ...] = ()
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


def ground(ladder: Iterable[float] = RETRY_LADDER_S) -> Blueprint:
    """Describe what all services share, but for the log: the exchanges and the retry ladder."""
    steps = tuple(ladder)
    names = tuple(retry_name(step) for step in steps)
    return Blueprint(
        exchanges=(EVENTS, QUESTIONS, ANSWERS, PARKED, *names),
        queues=tuple(Shape(name, _waiting(step)) for name, step in zip(names, steps, strict=True)),
        bindings=tuple(Binding(name, name, "#") for name in names),
    )


def event_log() -> Blueprint:
    """Describe the event log; apart from the ground, because nothing but a replay needs it."""
    arguments: Arguments = {
        "x-queue-type": "stream",
        "x-max-age": LOG_AGE,
        "x-max-length-bytes": LOG_BYTES,
        "x-stream-max-segment-size-bytes": _LOG_SEGMENT_BYTES,
    }
    return Blueprint(queues=(Shape(LOG, arguments),), bindings=(Binding(EVENTS, LOG, "#"),))


def consumed(queue: Queue) -> Blueprint:
    """Describe one consumer's queue, where it is bound, and where its hopeless messages go."""
    parked = Shape(queue.parked, {"x-queue-type": "quorum", "x-delivery-limit": _UNLIMITED})
    own = Shape(
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
        queues=(parked, own),
        bindings=(
            Binding(PARKED, queue.parked, queue.name),
            *(Binding(EVENTS, queue.name, key) for key in queue.bindings),
        ),
    )


def owned(queue: Queue, state: str, seconds: float, host: str = "") -> Shape:
    """Describe the sign that a queue belongs to one state: the broker refuses to make it with another one's name.

    It goes so many seconds after its last consumer. The broker's refusal names what stands there in its place: so a
    computer's name stands alone, where the refusal, which is cut after 255 bytes, has room for it.
    """
    sign: Arguments = {"x-expires": round(seconds * 1000), "x-dead-letter-exchange": PARKED}
    if host:
        return Shape(queue.owner, {**sign, "x-dead-letter-routing-key": f"{_ON}{host}", "x-max-length": int(state)})
    return Shape(queue.owner, {**sign, "x-dead-letter-routing-key": f"state.{state}"})


def owner_in(refusal: str) -> str:
    """Read from the broker's refusal on which computer the owner is, "" where it does not say."""
    found = re.search(rf"current is [^']*'{re.escape(_ON)}([^']+)'", refusal)
    return found.group(1) if found else ""


def facility(stations: Iterable[Station], ladder: Iterable[float] = RETRY_LADDER_S) -> Blueprint:
    """Describe everything that the four services need for these stations."""
    return sum((consumed(queue) for queue in facility_queues(stations)), ground(ladder) + event_log())


def _waiting(seconds: float) -> Arguments:
    """Hold messages for a fixed time, then hand each to the queue that its routing key names."""
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": round(seconds * 1000),
        "x-dead-letter-exchange": "",
        **_SAFE,
    }
