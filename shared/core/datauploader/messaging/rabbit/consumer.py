"""Consuming a queue: each delivery's verdict becomes an acknowledgement, a delayed retry, or a parked message."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from pika.spec import BasicProperties

from datauploader.errors import MessagingError, Unroutable
from datauploader.messaging.blueprint import Blueprint, QueueSpec, consumed, shared_topology
from datauploader.messaging.port import Handler, Ownership, Skips, Together
from datauploader.messaging.provenance import from_queue
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.claims import ClaimedQueue
from datauploader.messaging.rabbit.connection import BrokerConnection
from datauploader.messaging.rabbit.dead_letters import DelayedRetries
from datauploader.messaging.rabbit.message import ATTEMPT, FAILURES, FORGED, SAID_BY, Outgoing, count, forwarded, sender
from datauploader.messaging.rabbit.options import Tuning
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.subscription import Received, Settle
from datauploader.messaging.rabbit.topology import establish, missing_parts
from datauploader.messaging.rights import Speakers
from datauploader.messaging.settlement import Arrival, Settlement, handle_all, identify
from datauploader.messaging.topology import EVENTS, PARKED, Queue, retry_name, retry_queue_names
from datauploader.runtime import metrics
from datauploader.runtime.crash_points import crash_point

log = structlog.get_logger()

_GIVE_BACK_S = 1.0
"""Seconds that a delivery is held whose retry or parking could not be published, before the broker has it back."""
_LONGEST_REASON = 1000


class QueueSource:
    """A queue, its handler, and where the verdicts go."""

    def __init__(
        self, queue: Queue, handler: Handler, together: Together | None = None, *, connection: BrokerConnection,
        publisher: Publisher, tuning: Tuning, declare: bool, speakers: Speakers, prefetch: int, skips: Skips,
        on_new: Callable[[], None] | None = None, ownership: Ownership | None = None,
    ) -> None:  # fmt: skip
        self._queue, self._handler, self._together, self._skips = queue, handler, together, skips
        self._connection, self._publisher = connection, publisher
        self.most = prefetch if together is not None else 1
        self._tuning, self._declare, self._prefetch = tuning, declare, prefetch
        self._on_new, self._missed = on_new, False
        self.awaited = DelayedRetries()
        self._speakers, self._retry_queues = speakers, retry_queue_names(tuning.retry_delays_s)
        self._claim = (
            ClaimedQueue(queue, ownership, connection, publisher, tuning, declare=declare) if ownership else None
        )

    async def attach(
        self, channel: Channel, on_message: Callable[[Any, BasicProperties, bytes], None], tag: str
    ) -> None:
        """Declare the queue, its parked queue and its bindings, and begin to consume."""
        await establish(self._connection, shared_topology(self._tuning.retry_delays_s), declare=self._declare)
        if self._on_new is not None and await missing_parts(
            self._connection, Blueprint(queues=(QueueSpec(self._queue.name),))
        ):
            self._missed = True
        await establish(self._connection, consumed(self._queue), declare=self._declare)
        if self._claim is not None:
            await self._claim.claim_queue()
        await channel.prefetch(self._prefetch)
        await channel.consume(self._queue.name, on_message, tag)
        if self._missed and self._on_new is not None:
            self._missed = False
            self._on_new()

    async def heal(self) -> None:
        """Declare the queue and its bindings again: whoever deleted one did not mean to lose events."""
        await establish(self._connection, consumed(self._queue), declare=self._declare)
        if self._claim is not None:
            await self._claim.renew_claim()

    def work(self, received: Sequence[Received], stopping: threading.Event) -> list[Settle]:  # noqa: ARG002 - one handler call is not interrupted
        """Call the handler, and turn its verdicts into what the broker must be told."""
        arrivals = [self._arrival(one) for one in received]
        began = time.perf_counter()
        delays = self._tuning.retry_delays_s
        verdicts = handle_all(arrivals, self._handler, self._together, delays=delays, skips=self._skips)
        metrics.note_handled(self._queue.name, (verdict.what for verdict in verdicts), time.perf_counter() - began)
        return [self._settle(*each) for each in zip(received, verdicts, arrivals, strict=True)]

    def _arrival(self, received: Received) -> Arrival:
        self.awaited.note_back(received.body)
        crashes = count(received.properties, "x-delivery-count")
        return Arrival(
            received.body,
            attempt=count(received.properties, ATTEMPT, 1) + crashes,
            failures=count(received.properties, FAILURES),
            check=from_queue(self._queue, received.came, self._speakers, self._retry_queues),
            sender=_sender(received),
        )

    def _settle(self, received: Received, verdict: Settlement, arrival: Arrival) -> Settle:
        def settle() -> Awaitable[None] | None:
            if not received.channel.is_open:
                log.info("late_settlement_dropped", queue=self._queue.name, verdict=verdict.what)
                return None
            if verdict.what == "done":
                received.channel.ack_soon(received.tag)
                return None
            return self._move(received, verdict, arrival.attempt)

        return settle

    async def _move(self, received: Received, verdict: Settlement, attempt: int) -> None:
        """Publish a message to where it goes next, and acknowledge it when it is there."""
        headers: dict[str, Any] = {SAID_BY: _sender(received)}
        if verdict.what == "park":
            event_id, _ = identify(received.body)
            log.warning("message_parked", queue=self._queue.name, event_id=event_id, reason=verdict.reason)
            exchange = PARKED
            headers |= {
                "x-reason": verdict.reason[:_LONGEST_REASON],
                "x-queue": self._queue.name,
                "x-parked-at": datetime.now(UTC).isoformat(),
                "x-attempts": attempt,
                FORGED: verdict.forged,
            }
        else:
            exchange = retry_name(verdict.delay_s)
            headers |= {ATTEMPT: attempt + 1, FAILURES: verdict.failures}
            self.awaited.note_sent(received.body, exchange, verdict.delay_s)
        onward = Outgoing(exchange, self._queue.name, received.body, forwarded(received.properties, headers))
        try:
            await asyncio.wrap_future(self._publisher.send(onward).future)
        except MessagingError as error:
            self.awaited.note_unsent(received.body)
            log.warning("settlement_not_published", queue=self._queue.name, verdict=verdict.what, problem=str(error))
            if isinstance(error, Unroutable):  # make again what is missing: each attempt counts as a crash
                with suppress(MessagingError):
                    await establish(
                        self._connection, shared_topology(self._tuning.retry_delays_s), declare=self._declare
                    )
                    await self.heal()
            await asyncio.sleep(_GIVE_BACK_S)
            received.channel.requeue(received.tag)
        else:
            crash_point("retry.moved")
            received.channel.ack(received.tag)


def _sender(received: Received) -> str:
    return sender(received.properties, first_hand=received.came.exchange == EVENTS)
