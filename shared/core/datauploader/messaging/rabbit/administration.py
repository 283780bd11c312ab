"""What the command line does to a broker: make a facility's topology or look at it, and restore a saved log."""

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from pika import DeliveryMode
from pika.spec import BasicProperties

from datauploader.contracts.address import Station
from datauploader.contracts.envelope import CONTENT_TYPE, Event, encode
from datauploader.contracts.model import EventData
from datauploader.messaging.blueprint import Binding, Blueprint, event_log, facility
from datauploader.messaging.rabbit.connection import AmqpAddress, BrokerConnection
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.message import Outgoing
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.topology import establish, missing_parts
from datauploader.messaging.topology import LOG, RESTORING

T = TypeVar("T")

_PATIENCE_S = 10.0
_LONGEST_S = 120.0
_STEP_S = 60.0
_WINDOW = 1000
"""Events of a log that may be unconfirmed at once while it is restored."""


def apply_topology(url: str, stations: Iterable[Station], *, tuning: Tuning | None = None) -> None:
    """Make every exchange, queue and binding that these stations need; what is there already stays as it is.

    Only queues of questions, answers and claims that a former release has made, on one node each, are made anew.
    Policies and permissions cannot be made over AMQP; they are in definitions.json.

    Raises:
        MessagingError: the broker is away, refuses, or holds something that contradicts the topology.
    """
    settings = tuning or Tuning()
    wanted = facility(stations, settings.retry_delays_s)
    _with_link(url, settings, lambda connection: establish(connection, wanted, declare=True, renew=True))


def check_topology(url: str, stations: Iterable[Station], *, tuning: Tuning | None = None) -> list[str]:
    """Look for every exchange and queue that these stations need; return a sentence for each that is missing.

    Raises:
        MessagingError: the broker is away or refuses.
    """
    settings = tuning or Tuning()
    wanted = facility(stations, settings.retry_delays_s)
    return _with_link(url, settings, lambda connection: missing_parts(connection, wanted))


def server_version(url: str, *, tuning: Tuning | None = None) -> str:
    """Return the release of the broker, as it says itself; "" where it does not.

    Raises:
        MessagingError: the broker is away or refuses.
    """

    async def said(connection: BrokerConnection) -> str:
        return connection.server_version

    return _with_link(url, tuning or Tuning(), said)


def _with_link(url: str, tuning: Tuning, step: Callable[[BrokerConnection], Coroutine[Any, Any, T]]) -> T:
    address = AmqpAddress(url, "topology")
    owner = EventLoopThread("topology")
    connection = BrokerConnection(address, "administration", owner, tuning)

    async def work() -> T:
        try:
            await connection.reach(_PATIENCE_S)
            return await step(connection)
        finally:
            await connection.close()

    try:
        return owner.wait(work(), _LONGEST_S)
    finally:
        owner.end()


def restore_log(url: str, events: Iterable[Event[EventData]]) -> int:
    """Publish events into the log, in their order, each under its own key; return how many.

    Raises:
        MessagingError: the broker is away, refuses, or did not confirm.
    """
    tuning, owner, number = Tuning(), EventLoopThread("restore"), 0
    connection = BrokerConnection(AmqpAddress(url, "restore"), "publisher", owner, tuning)
    way = Blueprint(exchanges=(RESTORING,), bindings=(Binding(RESTORING, LOG, "#"),))

    async def prepare() -> None:
        await connection.reach(_PATIENCE_S)
        await establish(connection, event_log() + way, declare=True)

    async def clean() -> None:
        channel = await connection.channel()
        await channel.delete_exchange(RESTORING)
        channel.close()

    try:
        owner.wait(prepare(), _STEP_S)
        publisher = Publisher(connection, owner, tuning, declare=True)
        owner.call(publisher.begin)
        waiting: deque[Future[None]] = deque()
        for event in events:
            number += 1
            properties = BasicProperties(
                content_type=CONTENT_TYPE,
                message_id=event.id,
                app_id=event.service,
                delivery_mode=DeliveryMode.Persistent,
            )
            message = Outgoing(RESTORING, event.routing_key, encode(event), properties)
            waiting.append(publisher.send(message).future)
            if len(waiting) >= _WINDOW:
                waiting.popleft().result(_STEP_S)
        for future in waiting:
            future.result(_STEP_S)
        owner.wait(clean(), _STEP_S)
    finally:
        owner.wait(connection.close(), _STEP_S)
        owner.end()
    return number
