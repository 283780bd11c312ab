"""A queue of ours at a broker of another system, such as a user office: what is published there, heard in order."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from pika.spec import BasicProperties

from datauploader.errors import BrokerRefused, MessagingError
from datauploader.messaging.blueprint import NEVER_DROPPED
from datauploader.messaging.rabbit.channel import NOT_FOUND, Channel, ChannelRefused
from datauploader.messaging.rabbit.connection import AmqpAddress, BrokerConnection
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.subscription import Received, Settle, Subscription

log = structlog.get_logger()

_LEAVING_S = 2.0
_PAUSE_S = 1.0
"""Before a message is tried again that could not be handled, such as on a full disk."""
_MILLISECONDS_FROM, _MILLISECONDS_TO = 100_000_000_000, 100_000_000_000_000
"""AMQP counts a message's time in seconds, Node programs often write milliseconds: what is greater can only be those.
What is greater still is no time."""
_DEFAULT = Tuning()


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """A message of another system's, as the broker delivered it; nothing of it was checked."""

    type: str
    """AMQP's property `type`, "" where there is none."""
    body: bytes
    sent_ms: int
    """When it was published by its sender's clock, milliseconds since 1970; 0 where it does not say."""
    redelivered: bool
    """It may have been delivered before, and messages that came after it may have been heard since."""
    exchange: str
    """By which exchange it came; "" where somebody has put it into the queue."""


@dataclass(frozen=True, slots=True)
class ForeignBinding:
    """A queue of ours, and the exchange of another system's that fills it."""

    queue: str
    exchange: str
    quorum: bool = True

    @property
    def arguments(self) -> dict[str, Any]:
        """How the queue is declared: one consumer at a time has it, so that the order holds."""
        kind = {"x-queue-type": "quorum", "x-delivery-limit": NEVER_DROPPED} if self.quorum else {}
        return {"x-single-active-consumer": True, **kind}


class ForeignQueue:
    """Hears a queue of ours that is bound to an exchange of another system's, message after message."""

    def __init__(
        self,
        url: str,
        binding: ForeignBinding,
        handler: Callable[[ForeignMessage], None],
        *,
        name: str,
        on_new: Callable[[], None],
        tuning: Tuning = _DEFAULT,
    ) -> None:
        """Begin to connect, with pauses that grow while it does not work.

        Args:
            url: the broker's address, with its own account and virtual host.
            binding: the queue, which is made where it is missing, and what it is bound to.
            handler: called with one message at a time, in a thread. The message is acknowledged when it returns, and
                tried again when it raises: what cannot be read it must deal with.
            name: of the connection.
            on_new: called when the queue was not there, so that what was published meanwhile is lost.
            tuning: for tests.

        Raises:
            ConfigurationError: the address cannot be read.
        """
        address = AmqpAddress(url, name)
        self._event_loop = EventLoopThread(name)
        self._connection = BrokerConnection(address, "consumer", self._event_loop, tuning)
        self._source = _ForeignSource(binding, handler, on_new, self._connection)
        self._subscription = Subscription(self._source, self._connection, self._event_loop, tuning, tag=name, workers=1)

    @property
    def problem(self) -> str:
        """Why nothing is heard now, "" while all is well."""
        return str(self._connection.problem or self._subscription.problem or self._source.stumbling or "")

    def stop(self, deadline_s: float = 10.0) -> None:
        """Let the running handler finish, and disconnect."""
        self._subscription.stop(deadline_s)
        _leave(self._event_loop, self._connection)


def check_foreign_exchange(url: str, exchange: str, *, patience_s: float = 10.0) -> str:
    """Look whether an exchange of another system's can be reached; return what stands in the way, "" for nothing.

    Raises:
        ConfigurationError: the address cannot be read.
    """
    address = AmqpAddress(url, "doctor")
    event_loop = EventLoopThread("doctor")
    connection = BrokerConnection(address, "doctor", event_loop, _DEFAULT)

    async def look() -> None:
        await connection.reach(patience_s)
        channel = await connection.channel()
        await channel.declare_exchange(exchange, passive=True)

    try:
        event_loop.wait(look(), 2 * patience_s)
    except ChannelRefused as refusal:
        return _explain(refusal, exchange)
    except MessagingError as error:
        return str(error)
    else:
        return ""
    finally:
        _leave(event_loop, connection)


class _ForeignSource:
    """The queue as a source of deliveries."""

    most = 1

    def __init__(
        self,
        binding: ForeignBinding,
        handler: Callable[[ForeignMessage], None],
        on_new: Callable[[], None],
        connection: BrokerConnection,
    ) -> None:
        self._binding, self._handler, self._on_new, self._connection = binding, handler, on_new, connection
        self._missed = False
        self.stumbling = ""
        """Why the message at the head of the queue cannot be handled now."""

    async def attach(
        self, channel: Channel, on_message: Callable[[Any, BasicProperties, bytes], None], tag: str
    ) -> None:
        """Make the queue and its binding, and begin to consume."""
        self._missed = self._missed or await self._is_missing()
        await self.heal()
        if self._missed:
            await asyncio.to_thread(self._on_new)
            self._missed = False
        await channel.prefetch(1)
        await channel.consume(self._binding.queue, on_message, tag)

    async def heal(self) -> None:
        """Declare the queue and its binding again."""
        wanted, channel = self._binding, await self._connection.channel()
        try:
            await channel.declare_queue(wanted.queue, wanted.arguments, durable=True)
            await channel.bind(wanted.queue, wanted.exchange, "")
        except ChannelRefused as refusal:
            raise BrokerRefused(_explain(refusal, wanted.exchange)) from refusal
        finally:
            channel.close()

    def work(self, received: Sequence[Received], stopping: threading.Event) -> list[Settle]:
        """Handle a message as often as that fails; only what was handled is acknowledged."""
        return [self._handle(one, stopping) for one in received]

    def _handle(self, received: Received, stopping: threading.Event) -> Settle:
        message = _read(received)
        while not stopping.is_set() and received.channel.is_open:
            try:
                self._handler(message)
            except Exception as error:  # the boundary of one message, which stays at the head of the queue
                log.exception("foreign_message_failed", queue=self._binding.queue)
                self.stumbling = (
                    f"a message of the queue {self._binding.queue} cannot be noted ({type(error).__name__}: "
                    f"{str(error)[:300]}); it is tried again"
                )
                stopping.wait(_PAUSE_S)
            else:
                self.stumbling = ""
                return lambda: received.channel.ack(received.tag)
        return lambda: None

    async def _is_missing(self) -> bool:
        channel = await self._connection.channel()
        try:
            await channel.declare_queue(self._binding.queue, passive=True)
        except ChannelRefused as refusal:
            if refusal.code != NOT_FOUND:
                raise
            return True
        finally:
            channel.close()
        return False


def _read(received: Received) -> ForeignMessage:
    properties = received.properties
    sent = int(properties.timestamp or 0)
    in_ms = sent * 1000 if sent < _MILLISECONDS_FROM else sent
    return ForeignMessage(
        type=properties.type if isinstance(properties.type, str) else "",
        body=received.body,
        sent_ms=in_ms if in_ms < _MILLISECONDS_TO else 0,
        redelivered=received.redelivered,
        exchange=received.came.exchange,
    )


def _explain(refusal: ChannelRefused, exchange: str) -> str:
    return (
        f"{refusal}; the account needs the rights to configure, write and read its own queue and to read the exchange "
        f"{exchange}, which the other system makes"
    )


def _leave(event_loop: EventLoopThread, connection: BrokerConnection) -> None:
    with suppress(MessagingError):
        event_loop.wait(connection.close(), _LEAVING_S)
    event_loop.end()
