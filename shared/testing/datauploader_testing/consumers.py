"""The test kit of a consumer: hand it an event, and see what it logged and whether it is done, again or parked."""

from typing import TypeVar

from datauploader.contracts import Event, EventData
from datauploader.plugins.consumer import ConsumerPlugIn, Trial, try_event
from datauploader_testing import builders

S = TypeVar("S")


def hand(
    plug_in: ConsumerPlugIn[S], said: EventData | Event[EventData], settings: S | None = None, *, attempt: int = 1
) -> Trial:
    """Hand an event to a consumer, or data that are put into an envelope first; nothing is sent.

    `settings` are those of the configuration unless they are given.
    """
    event = said if isinstance(said, Event) else builders.event(said)
    return try_event(plug_in, event, settings, attempt=attempt)
