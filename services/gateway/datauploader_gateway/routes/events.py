"""Server-sent events: one upload, or everything that one may see."""

# ruff: noqa: FAST003 - the dependency UploadInSight reads upload_id

import asyncio
import random
import re
import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated

import structlog
from fastapi import APIRouter, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent
from redis.exceptions import RedisError

from datauploader_gateway.auth.dependency import Caller, SignedIn, UploadInSight
from datauploader_gateway.parts import Parts, UseParts
from datauploader_gateway.problems import documented
from datauploader_gateway.view.live import Batch, Message

log = structlog.get_logger()

router = APIRouter(tags=["live"])

CHECK_S = 4.0
"""How often a stream looks at least whether its session is good; a revoked one must be quiet within five seconds."""
_POSITION = re.compile(r"\d{1,20}-\d{1,20}")

LastEventId = Annotated[str, Header(alias="Last-Event-ID", description="Go on behind this position.")]


@router.get(
    "/uploads/{upload_id}/events",
    response_class=EventSourceResponse,
    responses=documented(401, 403, 404, 422, 503),
    summary="What happens to an upload",
    tags=["uploads"],
)
async def upload_events(
    upload: UploadInSight, who: SignedIn, parts: UseParts, last_event_id: LastEventId = ""
) -> AsyncIterable[ServerSentEvent]:
    """Send `upload`, `files` and `progress` as they happen, and `end` when the upload is over."""
    async for batch in while_signed_in(parts.live.upload(upload.id, position_of(last_event_id)), who, parts):
        for message in batch:
            yield _event(message)


@router.get(
    "/events",
    response_class=EventSourceResponse,
    responses=documented(401, 403, 422, 503),
    summary="What happens to all uploads",
)
async def all_events(who: SignedIn, parts: UseParts, last_event_id: LastEventId = "") -> AsyncIterable[ServerSentEvent]:
    """Send `upload` and `station` as they change, of everything that the caller may see."""
    async for batch in while_signed_in(parts.live.everything(position_of(last_event_id)), who, parts):
        for message in batch:
            if message.upload is None or who.user.may_see(message.upload):
                yield _event(message)


async def while_signed_in(batches: AsyncIterator[Batch], who: Caller, parts: Parts) -> AsyncIterator[Batch]:
    """Pass batches on until the session is over; without Redis nobody can say that it is not."""
    coming = asyncio.ensure_future(anext(batches, None))
    check_at = _next_check()
    try:
        while True:
            await asyncio.wait([coming], timeout=max(0.0, check_at - time.monotonic()))
            if time.monotonic() >= check_at:
                if not await who.still_signed_in(parts):
                    return
                check_at = _next_check()
            if coming.done():
                if (batch := coming.result()) is None:
                    return
                yield batch
                coming = asyncio.ensure_future(anext(batches, None))
    except RedisError as error:
        log.warning("stream_ends", problem=str(error))
    finally:
        coming.cancel()


def _next_check() -> float:
    """Choose the moment: many streams that began together must not all look together."""
    return time.monotonic() + CHECK_S * random.uniform(0.5, 1)  # noqa: S311 - no secret


def position_of(text: str) -> str:
    """Return the position that a browser says it has come to, "" where it says none or nonsense."""
    return text if _POSITION.fullmatch(text) else ""


def _event(message: Message) -> ServerSentEvent:
    return ServerSentEvent(raw_data=message.data, event=message.event, id=message.position)
