"""Sign-ins at the broker, those that it refuses included, as its plugin `rabbitmq_event_exchange` tells of them."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from pika.spec import BasicProperties

from datauploader.errors import BrokerRefused, MessagingError
from datauploader.messaging.port import SignIn
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.connection import AmqpAddress, BrokerConnection
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.subscription import Received, Settle, Subscription
from datauploader.messaging.topology import BROKER_EVENTS, LET_IN, REFUSED, SIGN_INS

PLUGIN = "rabbitmq_event_exchange"
LONGEST = 100
"""Characters that are kept of what somebody has written who may be anybody."""
_PREFETCH = 200
_LEAVING_S = 2.0
_REACHED_S, _HEARD_S, _TRIES = 10.0, 0.5, 6
"""So long the doctor waits for the broker, and to hear of its own sign-in, and so often it tries."""
_DEFAULT = Tuning()


class SignInListener:
    """Hears of sign-ins; it remains silent while the broker has no queue of them, or no plugin that fills it."""

    def __init__(self, url: str, handler: Callable[[SignIn], None], *, name: str, tuning: Tuning = _DEFAULT) -> None:
        """Begin to connect; the handler is called in a thread, for one sign-in after the other, and must not fail.

        Raises:
            ConfigurationError: the address cannot be read.
        """
        address = AmqpAddress(url, name)
        self._event_loop = EventLoopThread(name)
        self._connection = BrokerConnection(address, "sign-ins", self._event_loop, tuning)
        self._subscription = Subscription(
            _SignInSource(handler), self._connection, self._event_loop, tuning, tag=name, workers=1
        )

    @property
    def problem(self) -> MessagingError | None:
        """Why nothing is heard now; BrokerRefused where waiting does not help."""
        return self._connection.problem or self._subscription.problem

    def stop(self, deadline_s: float = 10.0) -> None:
        """Disconnect."""
        self._subscription.stop(deadline_s)
        with suppress(MessagingError):
            self._event_loop.wait(self._connection.close(), _LEAVING_S)
        self._event_loop.end()


def check_sign_ins(url: str, *, tuning: Tuning = _DEFAULT) -> str:
    """Sign in, and see whether the broker tells of it; return what stands in the way, "" for nothing.

    Raises:
        ConfigurationError: the address cannot be read.
    """
    user, heard = AmqpAddress(url, "doctor").user, threading.Event()

    def note(sign_in: SignIn) -> None:
        if sign_in.user == user and not sign_in.refused:
            heard.set()

    first = SignInListener(url, note, name="doctor", tuning=tuning)
    try:
        until = time.monotonic() + _REACHED_S
        while (problem := first.problem) is not None:
            if isinstance(problem, BrokerRefused) or time.monotonic() > until:
                return str(problem)
            time.sleep(0.05)
        for _ in range(_TRIES):  # a gateway that listens takes its share of them
            _sign_in(url, tuning)
            if heard.wait(_HEARD_S):
                return ""
    finally:
        first.stop(_LEAVING_S)
    return f"the broker tells nobody who signs in: enable its plugin {PLUGIN}"


def _sign_in(url: str, tuning: Tuning) -> None:
    event_loop = EventLoopThread("doctor")
    connection = BrokerConnection(AmqpAddress(url, "doctor"), "doctor", event_loop, tuning)
    with suppress(MessagingError):
        event_loop.wait(connection.reach(_REACHED_S), _REACHED_S)
        event_loop.wait(connection.close(), _LEAVING_S)
    event_loop.end()


class _SignInSource:
    """The queue as a source of sign-ins."""

    most = _PREFETCH

    def __init__(self, handler: Callable[[SignIn], None]) -> None:
        self._handler = handler

    async def attach(
        self, channel: Channel, on_message: Callable[[Any, BasicProperties, bytes], None], tag: str
    ) -> None:
        """Begin to take them."""
        await channel.prefetch(_PREFETCH)
        await channel.consume(SIGN_INS, on_message, tag)

    async def heal(self) -> None:
        """Nothing of it belongs to its reader."""

    def work(self, received: Sequence[Received], stopping: threading.Event) -> list[Settle]:  # noqa: ARG002 - it is short
        """Hand each to the handler."""
        for one in received:
            if one.came.exchange == BROKER_EVENTS and one.came.key in (REFUSED, LET_IN):
                self._handler(_read(one.came.key, one.properties.headers or {}))
        return [_acknowledging(one) for one in received]


def _acknowledging(received: Received) -> Settle:
    return lambda: received.channel.ack(received.tag)


def _read(key: str, headers: dict[str, Any]) -> SignIn:
    # `127.0.0.1:42090 -> 127.0.0.1:5672`; the address alone stands in another header as a term of Erlang's
    whence = _text(headers.get("connection_name")).partition(" -> ")[0].rpartition(":")[0]
    return SignIn(_text(headers.get("name")), refused=key == REFUSED, host=whence.strip("[]"))


def _text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST])
