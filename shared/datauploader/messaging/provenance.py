"""Whether a message came the way that its body claims.

The broker compares the key that a message is published with against the rights of its sender, and nothing else: not
the body, and on 3.10 not the further keys that the headers CC and BCC may add. It passes the first key on. So that
one is what a sender was allowed to say, and everything else is compared with it here.
"""

from collections.abc import Callable

from datauploader.contracts.address import matches
from datauploader.contracts.envelope import Event
from datauploader.contracts.model import EventData
from datauploader.errors import Misdirected
from datauploader.messaging.topology import EVENTS, Queue

Check = Callable[[Event[EventData]], None]


def unchecked(_event: Event[EventData]) -> None:
    """Believe the body: there is no sender but this process."""


def from_queue(queue: Queue, exchange: str, key: str) -> Check:
    """Return the check of a message that lay in a queue."""

    def check(event: Event[EventData]) -> None:
        if exchange != EVENTS:
            if key != queue.name:  # a retry or a replay carries the name of the queue that it belongs to
                raise Misdirected(f"it came by way of {key[:200]!r}, which does not lead to {queue.name}")
            return
        _same_topic(event, key)
        if not any(matches(pattern, key) for pattern in queue.bindings):
            raise Misdirected(f"{queue.name} has not asked for {key[:200]!r}: a header has led it here")

    return check


def from_log(key: str) -> Check:
    """Return the check of an entry of the event log."""
    return lambda event: _same_topic(event, key)


def _same_topic(event: Event[EventData], key: str) -> None:
    if event.routing_key != key:
        raise Misdirected(f"it says {event.routing_key!r}, but its sender was only allowed to say {key[:200]!r}")
