"""Putting saved events back into the event log, and into nothing else: no service hears them a second time."""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future

from pika import DeliveryMode
from pika.spec import BasicProperties

from datauploader.contracts.envelope import CONTENT_TYPE, Event, encode
from datauploader.contracts.model import EventData
from datauploader.messaging.blueprint import Binding, Blueprint, event_log
from datauploader.messaging.rabbit.address import AmqpAddress
from datauploader.messaging.rabbit.connection import BrokerConnection
from datauploader.messaging.rabbit.declaration import establish
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.message import Outgoing
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.tuning import Tuning
from datauploader.messaging.topology import LOG, RESTORING

_WINDOW = 1000
_PATIENCE_S = 10.0
_STEP_S = 60.0


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
            waiting.append(publisher.send(_message(event)).future)
            if len(waiting) >= _WINDOW:
                waiting.popleft().result(_STEP_S)
        for future in waiting:
            future.result(_STEP_S)
        owner.wait(clean(), _STEP_S)
    finally:
        owner.wait(connection.close(), _STEP_S)
        owner.end()
    return number


def _message(event: Event[EventData]) -> Outgoing:
    properties = BasicProperties(
        content_type=CONTENT_TYPE, message_id=event.id, app_id=event.service, delivery_mode=DeliveryMode.Persistent
    )
    return Outgoing(RESTORING, event.routing_key, encode(event), properties)
