"""A connection to the broker that comes back by itself."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from pika.adapters.asyncio_connection import AsyncioConnection

from datauploader.errors import BrokerRefused, BrokerUnreachable, MessagingError
from datauploader.messaging.rabbit.address import AmqpAddress
from datauploader.messaging.rabbit.channel import Channel, settle
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.refusals import PIKA_ERRORS, explain_connection
from datauploader.messaging.rabbit.supervision import keep
from datauploader.messaging.rabbit.tuning import Tuning

log = structlog.get_logger()

_LOOK_S = 0.02
_GOODBYE_S = 0.4
"""Seconds for each of the two ways of leaving: with the broker's help, and without."""


class _Connection(AsyncioConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection, but that the three frames of a message leave in one system call: a fifth of its time."""

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        super()._output_marshaled_frames([b"".join(marshaled_frames)])


class BrokerConnection:
    """Keeps one connection open, from the first use on; all methods but the properties belong to the owner's thread."""

    def __init__(self, address: AmqpAddress, purpose: str, owner: EventLoopThread, tuning: Tuning) -> None:
        self._address, self._purpose, self._event_loop, self._tuning = address, purpose, owner, tuning
        self._connection: AsyncioConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._open = asyncio.Event()
        self._confused: asyncio.Future[BaseException] | None = None
        self._listeners: list[Callable[[], None]] = []
        self.problem: MessagingError | None = BrokerUnreachable(f"not connected yet to the broker at {address.place}")
        """Why there is no connection; None while there is one."""
        self.blocked = ""
        """The broker's reason for asking publishers to wait; "" while it does not."""
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

    async def reach(self, patience_s: float) -> None:
        """Wait for the connection, but not longer than this, and not while the broker says no.

        Raises:
            MessagingError: there is none.
        """
        self._begin()
        until = time.monotonic() + patience_s
        while not self._settled and time.monotonic() < until:  # noqa: ASYNC110 - the clock and the broker may both end it
            await asyncio.sleep(_LOOK_S)
        if self.problem is not None:
            raise self.problem

    async def close(self) -> None:
        """Disconnect, and stay so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def _settled(self) -> bool:
        return self._connection is not None or isinstance(self.problem, BrokerRefused)

    def _begin(self) -> None:
        if self._task is None:
            self._task = self._event_loop.start(keep(self._live, self._note, self._tuning))

    async def _live(self) -> None:
        """Connect, and stay until the connection is lost; raise why."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        gone: asyncio.Future[BaseException] = loop.create_future()
        self._confused = loop.create_future()
        connection = _Connection(
            self._address.parameters(self._purpose),
            on_open_callback=lambda _: settle(opened, None),
            on_open_error_callback=lambda _, error: settle(gone, error),
            on_close_callback=lambda _, error: settle(gone, error),
            custom_ioloop=loop,
        )
        try:
            await _first(opened, gone, self._confused)
            if opened.done():
                self._use(connection)
                await _first(gone, self._confused)
            error = gone.result() if gone.done() else self._confused.result()
            raise explain_connection(error, user=self._address.user, place=self._address.place)
        finally:
            self._unuse()
            await _goodbye(connection, gone)

    def _use(self, connection: AsyncioConnection) -> None:
        connection.add_on_connection_blocked_callback(lambda _, frame: self._block(frame.method.reason or "blocked"))
        connection.add_on_connection_unblocked_callback(lambda *_: self._block(""))
        self._connection, self.problem = connection, None
        self._open.set()
        log.info("broker_connected", broker=self._address.place, connection=self._purpose)
        self._changed()

    def _unuse(self) -> None:
        self._connection, self._confused, self.blocked = None, None, ""
        self._open.clear()

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
