"""How events and questions travel: one port, two engines, and the rules that both keep."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from datauploader.errors import ConfigurationError
from datauploader.messaging.dispatcher import Dispatcher, UnitOfWork
from datauploader.messaging.memory.bus import MemoryBroker
from datauploader.messaging.port import (
    Bus,
    BusHealth,
    Consumer,
    Delivery,
    Ownership,
    ParkedMessage,
    QueueState,
    SignIn,
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
    "SignIn",
    "Start",
    "UnitOfWork",
    "connect",
]


def connect(url: str, *, name: str, declare: bool = True, users: Mapping[str, str] | None = None) -> Bus:
    """Open a bus for one service.

    Args:
        url: `memory://`, `amqp://user:password@host/vhost` or `amqps://…`.
        name: what the broker's management page shows, such as `watcher elettra/xrd1/ws01`.
        declare: make missing exchanges and queues; False only checks that they are there.
        users: the broker's users whose names do not say which service they are, with their roles.

    Raises:
        ConfigurationError: the scheme is none of the three, or a role cannot be read.
    """
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryBroker.shared(url).bus(name)
    if scheme in ("amqp", "amqps"):
        from datauploader.messaging.rabbit import RabbitBus  # noqa: PLC0415 - memory:// runs without pika

        return RabbitBus(url, name=name, declare=declare, users=users)
    raise ConfigurationError(f"the broker address must begin with amqp://, amqps:// or memory://, not {scheme!r}")
