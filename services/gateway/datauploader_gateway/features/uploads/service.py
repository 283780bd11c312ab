"""Uploads that are there: steering one, and watching what happens to one or to all."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial

import structlog
from redis.exceptions import RedisError

from datauploader.contracts import Event, EventData, Station, UploadControlled
from datauploader.contracts.batching import split
from datauploader.contracts.paths import FilePath
from datauploader.contracts.rest.uploads import Upload
from datauploader.contracts.uploads import OF_FILES, Action
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.auth.stream_monitor import StreamSessionMonitor
from datauploader_gateway.errors import InvalidRequest, TooManyStreams, UploadOver
from datauploader_gateway.events.publisher import CommandPublisher
from datauploader_gateway.projection.live import Batch, LiveStreams, StreamHandle
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.settings import SERVICE

log = structlog.get_logger()

_POSITION = re.compile(r"\d{1,20}-\d{1,20}")


class UploadSteering:
    """Passes on what people want done with an upload."""

    def __init__(self, reader: ViewReader, publisher: CommandPublisher, audit: AuditLog) -> None:
        """Publish through `publisher`."""
        self._reader, self._publisher, self._audit = reader, publisher, audit

    async def steer(
        self, upload: Upload, action: Action, who: Caller, trace: str, files: tuple[FilePath, ...] = ()
    ) -> Upload:
        """Keep a person's wish for an upload and pass it on; return how the upload is then.

        Raises:
            UploadOver: nothing can be done to it any more.
            InvalidRequest: files are named where only the whole upload can be meant, or none that the action is about.
        """
        if upload.over and not (action == "retry" and upload.state == "rejected"):
            raise UploadOver(f"the upload is {upload.state}, so you cannot {action} it")
        _check_files(upload, action, files)

        def order(files: tuple[FilePath, ...] = ()) -> UploadControlled:
            return UploadControlled(upload_id=upload.id, action=action, requested_by=who.user.person, files=files)

        after = await self._reader.last_description(upload.id)
        for data in split(files, order) if files else (order(),):
            event: Event[EventData] = Event(
                data=data, station=Station.parse(upload.station), service=SERVICE, traceparent=trace
            )
            await self._publisher.show_event(self._publisher.publish_event(event, after=after))
        named = {"files": ", ".join(file.path for file in files)[:1000]} if files else {}
        await self._audit.record(f"upload {action}", who=who.user.id, address=who.address, upload_id=upload.id, **named)
        return await self._reader.upload(upload.id) or upload


class UploadWatching:
    """Live streams of uploads, for somebody as long as they are signed in."""

    def __init__(self, live: LiveStreams, monitor: StreamSessionMonitor[Caller], most: int) -> None:
        """Let each person watch `most` streams at the same time."""
        self._live, self._monitor, self._most = live, monitor, most

    def require_room(self, who: Caller) -> None:
        """See that somebody does not watch too much already.

        Raises:
            TooManyStreams: so it is.
        """
        if self._monitor.count(lambda other: other.user.id == who.user.id) >= self._most:
            raise TooManyStreams(f"you have {self._most} live pages open already", retry_after_s=30)

    def upload(self, upload_id: str, who: Caller, after: str = "") -> AsyncIterator[Batch]:
        """Yield what happens to an upload behind a position, until the session is over."""
        return self._while_signed_in(partial(self._live.upload, upload_id, _position_of(after)), who)

    def everything(self, who: Caller, after: str = "") -> AsyncIterator[Batch]:
        """Yield what happens to all uploads and stations, whoever may see it, until the session is over."""
        return self._while_signed_in(partial(self._live.everything, _position_of(after)), who)

    async def _while_signed_in(
        self, stream: Callable[[StreamHandle], AsyncGenerator[Batch]], who: Caller
    ) -> AsyncIterator[Batch]:
        """Pass batches on until the session is over; without Redis nobody can say that it is not."""
        with self._monitor.monitored(who) as handle:
            try:
                async with aclosing(stream(handle)) as batches:
                    async for batch in batches:
                        yield batch
            except RedisError as error:
                log.warning("stream_ended", problem=str(error))


def _position_of(text: str) -> str:
    """Return the position that a browser says it has come to, "" where it says none or nonsense."""
    return text if _POSITION.fullmatch(text) else ""


def _check_files(upload: Upload, action: Action, files: tuple[FilePath, ...]) -> None:
    if action in OF_FILES:
        restless = {file.raw for file in upload.restless}
        if not files:
            raise InvalidRequest(f"files: say which files to {action.replace('-', ' ')}")
        if strange := next((file.path for file in files if file.raw not in restless), None):
            raise InvalidRequest(
                f"files: {strange} does not prevent this upload from being sealed",
                hint="It may be finished by now; check the upload again.",
            )
    elif files and action != "retry":
        raise InvalidRequest(f"files: {action} is for the whole upload; it cannot name files")
