"""A connection to the broker that comes back by itself: where it leads, and what keeps it alive."""

import asyncio
import itertools
import os
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pika
import structlog
from pika.adapters.asyncio_connection import AsyncioConnection

from datauploader.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, MessagingError
from datauploader.messaging.nodes import urls_of_nodes
from datauploader.messaging.rabbit.channel import PIKA_ERRORS, Channel, explain_connection, settle
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.options import Tuning
from datauploader.reliability.backoff import Backoff

log = structlog.get_logger()

HEARTBEAT_S = 30
CONNECT_S = 5
"""Seconds that the network may take for each address of the broker's host."""
HANDSHAKE_S = 10
"""Seconds until a connection that is not open yet counts as failed."""
JITTER = 0.5
_LOOK_S = 0.02
_MOST_HELD = 256 * 1024
"""Bytes that are kept to be sent in one call."""
_GOODBYE_S = 0.4
"""Seconds for each of the two ways of leaving: with the broker's help, and without."""


class AmqpAddress:
    """An AMQP address, a broker's URL, read once; it never shows its password.

    It may name several nodes of one broker, with commas between: `amqps://user:password@a:5671,b:5671/vhost`. Each
    attempt to connect takes the next one, in an order of this process' own, so that not all services are at one node.
    """

    def __init__(self, url: str, name: str) -> None:
        """Read the URL; pika's query parameters (`heartbeat=…`) and `cafile=…` are understood.

        Raises:
            ConfigurationError: the URL cannot be read; the message does not repeat it, it holds a password.
        """
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self._cafile = query.pop("cafile", None)  # pika does not know it
        self._own_heartbeat = "heartbeat" in query
        parts = parts._replace(query=urlencode(query)) if self._cafile else parts
        self.name = name
        urls = urls_of_nodes(urlunsplit(parts))
        nodes = [self._read(one) for one in urls]
        self.user: str = nodes[0].credentials.username
        self.place = f"{', '.join(map(_node, nodes))}, virtual host {nodes[0].virtual_host!r}"
        random.shuffle(urls)
        self._turns = itertools.cycle(urls)

    def parameters(self, purpose: str) -> tuple[pika.URLParameters, str]:
        """Return pika's parameters for one connection to the next node, named for a reader of the management page.

        Beside them, where that node is.
        """
        node = self._read(next(self._turns))
        node.client_properties = {
            "connection_name": f"{self.name} ({socket.gethostname()}, {os.getpid()}) {purpose}",
            "product": "DataUploader",
        }
        return node, f"{_node(node)}, virtual host {node.virtual_host!r}"

    def _read(self, url: str) -> pika.URLParameters:
        try:
            parameters = pika.URLParameters(url)
            if (given := parameters.ssl_options) is not None:  # pika alone would not say which name to expect
                context = ssl.create_default_context(cafile=self._cafile) if self._cafile else given.context
                parameters.ssl_options = pika.SSLOptions(context, given.server_hostname or parameters.host)
        except (ValueError, TypeError, OSError) as error:
            raise ConfigurationError(
                f"the broker address cannot be read ({type(error).__name__}); write amqps://user:password@host/vhost, "
                "with every / : @ ? # % of user, password and vhost percent-encoded, a comma between several hosts; "
                "a cafile must exist"
            ) from None
        if not self._own_heartbeat:
            parameters.heartbeat = HEARTBEAT_S
        parameters.socket_timeout, parameters.stack_timeout = CONNECT_S, HANDSHAKE_S
        parameters.connection_attempts = 1
        return parameters


def _node(parameters: pika.URLParameters) -> str:
    return f"{parameters.host}:{parameters.port}"


async def keep(attempt: Callable[[], Awaitable[None]], note: Callable[[MessagingError], None], tuning: Tuning) -> None:
    """Repeat an attempt for ever, with exponential back-off that is short again after an attempt that has lasted.

    Each attempt lasts until it fails, and says so with a MessagingError.
    """
    away = Backoff(tuning.backoff_first_s, tuning.backoff_most_s, jitter=JITTER)
    refused = Backoff(tuning.backoff_first_s, tuning.refused_s, jitter=JITTER)
    failures = 0
    while True:
        begun = time.monotonic()
        try:
            await attempt()
        except MessagingError as error:
            note(error)
            failures = 1 if time.monotonic() - begun > tuning.stable_s else failures + 1
            backoff = refused if isinstance(error, BrokerRefused) else away
            await asyncio.sleep(backoff.wait_s(failures, chance=random.random()))  # noqa: S311 - hides nothing


class _Connection(AsyncioConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection, but that the three frames of a message leave in one system call, and many small messages too.

    Such a call takes a fifth of the time of a message.
    """

    _held: list[bytes] | None = None
    _held_bytes = 0

    def hold(self) -> None:
        """Keep what is to be sent, up to a bound, until `release`; other frames wait in their turn behind it."""
        self._held = []

    def release(self) -> None:
        """Send what was kept, unless the connection is lost."""
        frames, self._held, self._held_bytes = self._held, None, 0
        if frames and not self.is_closed:
            super()._output_marshaled_frames([b"".join(frames)])

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        if self._held is None:
            super()._output_marshaled_frames([b"".join(marshaled_frames)])
            return
        self._held += marshaled_frames
        self._held_bytes += sum(map(len, marshaled_frames))
        if self._held_bytes > _MOST_HELD:
            self.release()
            self.hold()


class BrokerConnection:
    """Keeps one connection open, from the first use on; all methods but the properties belong to the owner's thread."""

    def __init__(self, address: AmqpAddress, purpose: str, owner: EventLoopThread, tuning: Tuning) -> None:
        self._address, self._purpose, self._event_loop, self._tuning = address, purpose, owner, tuning
        self._connection: _Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._open = asyncio.Event()
        self._confused: asyncio.Future[BaseException] | None = None
        self._listeners: list[Callable[[], None]] = []
        self.problem: MessagingError | None = BrokerUnreachable(f"not connected yet to the broker at {address.place}")
        """Why there is no connection; None while there is one."""
        self.blocked = ""
        """The broker's reason for asking publishers to wait; "" while it does not."""
        self.certificate_until: datetime | None = None
        """When the certificate ends that the broker has shown last."""
        owner.on_unexpected(self._drop)

    @property
    def used(self) -> bool:
        """Tell whether anyone has asked for this connection yet."""
        return self._task is not None

    @property
    def server_version(self) -> str:
        """The release of the broker that this is connected to, "" where it does not say one."""
        said = self._connection.server_properties if self._connection is not None else None
        return str((said or {}).get("version", ""))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the connection comes, goes, is blocked or unblocked."""
        self._listeners.append(listener)

    async def channel(self) -> Channel:
        """Open a channel as soon as there is a connection.

        Raises:
            MessagingError: the connection was lost meanwhile.
        """
        self._begin()
        while self._connection is None:
            await self._open.wait()
        return await Channel.open(self._connection)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Let what is sent within leave together.

        Raises:
            MessagingError: the connection was lost meanwhile.
        """
        if (connection := self._connection) is None:
            yield
            return
        connection.hold()
        try:
            yield
        finally:
            try:
                connection.release()
            except PIKA_ERRORS as error:
                raise explain_connection(error, user=self._address.user, place=self._address.place) from error

    async def reach(self, patience_s: float) -> None:
        """Wait for the connection, but not longer than this, and not while the broker says no.

        Raises:
            MessagingError: there is none.
        """
        self._begin()
        until = time.monotonic() + patience_s
        while self._connection is None and time.monotonic() < until:
            if isinstance(self.problem, BrokerRefused):
                break
            await asyncio.sleep(_LOOK_S)
        if self.problem is not None:
            raise self.problem

    async def close(self) -> None:
        """Disconnect, and stay so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        if self._task is None:
            self._task = self._event_loop.start(keep(self._live, self._note, self._tuning))

    async def _live(self) -> None:
        """Connect, and stay until the connection is lost; raise why."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        gone: asyncio.Future[BaseException] = loop.create_future()
        self._confused = loop.create_future()
        parameters, place = self._address.parameters(self._purpose)
        connection = _Connection(
            parameters,
            on_open_callback=lambda _: settle(opened, None),
            on_open_error_callback=lambda _, error: settle(gone, error),
            on_close_callback=lambda _, error: settle(gone, error),
            custom_ioloop=loop,
        )
        try:
            await _first(opened, gone, self._confused)
            if opened.done():
                connection.add_on_connection_blocked_callback(
                    lambda _, frame: self._block(frame.method.reason or "blocked")
                )
                connection.add_on_connection_unblocked_callback(lambda *_: self._block(""))
                self._connection, self.problem = connection, None
                self.certificate_until = _certificate_end(connection)
                self._open.set()
                log.info("broker_connected", broker=place, connection=self._purpose)
                self._changed()
                await _first(gone, self._confused)
            error = gone.result() if gone.done() else self._confused.result()
            raise explain_connection(error, user=self._address.user, place=place)
        finally:
            self._connection, self._confused, self.blocked = None, None, ""
            self._open.clear()
            await _goodbye(connection, gone)

    def _block(self, reason: str) -> None:
        self.blocked = reason
        if reason:
            log.warning("broker_blocked", reason=reason)
        else:
            log.info("broker_unblocked")
        self._changed()

    def _note(self, error: MessagingError) -> None:
        if str(error) != str(self.problem):
            log.warning("broker_disconnected", connection=self._purpose, problem=str(error))
        self.problem = error
        self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def _drop(self, error: BaseException) -> bool:
        if self._confused is None:
            return False
        settle(self._confused, error)
        return True


def _certificate_end(connection: AsyncioConnection) -> datetime | None:
    """Return when the certificate ends that the other side has shown and that was verified; None without TLS."""
    shown = connection._transport  # noqa: SLF001 - pika does not hand its socket out otherwise
    sock = getattr(shown, "_sock", None)
    ends = (sock.getpeercert() or {}).get("notAfter") if isinstance(sock, ssl.SSLSocket) else None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(ends)), UTC) if ends else None


async def _first(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _goodbye(connection: AsyncioConnection, gone: "asyncio.Future[BaseException]") -> None:
    """Close what is still open, politely first, so that no socket is left behind, even if nobody waits for it."""
    try:
        try:
            if not (connection.is_closed or connection.is_closing):
                connection.close()
            await asyncio.wait([gone], timeout=_GOODBYE_S)
        finally:  # also when the owner ends before the broker has answered
            if not gone.done():
                connection._terminate_stream(BrokerUnreachable("given up"))  # noqa: SLF001 - pika has no other way to leave a broker that does not answer
        await asyncio.wait([gone], timeout=_GOODBYE_S)
    except PIKA_ERRORS as error:
        log.debug("broker_close_failed", problem=repr(error))
