"""The parked messages of a queue: looking at them without taking them, giving them back, dropping them."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pika.spec import BasicProperties

from datauploader.messaging.ports import ParkedMessage
from datauploader.messaging.rabbit.channel import Channel
from datauploader.messaging.rabbit.link import Link
from datauploader.messaging.rabbit.message import FORGED, SAID_BY, Outgoing, count, forwarded, sender
from datauploader.messaging.rabbit.publisher import Publisher
from datauploader.messaging.rabbit.tuning import Tuning
from datauploader.messaging.topology import Queue, retry_name
from datauploader.messaging.verdicts import identify

MOST = 5000
MOST_BYTES = 64 * 1024 * 1024
"""Bounds of what one look at a parked queue brings into memory."""


@dataclass(frozen=True, slots=True)
class _Held:
    tag: int
    properties: BasicProperties
    message: ParkedMessage


class ParkedMessages:
    """Works on the parked queues; a crash at any point leaves every message in place, or twice, never lost."""

    def __init__(self, link: Link, publisher: Publisher, tuning: Tuning) -> None:
        self._link, self._publisher, self._tuning = link, publisher, tuning

    async def list(self, queue: Queue) -> tuple[ParkedMessage, ...]:
        """List them, oldest first."""
        found: list[ParkedMessage] = []

        async def look(_channel: Channel, held: _Held) -> None:
            found.append(held.message)

        await self._each(queue, look)
        return tuple(found)

    async def replay(self, queue: Queue, ids: Collection[str]) -> int:
        """Put some back into their queue, by way of the shortest retry delay: no further right is needed for that."""
        way = retry_name(self._tuning.ladder[0])

        async def give_back(channel: Channel, held: _Held) -> None:
            # what the broker has parked by itself (x-death) is as its sender wrote it, headers included
            said_by = sender(held.properties, first_hand="x-death" in (held.properties.headers or {}))
            properties = forwarded(held.properties, {SAID_BY: said_by})
            message = self._publisher.send(Outgoing(way, queue.name, held.message.body, properties))
            await asyncio.wrap_future(message.future)
            channel.ack(held.tag)

        return await self._chosen(queue, ids, give_back, only=lambda message: message.replayable)

    async def drop(self, queue: Queue, ids: Collection[str]) -> int:
        """Remove some for good."""

        async def remove(channel: Channel, held: _Held) -> None:
            channel.ack(held.tag)

        return await self._chosen(queue, ids, remove)

    async def _chosen(
        self,
        queue: Queue,
        ids: Collection[str],
        step: Callable[[Channel, _Held], Coroutine[Any, Any, None]],
        *,
        only: Callable[[ParkedMessage], bool] = lambda _: True,
    ) -> int:
        chosen = 0

        async def choose(channel: Channel, held: _Held) -> None:
            nonlocal chosen
            if held.message.id in ids and only(held.message):
                await step(channel, held)
                chosen += 1

        await self._each(queue, choose)
        return chosen

    async def _each(self, queue: Queue, step: Callable[[Channel, _Held], Coroutine[Any, Any, None]]) -> None:
        """Hold all messages, do something with each, and give back in their order those that are still held."""
        await self._link.reach(self._tuning.patience_s)
        channel = await self._link.channel()
        try:
            held = await _hold_all(channel, queue)
            for one in held:
                await step(channel, one)
            if held:
                channel.requeue(held[-1].tag, up_to=True)
        finally:
            channel.close()


async def _hold_all(channel: Channel, queue: Queue) -> list[_Held]:
    held: list[_Held] = []
    size = 0
    while len(held) < MOST and size < MOST_BYTES and (got := await channel.get(queue.parked)) is not None:
        tag, key, properties, body = got
        size += len(body)
        held.append(_Held(tag, properties, _read(queue, key, properties, body)))
    return held


def _read(queue: Queue, key: str, properties: BasicProperties, body: bytes) -> ParkedMessage:
    """Read a parked message; one that was parked under another key was put here by somebody who has no right to."""
    ours = key == queue.name
    headers = properties.headers or {}
    event_id, trace_id = identify(body)
    crashed = f"delivered {count(properties, 'x-delivery-count')} times or more without a verdict: its consumer crashed"
    return ParkedMessage(
        id=event_id,
        queue=str(headers.get("x-queue", queue.name)),
        reason=str(headers.get("x-reason", crashed)) if ours else f"somebody put it here by way of {key!r}",
        time=_time(headers),
        body=body,
        trace_id=trace_id,
        attempts=count(properties, "x-attempts"),
        replayable=ours and not headers.get(FORGED, False),
    )


def _time(headers: dict[str, Any]) -> datetime:
    """Read when it was parked: our own header, or the broker's where it parked the message by itself."""
    try:
        return datetime.fromisoformat(str(headers["x-parked-at"]))
    except (KeyError, ValueError):
        deaths = headers.get("x-death") or [{}]
        died = deaths[0].get("time")
        return died.replace(tzinfo=UTC) if isinstance(died, datetime) else datetime.now(UTC)
