"""Server-sent events: one upload, or everything that one may see."""

# ruff: noqa: FAST003 - the dependency UploadInSight reads upload_id

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent
from redis.exceptions import RedisError

from datauploader_gateway.auth.dependency import Caller, SignedIn, UploadInSight
from datauploader_gateway.errors import TooManyStreams
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented
from datauploader_gateway.projection.live import Batch, Message, StreamHandle

log = structlog.get_logger()

router = APIRouter(tags=["live"])

_POSITION = re.compile(r"\d{1,20}-\d{1,20}")


def check_streams(who: Caller, parts: Parts) -> None:
    """See that somebody does not watch too much already.

    Raises:
        TooManyStreams: so it is.
    """
    most = parts.settings.streams_per_person
    if parts.guard.count(lambda other: other.user.id == who.user.id) >= most:
        raise TooManyStreams(f"you have {most} live pages open already", retry_after_s=30)


async def _few_streams(who: SignedIn, parts: UseParts) -> None:
    check_streams(who, parts)


LastEventId = Annotated[str, Header(alias="Last-Event-ID", description="Go on behind this position.")]


@router.get(
    "/uploads/{upload_id}/events",
    response_class=EventSourceResponse,
    responses=documented(401, 403, 404, 422, 429, 503),
    dependencies=[Depends(_few_streams)],
    summary="What happens to an upload",
    tags=["uploads"],
)
async def upload_events(
    upload: UploadInSight, who: SignedIn, parts: UseParts, last_event_id: LastEventId = ""
) -> AsyncIterable[ServerSentEvent]:
    """Send `upload`, `files` and `progress` as they happen, and `end` when the upload is over."""
    stream = partial(parts.live.upload, upload.id, position_of(last_event_id))
    async for batch in while_signed_in(stream, who, parts):
        for message in batch.messages:
            yield _event(message)


@router.get(
    "/events",
    response_class=EventSourceResponse,
    responses=documented(401, 403, 422, 429, 503),
    dependencies=[Depends(_few_streams)],
    summary="What happens to all uploads",
)
async def all_events(who: SignedIn, parts: UseParts, last_event_id: LastEventId = "") -> AsyncIterable[ServerSentEvent]:
    """Send `upload` and `station` as they change, of everything that the caller may see."""
    async for batch in while_signed_in(partial(parts.live.everything, position_of(last_event_id)), who, parts):
        for message in batch.messages:
            if message.upload is None or who.user.may_see(message.upload):
                yield _event(message)


async def while_signed_in(
    stream: Callable[[StreamHandle], AsyncGenerator[Batch]], who: Caller, parts: Parts
) -> AsyncIterator[Batch]:
    """Pass batches on until the session is over; without Redis nobody can say that it is not."""
    with parts.guard.monitored(who) as handle:
        try:
            async with aclosing(stream(handle)) as batches:
                async for batch in batches:
                    yield batch
        except RedisError as error:
            log.warning("stream_ended", problem=str(error))


def position_of(text: str) -> str:
    """Return the position that a browser says it has come to, "" where it says none or nonsense."""
    return text if _POSITION.fullmatch(text) else ""


def _event(message: Message) -> ServerSentEvent:
    return ServerSentEvent(raw_data=message.data, event=message.event, id=message.position)
