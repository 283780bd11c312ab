"""A trial of a consumer: hands it one event without a broker, and tells how that ended and what it logged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import structlog
from structlog.typing import EventDict

from datauploader.contracts import Event, EventData, encode
from datauploader.contracts.registry import topic
from datauploader.errors import ConfigurationError
from datauploader.messaging.settlement import handle
from datauploader.plugins.consumer.plug_in import ConsumerPlugIn, HandlerContext

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Trial:
    """How one event was handled."""

    verdict: Literal["done", "again", "park"]
    """As the broker would be told: handled; again after a delay; set aside for a person."""
    reason: str
    delay_s: float
    log: tuple[Mapping[str, Any], ...]
    """What the function logged: its words under `event`, its level under `level`."""


def try_event(
    plug_in: ConsumerPlugIn[S], event: Event[EventData], settings: S | None = None, *, attempt: int = 1
) -> Trial:
    """Hand an event to its function, as the service does, but with no state: the same event is handled each time.

    Args:
        plug_in: the consumer.
        event: of a kind that it wants.
        settings: its settings; None: those of the configuration.
        attempt: which attempt the function is told that this is.

    Raises:
        ConfigurationError: it has no function for such an event, or its settings are wrong.
    """
    handler = plug_in.handlers.get(type(event.data))
    if handler is None:
        wants = ", ".join(plug_in.topics) or "nothing"
        raise ConfigurationError(f"{plug_in.name} does nothing with {topic(type(event.data))}; it wants {wants}")
    logged: list[Mapping[str, Any]] = []

    def keep(_logger: Any, level: str, entry: EventDict) -> EventDict:
        logged.append({**entry, "level": level})
        raise structlog.DropEvent

    found = plug_in.load_settings() if settings is None else settings
    everything = structlog.make_filtering_bound_logger(0)  # whatever level this process writes
    log = structlog.wrap_logger(None, processors=[keep], wrapper_class=everything)
    context = HandlerContext(found, event.id, attempt, log)
    body = encode(event)
    ended = handle(body, lambda delivery: handler(delivery.event, context), attempt=attempt, failures=0)
    return Trial(ended.what, ended.reason, ended.delay_s, tuple(logged))
