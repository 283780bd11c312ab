"""Publishing with confirms outstanding in a window: what makes it thirty times as fast as one by one."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import structlog

from datauploader.errors import BrokerRefused, BrokerUnreachable, MessagingError, Unroutable
from datauploader.messaging.blueprint import event_log, shared_topology
from datauploader.messaging.rabbit.channel import FORBIDDEN, Channel, ChannelRefused
from datauploader.messaging.rabbit.connection import BrokerConnection, keep
from datauploader.messaging.rabbit.event_loop import EventLoopThread
from datauploader.messaging.rabbit.message import Outgoing
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.topology import establish

log = structlog.get_logger()

_SWEEP_S = 0.2
_LOOK_S = 0.01
_RENEW_FIRST_S, _RENEW_MOST_S = 1.0, 60.0
"""How old a channel must be to be given up because the broker does not take a message; at first, and in the end."""


class QueueExistenceCache:
    """Which queues exist, kept for a short while, because the log's binding makes `mandatory` blind to their absence.

    An absence is looked up every time.
    """

    def __init__(self, connection: BrokerConnection, believed_s: float) -> None:
        self._connection, self._believed_s = connection, believed_s
        self._seen: dict[str, float] = {}
        self._channel: Channel | None = None

    def forget_queue(self) -> None:
        """Believe nothing any more, as after a reconnect."""
        self._seen.clear()

    def unsure(self, names: Iterable[str]) -> list[str]:
        """Name those that must be looked for."""
        oldest = time.monotonic() - self._believed_s
        return [name for name in names if self._seen.get(name, oldest) <= oldest]

    async def missing(self, names: Iterable[str]) -> set[str]:
        """Look for these queues, and name those that are not there."""
        absent = set()
        for name in names:
            if self._channel is None or not self._channel.is_open:
                self._channel = await self._connection.channel()
            try:
                await self._channel.declare_queue(name, passive=True)
            except ChannelRefused:
                absent.add(name)
            else:
                self._seen[name] = time.monotonic()
        return absent


class Publisher:
    """Takes messages from any thread, and tells each one's future what became of it."""

    def __init__(self, connection: BrokerConnection, owner: EventLoopThread, tuning: Tuning, *, declare: bool) -> None:
        self._connection, self._event_loop, self._tuning, self._declare = connection, owner, tuning, declare
        self._queue_cache = QueueExistenceCache(connection, tuning.presence_s)
        self._inbox: deque[Outgoing] = deque()
        self._outstanding: dict[int, Outgoing] = {}
        self._sequence = 0
        self._opened = self._refused = 0.0
        self._renew_s = _RENEW_FIRST_S
        self._channel: Channel | None = None
        self._loose: Channel | None = None
        self._stir = asyncio.Event()
        self._stirred = False
        self._problem: MessagingError | None = None
        self.log_problem = ""
        """Why the event log is not there; publishing goes on without it."""
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []
        connection.on_change(self._stir.set)

    @property
    def problem(self) -> MessagingError | None:
        """Why nothing can be published; None while it can."""
        return self._connection.problem or self._problem

    @property
    def unconfirmed(self) -> int:
        """Count the messages that the broker has not confirmed yet."""
        return len(self._inbox) + len(self._outstanding)

    def begin(self) -> None:
        """Start the tasks; the owner's thread calls this."""
        self._tasks = [
            self._event_loop.start(keep(self._session, self._note, self._tuning)),
            self._event_loop.start(self._sweep()),
            self._event_loop.start(self._tend_log()),
        ]

    def send(self, message: Outgoing) -> "Outgoing":
        """Take a message; its future ends when the broker has it, or when that cannot be known any more."""
        if self._closed:
            message.failed(BrokerUnreachable("the bus is closed"))
            return message
        if message.lossy:
            message.done()
            if self.problem is not None or self._connection.blocked:
                return message
        self._inbox.append(message)
        if not self._stirred:
            self._stirred = True
            self._event_loop.call(self._stir.set)
        return message

    async def close(self, until: float) -> None:
        """Wait until everything is confirmed, while that can be hoped for; fail the rest."""
        self._closed = True
        while self.unconfirmed and self.problem is None and time.monotonic() < until:  # noqa: ASYNC110 - the clock and the broker may both end it
            await asyncio.sleep(_LOOK_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.abandon()

    def abandon(self) -> None:
        """Fail what is left, when nothing will be published any more."""
        self._fail([*self._outstanding.values(), *self._inbox], BrokerUnreachable("the bus was closed meanwhile"))
        self._outstanding.clear()
        self._inbox.clear()

    async def _session(self) -> None:
        """Publish over one connection, until it is lost."""
        try:
            self._channel = channel = await self._connection.channel()
            await establish(self._connection, shared_topology(self._tuning.retry_delays_s), declare=self._declare)
            await self._establish_log()
            await channel.confirm(lambda method: self._on_confirm(channel, method), self._on_return)
            channel.ended.add_done_callback(lambda _: self._stir.set())
            self._queue_cache.forget_queue()
            self._sequence, self._problem, self._loose, self._opened = 0, None, None, time.monotonic()
            while True:
                self._stirred = False
                await self._pump(channel)
                await channel.until_ended(0)
                await self._stir.wait()
                self._stir.clear()
        except MessagingError as error:
            lost = list(self._outstanding.values())
            self._outstanding.clear()
            forbidden: list[Outgoing] = []
            if isinstance(error, ChannelRefused) and error.code == FORBIDDEN:  # one topic, no fault of the others
                forbidden = [message for message in lost if f"'{message.key}'" in str(error)]
                self._fail(forbidden, BrokerRefused(f"{error}; the broker's permissions do not let this user say that"))
            self._fail(lost, _unknown(error))
            if forbidden:
                raise BrokerUnreachable("publishing begins anew after a topic that the broker forbids") from error
            raise

    async def _establish_log(self) -> None:
        """Make the event log if it is not there; without it events still flow, only nobody can replay them."""
        try:
            await establish(self._connection, event_log(), declare=self._declare)
        except BrokerRefused as error:
            if not self.log_problem:
                log.warning("event_log_unavailable", problem=str(error))
            self.log_problem = f"events cannot be replayed later: {error}"
        else:
            self.log_problem = ""

    async def _tend_log(self) -> None:
        while True:
            await asyncio.sleep(self._tuning.heal_s)
            with suppress(MessagingError):
                await self._establish_log()

    async def _pump(self, channel: Channel) -> None:
        """Send what waits, as far as the window and the broker allow."""
        while not self._connection.blocked:
            room = min(self._tuning.window - len(self._outstanding), len(self._inbox))
            batch = [self._inbox.popleft() for _ in range(room)]
            if not batch:
                return
            try:
                unsure = self._queue_cache.unsure({name for message in batch for name in message.required})
                absent = await self._queue_cache.missing(unsure)
                with self._connection.batch():
                    for message in batch:
                        self._dispatch(channel, message, absent)
            except MessagingError as error:
                self._fail(batch, _unknown(error))
                raise
            # what may be lost goes outside the window; a channel that the broker closed over it is made anew
            for message in [message for message in batch if message.lossy]:
                if self._loose is None or not self._loose.is_open:
                    self._loose = await self._connection.channel()
                self._loose.publish(message.exchange, message.key, message.body, message.properties, mandatory=False)

    def _dispatch(self, channel: Channel, message: Outgoing, absent: set[str]) -> None:
        if message.lossy:
            return
        if missing := [name for name in message.required if name in absent]:
            message.failed(
                Unroutable(
                    f"nobody receives {message.key} yet: the queue {missing[0]} is missing; is its service running?"
                )
            )
            return
        self._sequence += 1
        message.sent = time.monotonic()
        self._outstanding[self._sequence] = message
        channel.publish(message.exchange, message.key, message.body, message.properties, mandatory=True)

    def _on_confirm(self, channel: Channel, method: Any) -> None:
        if channel is not self._channel:  # one that was given up counts for itself
            return
        tags = [method.delivery_tag]
        if method.multiple:
            tags = []
            for tag in self._outstanding:
                if tag > method.delivery_tag:
                    break
                tags.append(tag)
        for tag in tags:
            if (message := self._outstanding.pop(tag, None)) is None:
                continue
            if message.returned:
                message.failed(Unroutable(f"no queue takes {message.key} from {message.exchange} ({message.returned})"))
            elif method.NAME == "Basic.Ack":
                message.done()
            else:
                message.failed(
                    BrokerRefused(f"the broker did not take {message.key}: a queue is at its limit or unavailable")
                )
                self._renew_channel()
        if self._inbox:
            self._stir.set()

    def _renew_channel(self) -> None:
        """Begin anew on another channel, the more seldom the longer it does not help.

        A channel that was opened while the members of the log elected a leader never finds it, and takes nothing more.
        """
        now = time.monotonic()
        if now - self._refused > _RENEW_MOST_S:
            self._renew_s = _RENEW_FIRST_S
        self._refused = now
        if self._channel is not None and now - self._opened > self._renew_s:
            self._renew_s = min(2 * self._renew_s, _RENEW_MOST_S)
            self._channel.give_up(BrokerUnreachable("the broker takes nothing from this channel"))

    def _on_return(self, method: Any, properties: Any, _body: bytes) -> None:
        """Mark the message that came back; its confirm follows."""
        for message in self._outstanding.values():
            if message.key == method.routing_key and message.properties.message_id == properties.message_id:
                message.returned = message.returned or str(method.reply_text)

    def _fail(self, messages: Iterable[Outgoing], error: MessagingError) -> None:
        for message in messages:
            message.failed(error)

    def _note(self, error: MessagingError) -> None:
        if str(error) != str(self._problem) and self._connection.problem is None:
            log.warning("publisher_interrupted", problem=str(error))
        self._problem = error

    async def _sweep(self) -> None:
        """Fail what has waited too long for a connection; while the broker only asks to wait, it waits."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            first, channel = next(iter(self._outstanding.values()), None), self._channel
            doubtful = first is not None and time.monotonic() - first.sent > self._tuning.confirm_s
            if first is not None and doubtful and channel is not None and not self._connection.blocked:
                # a queue without a leader forgets what it was given: begin anew on another channel
                why = f"the broker has not confirmed {first.key} within {self._tuning.confirm_s:g} s"
                channel.give_up(BrokerUnreachable(why))
            error = self.problem
            while error is not None and self._inbox:
                waited = time.monotonic() - self._inbox[0].since
                if waited < self._tuning.patience_s and not isinstance(error, BrokerRefused):
                    break
                self._inbox.popleft().failed(error)


def _unknown(error: MessagingError) -> BrokerUnreachable:
    return BrokerUnreachable(f"not known to be published: {error}")
