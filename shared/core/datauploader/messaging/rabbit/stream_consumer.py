"""Consumes the event log, a stream, over AMQP 0-9-1: in order, from any point, and on after every reconnect."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from pika.spec import BasicProperties

from datauploader.errors import BrokerUnreachable
from datauploader.messaging.blueprint import event_log, shared_topology
from datauploader.messaging.port import Handler, Start
from datauploader.messaging.provenance import from_log
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.connection import BrokerConnection
from datauploader.messaging.rabbit.message import sender
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.subscription import Received, Settle
from datauploader.messaging.rabbit.topology import establish
from datauploader.messaging.rights import Speakers
from datauploader.messaging.settlement import read_entry
from datauploader.messaging.topology import LOG

_OFFSET = "x-stream-offset"
_PREFETCH = 16
"""Entries that are fetched ahead, each of which may have a MiB; 200 of small ones are read a fifth faster at most."""
_FIRST_S, _QUIET_S, _LONGEST_S = 5.0, 0.3, 10.0
"""A log of which nothing comes for the first is empty, unless the broker counts entries in it. Its last chunk was heard
to its end when nothing came for the second, or it grows all the time."""


class StreamSource:
    """The stream as a source of deliveries, and how far its handler has come."""

    most = 1

    def __init__(
        self, start: Start, handler: Handler, *, connection: BrokerConnection, tuning: Tuning, declare: bool,
        speakers: Speakers, at_end: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._speakers = speakers
        self._handler, self._connection, self._tuning, self._declare = handler, connection, tuning, declare
        self._at_end, self._end = at_end, -1
        self._next: Any = "first" if start.first else start.offset if start.offset is not None else start.time
        self._from = start.offset or 0

    async def attach(
        self, channel: Channel, on_message: Callable[[Any, BasicProperties, bytes], None], tag: str
    ) -> None:
        """Begin to read behind the last entry that was handled."""
        await establish(self._connection, shared_topology(self._tuning.retry_delays_s), declare=self._declare)
        await establish(self._connection, event_log(), declare=self._declare)
        if self._at_end is not None and self._end < 0:
            self._end = await self._find_end(tag)
        if self._end <= self._from:
            await asyncio.to_thread(self._tell)
        await channel.prefetch(_PREFETCH)
        await channel.consume(LOG, on_message, tag, arguments={_OFFSET: self._next})

    async def heal(self) -> None:
        """Nothing of the log belongs to its reader."""

    def work(self, received: Sequence[Received], stopping: threading.Event) -> list[Settle]:
        """Handle an entry, as often as the handler asks for; the broker begins at a chunk, so skip what is before."""
        return [self._read(one, stopping) for one in received]

    def _read(self, received: Received, stopping: threading.Event) -> Settle:
        offset = _offset(received.properties)
        if offset >= self._end:
            self._tell()
        if offset >= self._from and read_entry(
            received.body, self._handler, offset=offset, ended=stopping.wait,
            check=from_log(received.came, self._speakers),
            sender=sender(received.properties, first_hand=True),
        ):  # fmt: skip
            self._from = self._next = offset + 1
        if self._from >= self._end:
            self._tell()
        return lambda: received.channel.ack(received.tag)

    def _tell(self) -> None:
        """Say once that the end is reached."""
        at_end, self._at_end = self._at_end, None
        if at_end is not None:
            at_end()

    async def _find_end(self, tag: str) -> int:
        """Return the offset behind the last entry: the broker can be asked for the chunk that holds it."""
        end, heard = 0, asyncio.Event()
        channel = await self._connection.channel()

        def take(method: Any, properties: BasicProperties, _body: bytes) -> None:
            nonlocal end
            end = max(end, _offset(properties) + 1)
            heard.set()
            channel.ack(method.delivery_tag)

        try:
            await channel.prefetch(_PREFETCH)
            await channel.consume(LOG, take, f"{tag}.end", arguments={_OFFSET: "last"})
            async with asyncio.timeout(_LONGEST_S):
                while True:
                    # what is slow to come is no empty log; where the broker counts no entries, silence decides
                    with suppress(TimeoutError):
                        await asyncio.wait_for(heard.wait(), _QUIET_S if end else _FIRST_S)
                    if not heard.is_set() and (end or not (await channel.count(LOG))[0]):
                        break
                    heard.clear()
        except TimeoutError:
            if not end:
                raise BrokerUnreachable(f"the event log {LOG} has entries, but none of them came") from None
        finally:
            channel.close()
        return end


def _offset(properties: BasicProperties) -> int:
    return int((properties.headers or {}).get(_OFFSET, 0))  # pika's own kind of integer
