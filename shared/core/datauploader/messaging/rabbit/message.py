"""Messages on their way out, and what their properties say."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pika import DeliveryMode
from pika.spec import BasicProperties

from datauploader.contracts.address import Station
from datauploader.contracts.envelope import CONTENT_TYPE, EncodedEvent
from datauploader.contracts.model import EventData
from datauploader.contracts.registry import type_name
from datauploader.errors import MessagingError
from datauploader.messaging.port import Delivery
from datauploader.messaging.provenance import DeliveryPath, way
from datauploader.messaging.topology import EVENTS, Queue, facility_queues, retry_name

ATTEMPT, FAILURES, FORGED, SAID_BY = "x-attempt", "x-failures", "x-forged", "x-said-by"
_LARGEST_COUNT = 1_000_000
_TRAVELS = ("traceparent",)
"""Headers of a message that go on with it; the broker's own, and CC and BCC, must not."""


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message and the future that says what became of it."""

    exchange: str
    key: str
    body: bytes
    properties: BasicProperties
    required: tuple[str, ...] = ()
    """Queues that must be there."""
    lossy: bool = False
    future: "Future[None]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    """When it was handed over; `sent` is when it last went to the broker, both by the monotonic clock."""
    sent: float = 0.0
    returned: str = ""

    def done(self) -> None:
        """Say that the broker has it."""
        if not self.future.done():
            self.future.set_result(None)

    def failed(self, error: MessagingError) -> None:
        """Say that it is not known to be published."""
        if not self.future.done():
            self.future.set_exception(error)


@lru_cache(maxsize=4096)
def required_queues(kind: type[EventData], station: Station) -> tuple[str, ...]:
    """Name the queues that must hear an event of this kind from this station."""
    return tuple(queue.name for queue in facility_queues([station]) if queue.must_hear(kind, station))


def outgoing(event: EncodedEvent, user: str) -> Outgoing:
    """Write an event as a message; the broker refuses it where somebody else than the user sends it."""
    kind = event.kind
    properties = BasicProperties(
        content_type=CONTENT_TYPE,
        message_id=event.id,
        type=type_name(kind),
        timestamp=int(event.time.timestamp()),
        correlation_id=event.correlation_id,
        app_id=event.service,
        user_id=user,
        delivery_mode=DeliveryMode.Transient if kind.lossy else DeliveryMode.Persistent,
        headers={"traceparent": event.traceparent},
    )
    required = () if kind.lossy else required_queues(kind, event.station)
    return Outgoing(EVENTS, event.routing_key, event.body, properties, required, lossy=kind.lossy)


def redelivered(queue: Queue, logged: Delivery, delay_s: float) -> Outgoing:
    """Write an entry of the log as a message that comes to this queue alone, after the shortest delay of retries."""
    encoded = EncodedEvent.of(logged.event)
    properties = forwarded(outgoing(encoded, "").properties, {SAID_BY: logged.sender})
    return Outgoing(retry_name(delay_s), queue.name, encoded.body, properties)


def came(method: Any, properties: BasicProperties) -> DeliveryPath:
    """Say how a delivery came."""
    return way(method.exchange, method.routing_key, properties.user_id, properties.headers)


def sender(properties: BasicProperties, *, first_hand: bool) -> str:
    """Name the user who said a message, "" where nobody vouches for it.

    Args:
        properties: the message's own.
        first_hand: its sender published it just so, and the broker has compared the name. Else one of ours has moved
            it, to where nobody else may write, and has written the name down.
    """
    name = properties.user_id if first_hand else (properties.headers or {}).get(SAID_BY)
    return name if isinstance(name, str) else ""


def forwarded(properties: BasicProperties, headers: Mapping[str, Any]) -> BasicProperties:
    """Copy the properties that may go on with a message, and add these headers."""
    kept = {name: value for name, value in (properties.headers or {}).items() if name in _TRAVELS}
    return BasicProperties(
        content_type=properties.content_type,
        message_id=properties.message_id,
        type=properties.type,
        timestamp=properties.timestamp,
        correlation_id=properties.correlation_id,
        app_id=properties.app_id,
        delivery_mode=DeliveryMode.Persistent,
        headers=kept | dict(headers),
    )


def count(properties: BasicProperties, header: str, default: int = 0) -> int:
    """Read a number from a header; whoever wrote the message may have put anything there."""
    value = (properties.headers or {}).get(header, default)
    return value if isinstance(value, int) and 0 <= value <= _LARGEST_COUNT else default
