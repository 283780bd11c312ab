"""An AMQP channel whose steps are awaited one after the other, and what the broker's refusals mean."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel as PikaChannel
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)
from pika.spec import Basic, BasicProperties

from datauploader.errors import BrokerRefused, BrokerUnreachable, MessagingError

NOT_FOUND = 404
FORBIDDEN = 403
CONTRADICTION = 406
_NOT_ALLOWED = 530

PIKA_ERRORS = (AMQPError, AssertionError, ValueError, OSError)
"""What pika raises where it means "not now": its own, and bare ones of states that it did not expect."""

OnMessage = Callable[[Any, BasicProperties, bytes], None]
"""Called with the method (`delivery_tag`), the properties and the body."""


class ChannelRefused(BrokerRefused):
    """The broker closed a channel and said why; `code` is AMQP's reply code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def explain_connection(error: BaseException, *, user: str, place: str) -> MessagingError:
    """Say why there is no connection: BrokerRefused where waiting does not help, BrokerUnreachable otherwise."""
    error = _root(error)
    if isinstance(error, MessagingError):
        return error
    code = error.reply_code if isinstance(error, ConnectionClosedByBroker) else 0
    if code == FORBIDDEN or isinstance(error, (AuthenticationError, ProbableAuthenticationError)):
        return BrokerRefused(
            f"the broker at {place} refuses the user {user!r}: check the user and password in the broker address"
        )
    if code == _NOT_ALLOWED or isinstance(error, ProbableAccessDeniedError):
        return BrokerRefused(
            f"the broker at {place} does not let {user!r} in: the virtual host does not exist, or the user has no "
            "rights in it"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerRefused(
            f"the certificate of the broker at {place} is not trusted: {error.verify_message}; "
            "add ?cafile=… to the broker address if your facility signs its own"
        )
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return BrokerUnreachable(f"the broker at {place} cannot be reached ({reason[:300]}); trying again")


def explain_channel(error: BaseException, what: str) -> MessagingError:
    """Say why a step on a channel failed."""
    if isinstance(error, MessagingError):
        return error
    if isinstance(error, ChannelClosedByBroker):
        return ChannelRefused(error.reply_code, f"the broker refused to {what}: {error.reply_text}")
    return BrokerUnreachable(f"the connection to the broker was lost while it was to {what}")


def _root(error: BaseException) -> BaseException:
    """Dig out what happened from pika's wrappings: failed workflows of failed phases of failed attempts."""
    while True:
        attempts = getattr(error, "exceptions", None) or [getattr(error, "exception", None)]
        within = attempts[-1] or next((one for one in error.args if isinstance(one, BaseException)), None)
        if not isinstance(within, BaseException):
            return error
        error = within


class Channel:
    """One channel, from its opening to its end; only the thread that owns the connection may use it."""

    def __init__(self, connection: AsyncioConnection) -> None:
        self._loop = asyncio.get_running_loop()
        self._raw: PikaChannel | None = None
        self._connection = connection
        self._got: Callable[..., None] | None = None
        self._unsettled: dict[int, None] = {}
        """Deliveries of the consumer without a verdict, in order."""
        self._done: list[int] = []
        """Deliveries whose acknowledgement is due."""
        self.ended: asyncio.Future[BaseException] = self._loop.create_future()
        """Done with the reason when the channel, or the consumer on it, is no more."""

    @classmethod
    async def open(cls, connection: AsyncioConnection) -> "Channel":
        """Open a channel.

        Raises:
            MessagingError: the connection is lost.
        """
        channel = cls(connection)

        def begin(done: Callable[..., None]) -> None:
            channel._raw = connection.channel(on_open_callback=done)
            channel._raw.add_on_close_callback(lambda _, reason: channel._end(reason))

        await channel._step("open a channel", begin)
        return channel

    @property
    def is_open(self) -> bool:
        """Tell whether verdicts and publishes can still go this way."""
        return self._raw is not None and bool(self._raw.is_open)

    async def declare_exchange(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, passive: bool = False
    ) -> None:
        """Make a durable topic exchange, or only look whether it is there."""
        await self._step(
            f"declare the exchange {name}",
            lambda done: self.raw.exchange_declare(
                name, "topic", passive=passive, durable=True, arguments=dict(arguments or {}), callback=done
            ),
        )

    async def delete_exchange(self, name: str) -> None:
        """Remove an exchange with its bindings."""
        await self._step(f"delete the exchange {name}", lambda done: self.raw.exchange_delete(name, callback=done))

    async def declare_queue(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, passive: bool = False, **flags: bool
    ) -> int:
        """Make a queue, or only look whether it is there; return how many messages wait in it."""
        answer = await self._step(
            f"declare the queue {name}",
            lambda done: self.raw.queue_declare(
                name, passive=passive, arguments=dict(arguments or {}), callback=done, **flags
            ),
        )
        return int(answer.method.message_count)

    async def delete_queue(self, name: str) -> None:
        """Remove a queue with its bindings and what is in it."""
        await self._step(f"delete the queue {name}", lambda done: self.raw.queue_delete(name, callback=done))

    async def count(self, queue: str) -> tuple[int, int]:
        """Return how many messages wait in a queue without being delivered yet, and how many consumers it has."""
        answer = await self._step(
            f"look at the queue {queue}", lambda done: self.raw.queue_declare(queue, passive=True, callback=done)
        )
        return int(answer.method.message_count), int(answer.method.consumer_count)

    async def bind(self, queue: str, exchange: str, key: str) -> None:
        """Have an exchange give messages of this key to a queue."""
        await self._step(
            f"bind {queue} to {exchange} with {key}",
            lambda done: self.raw.queue_bind(queue, exchange, key, callback=done),
        )

    async def prefetch(self, count: int) -> None:
        """Bound how many deliveries may be without a verdict."""
        await self._step("set the prefetch", lambda done: self.raw.basic_qos(prefetch_count=count, callback=done))

    async def consume(
        self,
        queue: str,
        on_message: OnMessage,
        tag: str,
        *,
        auto_ack: bool = False,
        exclusive: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Have a queue's messages delivered."""

        def deliver(_: object, method: Any, properties: BasicProperties, body: bytes) -> None:
            if not auto_ack:
                self._unsettled[method.delivery_tag] = None
            on_message(method, properties, body)

        self.raw.add_on_cancel_callback(lambda _: self._end(BrokerUnreachable(f"the queue {queue} was deleted")))
        await self._step(
            f"consume {queue}",
            lambda done: self.raw.basic_consume(
                queue, deliver, auto_ack=auto_ack, exclusive=exclusive, consumer_tag=tag,
                arguments=dict(arguments or {}), callback=done,
            ),
        )  # fmt: skip

    async def cancel(self, tag: str) -> None:
        """Have no more messages delivered."""
        await self._step("stop consuming", lambda done: self.raw.basic_cancel(tag, callback=done))

    async def get(self, queue: str) -> "tuple[Any, BasicProperties, bytes] | None":
        """Take the first message of a queue with its method (tag, exchange, key), without a verdict yet."""

        def begin(done: Callable[..., None]) -> None:
            if self._got is None:
                self.raw.add_callback(lambda _: self._got and self._got(None), [Basic.GetEmpty], one_shot=False)
            self._got = done
            self.raw.basic_get(
                queue,
                lambda _, method, properties, body: done((method, properties, body)),
            )

        message: tuple[Any, BasicProperties, bytes] | None = await self._step(f"read {queue}", begin)
        return message

    async def confirm(self, on_confirm: Callable[[Any], None], on_return: Callable[..., None]) -> None:
        """Have the broker say what it has taken, and give back what it cannot route."""
        self.raw.add_on_return_callback(lambda _, method, properties, body: on_return(method, properties, body))
        await self._step(
            "ask for confirms",
            lambda done: self.raw.confirm_delivery(lambda frame: on_confirm(frame.method), callback=done),
        )

    def publish(self, exchange: str, key: str, body: bytes, properties: BasicProperties, *, mandatory: bool) -> None:
        """Send a message; nothing is known of it yet.

        Raises:
            MessagingError: the channel is lost.
        """
        self._now("publish", lambda: self.raw.basic_publish(exchange, key, body, properties, mandatory=mandatory))

    def ack(self, tag: int) -> None:
        """Say that a delivery is dealt with; a lost channel makes this void, and the broker delivers again."""
        self._unsettled.pop(tag, None)
        if self.is_open:
            self._now("acknowledge", lambda: self.raw.basic_ack(tag))

    def ack_soon(self, tag: int) -> None:
        """Say so with others that are dealt with in the same turn of the thread that owns the channel."""
        if not self._done:
            self._loop.call_soon(self._ack_done)
        self._done.append(tag)

    def _ack_done(self) -> None:
        """Acknowledge what is done: all that nothing unsettled came before in one, the rest one by one."""
        done, self._done = self._done, []
        for tag in done:
            self._unsettled.pop(tag, None)
        first = next(iter(self._unsettled), None)
        together = [tag for tag in done if first is None or tag < first]
        with suppress(MessagingError):  # a lost channel: the broker delivers again
            if together and self.is_open:
                last = max(together)
                self._now("acknowledge", lambda: self.raw.basic_ack(last, multiple=True))
            for tag in set(done).difference(together):
                self.ack(tag)

    def requeue(self, tag: int, *, up_to: bool = False) -> None:
        """Give a delivery back (with all before it, where said) through no fault of its own."""
        self._unsettled.pop(tag, None)
        if self.is_open:
            self._now("give back", lambda: self.raw.basic_nack(tag, multiple=up_to, requeue=True))

    async def settle(self, done: Iterable[int], *, back_up_to: int = 0) -> None:
        """Acknowledge these deliveries, and give back all others up to a tag; afterwards the channel may be closed.

        Each acknowledgement by itself is a command to the members of a quorum queue. The broker sends it 32 of them,
        and the others when it has written those; a channel that is closed before loses these others, and what was
        dealt with is delivered again. In a transaction all are one command.

        Raises:
            MessagingError: the channel is lost, and so may be what was said.
        """
        await self._step("begin a transaction", lambda answered: self.raw.tx_select(callback=answered))
        for tag in done:
            self.ack(tag)
        if back_up_to:
            self.requeue(back_up_to, up_to=True)
        await self._step("settle deliveries", lambda answered: self.raw.tx_commit(callback=answered))

    async def until_ended(self, timeout_s: float | None = None) -> None:
        """Wait for the channel's end, and raise its reason; return when it has not ended in time.

        Raises:
            MessagingError: the channel is no more.
        """
        await asyncio.wait([self.ended], timeout=timeout_s)
        if self.ended.done():
            raise explain_channel(self.ended.result(), "go on")

    def give_up(self, reason: BrokerUnreachable) -> None:
        """Close a channel that does not do its work; whoever waits for its end is told why."""
        self._end(reason)
        self.close()

    def close(self) -> None:
        """End the channel without waiting for it; the broker delivers again what had no verdict.

        Of many verdicts that were given just before it may do so as well, see `settle`; who handles a message twice
        without harm, as everybody does who writes into an inbox, need not wait for them.
        """
        if self.is_open:
            self._now("close a channel", self.raw.close)

    @property
    def raw(self) -> PikaChannel:
        """Give pika's channel."""
        assert self._raw is not None
        return self._raw

    async def _step(self, what: str, begin: Callable[[Callable[..., None]], object]) -> Any:
        """Begin something, and wait for the broker's answer to it; pika's answers have no types."""
        answered: asyncio.Future[Any] = self._loop.create_future()
        self._now(what, lambda: begin(lambda *answer: settle(answered, answer[0] if answer else None)))
        waiting: set[asyncio.Future[Any]] = {answered, self.ended}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            return answered.result()
        raise explain_channel(self.ended.result(), what)

    def _now(self, what: str, step: Callable[[], object]) -> None:
        try:
            step()
        except PIKA_ERRORS as error:
            raise explain_channel(error, what) from error

    def _end(self, reason: BaseException) -> None:
        settle(self.ended, reason)


def settle(future: "asyncio.Future[Any]", result: object) -> None:
    """Give a future its result, unless it has one."""
    if not future.done():
        future.set_result(result)
