"""Whether a message came the way that its body claims.

The broker compares the key that a message is published with against the rights of its sender, and nothing else: not
the body, on 3.10 not the further keys that the headers CC and BCC may add, and no key at all where it moves a message
itself. Of such a move it tells in headers that a sender cannot take off. What it passed first hand carries the key that
the sender was allowed to say and, once set, the sender's name. Everything else is compared with these here.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from datauploader.contracts.address import matches
from datauploader.contracts.envelope import Event
from datauploader.contracts.model import EventData
from datauploader.errors import Misdirected
from datauploader.messaging.rights import Speakers
from datauploader.messaging.topology import EVENTS, RESTORING, RETURNED, Queue

Check = Callable[[Event[EventData]], None]

MOVED = ("x-death", "x-first-death-", "x-last-death-", "x-opt-deaths", "x-received-from", "x-shovelled")
"""How the headers begin that RabbitMQ 3 and 4 write when they move a message by themselves: dead-lettering, federation,
shovels. A sender may write them as well, and is then taken for worse than it is."""


@dataclass(frozen=True, slots=True)
class DeliveryPath:
    """The path of a delivery: how a message came, as the broker tells it."""

    exchange: str
    key: str
    user: str = ""
    """The `user_id` that the broker has compared with the sender's; "" where the sender has set none."""
    moved: bool = False
    """The broker has moved it, and not its sender."""
    died_in: frozenset[str] = frozenset()
    """The queues that it has been dead-lettered from."""


def way(exchange: str, key: str, user: object, headers: Mapping[str, Any] | None) -> DeliveryPath:
    """Read from a message's properties how it came; whoever wrote it may have put anything into the headers."""
    found = headers or {}
    deaths = found.get("x-death")
    died = [death.get("queue") for death in deaths if isinstance(death, dict)] if isinstance(deaths, list) else []
    return DeliveryPath(
        exchange,
        key,
        user if isinstance(user, str) else "",
        moved=any(name.startswith(MOVED) for name in found),
        died_in=frozenset(str(queue) for queue in died),
    )


def unchecked(_event: Event[EventData]) -> None:
    """Believe the body: there is no sender but this process."""


def from_queue(queue: Queue, came: DeliveryPath, speakers: Speakers, retry_queues: Collection[str]) -> Check:
    """Return the check of a message that lay in a queue; `retry_queues` are the queues where retries wait."""

    def check(event: Event[EventData]) -> None:
        if came.exchange == EVENTS:
            _first_hand(event, came, speakers)
            if not any(matches(pattern, came.key) for pattern in queue.bindings):
                raise Misdirected(f"{queue.name} has not asked for {came.key[:200]!r}: a header has led it here")
            return
        if came.exchange not in RETURNED or came.key != queue.name:
            # a retry or a replay carries the name of the queue that it belongs to
            raise Misdirected(f"it came by way of {came.key[:200]!r}, which does not lead to {queue.name}")
        if not came.died_in or not came.died_in <= frozenset(retry_queues):
            raise Misdirected(f"it came to the way of retries from {_names(came) or 'nowhere'}: it is no retry of ours")

    return check


def from_log(came: DeliveryPath, speakers: Speakers) -> Check:
    """Return the check of an entry of the event log."""

    def check(event: Event[EventData]) -> None:
        if came.exchange == RESTORING and not came.moved:  # nobody but an administrator can make that exchange
            _same_topic(event, came.key)
        elif came.exchange == EVENTS:
            _first_hand(event, came, speakers)
        else:
            raise Misdirected(f"it came by way of {came.exchange[:200]!r}, which no event takes")

    return check


def _first_hand(event: Event[EventData], came: DeliveryPath, speakers: Speakers) -> None:
    if came.moved:
        raise Misdirected(
            f"the broker itself has moved it here from {_names(came) or 'elsewhere'}: its sender had no right to say "
            f"{came.key[:200]!r}"
        )
    _same_topic(event, came.key)
    if not speakers.may_say(came.user, came.key):
        raise Misdirected(
            f"{came.user or 'somebody who gives no name'} says {came.key[:200]!r}, which is not theirs to say; a "
            "service of yours under another name belongs into broker_users of the settings"
        )


def _same_topic(event: Event[EventData], key: str) -> None:
    if event.routing_key != key:
        raise Misdirected(f"it says {event.routing_key!r}, but its sender was only allowed to say {key[:200]!r}")


def _names(came: DeliveryPath) -> str:
    return ", ".join(sorted(came.died_in))[:200]
