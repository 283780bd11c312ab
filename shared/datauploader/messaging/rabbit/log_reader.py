"""Reading the event log over AMQP 0-9-1: in order, from any point, and on from there after every reconnect."""

import threading
from collections.abc import Callable
from typing import Any

from pika.spec import BasicProperties

from datauploader.messaging.blueprint import event_log, ground
from datauploader.messaging.ports import Handler, Start
from datauploader.messaging.provenance import from_log
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.declaration import establish
from datauploader.messaging.rabbit.link import Link
from datauploader.messaging.rabbit.message import sender
from datauploader.messaging.rabbit.subscription import Received, Settle
from datauploader.messaging.rabbit.tuning import Tuning
from datauploader.messaging.topology import LOG
from datauploader.messaging.verdicts import read_entry

_OFFSET = "x-stream-offset"
_PREFETCH = 200


class LogSource:
    """The stream, and how far its handler has come."""

    def __init__(self, start: Start, handler: Handler, *, link: Link, tuning: Tuning, declare: bool) -> None:
        self._handler, self._link, self._tuning, self._declare = handler, link, tuning, declare
        self._next: Any = "first" if start.first else start.offset if start.offset is not None else start.time
        self._from = start.offset or 0

    async def attach(
        self, channel: Channel, on_message: Callable[[Any, BasicProperties, bytes], None], tag: str
    ) -> None:
        """Begin to read behind the last entry that was handled."""
        await establish(self._link, ground(self._tuning.ladder), declare=self._declare)
        await establish(self._link, event_log(), declare=self._declare)
        await channel.prefetch(_PREFETCH)
        await channel.consume(LOG, on_message, tag, arguments={_OFFSET: self._next})

    async def heal(self) -> None:
        """Nothing of the log belongs to its reader."""

    def work(self, received: Received, stopping: threading.Event) -> Settle:
        """Handle one entry, as often as the handler asks for; the broker begins at a chunk, so skip what is before."""
        offset = int((received.properties.headers or {}).get(_OFFSET, 0))  # pika's own kind of integer
        if offset >= self._from and read_entry(
            received.body, self._handler, offset=offset, ended=stopping.wait, check=from_log(received.key),
            sender=sender(received.properties, first_hand=True),
        ):  # fmt: skip
            self._from = self._next = offset + 1
        return lambda: received.channel.ack(received.tag)
