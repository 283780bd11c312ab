"""What `datauploader topology apply` and `check` do: make a facility's topology over plain AMQP, or look at it."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from datauploader.contracts.address import Station
from datauploader.messaging.blueprint import facility
from datauploader.messaging.rabbit.address import AmqpAddress
from datauploader.messaging.rabbit.connection import BrokerConnection
from datauploader.messaging.rabbit.declaration import establish, missing_parts
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.tuning import Tuning

T = TypeVar("T")

_PATIENCE_S = 10.0
_LONGEST_S = 120.0


def apply_topology(url: str, stations: Iterable[Station], *, tuning: Tuning | None = None) -> None:
    """Make every exchange, queue and binding that these stations need; what is there already stays as it is.

    Policies and permissions cannot be made over AMQP; they are in definitions.json.

    Raises:
        MessagingError: the broker is away, refuses, or holds something that contradicts the topology.
    """
    settings = tuning or Tuning()
    wanted = facility(stations, settings.retry_delays_s)
    _with_link(url, settings, lambda connection: establish(connection, wanted, declare=True))


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
