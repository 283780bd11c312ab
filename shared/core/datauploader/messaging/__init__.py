"""How events and questions travel: one port, two engines, and the rules that both keep."""

from datauploader.messaging.dispatcher import Dispatcher, UnitOfWork
from datauploader.messaging.engine import connect
from datauploader.messaging.port import (
    Bus,
    BusHealth,
    Consumer,
    Delivery,
    Ownership,
    ParkedMessage,
    QueueState,
    Start,
)

__all__ = [
    "Bus",
    "BusHealth",
    "Consumer",
    "Delivery",
    "Dispatcher",
    "Ownership",
    "ParkedMessage",
    "QueueState",
    "Start",
    "UnitOfWork",
    "connect",
]
