"""The choice of engine: `memory://` for one process, `amqp://` or `amqps://` for a facility."""

from urllib.parse import urlsplit

from datauploader.errors import ConfigurationError
from datauploader.messaging.memory import MemoryBroker
from datauploader.messaging.ports import Bus


def connect(url: str, *, name: str, declare: bool = True) -> Bus:
    """Open a bus for one service.

    Args:
        url: `memory://`, `amqp://user:password@host/vhost` or `amqps://…`.
        name: what the broker's management page shows, such as `watcher elettra/xrd1/ws01`.
        declare: make missing exchanges and queues; False only checks that they are there.

    Raises:
        ConfigurationError: the scheme is none of the three.
    """
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryBroker.shared(url).bus(name)
    if scheme in ("amqp", "amqps"):
        from datauploader.messaging.rabbit import RabbitBus  # noqa: PLC0415 - memory:// runs without pika

        return RabbitBus(url, name=name, declare=declare)
    raise ConfigurationError(f"the broker address must begin with amqp://, amqps:// or memory://, not {scheme!r}")
