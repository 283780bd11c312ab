"""Uploads over REST: ask for one, list them, look into one, steer it, watch it, and see how fast it was."""

# ruff: noqa: FAST003 - the dependency UploadInSight reads upload_id

from collections.abc import AsyncIterable
from datetime import UTC, datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from datauploader.contracts.paths import FilePath
from datauploader.contracts.rest.files import Files, FileState
from datauploader.contracts.rest.timing import Timing
from datauploader.contracts.rest.uploads import Upload, Uploads, UploadState
from datauploader.contracts.uploads import Action
from datauploader_gateway.features.new_upload.requests import UploadBody, UploadRequests
from datauploader_gateway.features.uploads.service import UploadSteering, UploadWatching
from datauploader_gateway.http.dependencies import SignedIn, UploadInSight, UseReader, use
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.projection.facts import STATES
from datauploader_gateway.projection.flow import Flow
from datauploader_gateway.projection.live import Message
from datauploader_gateway.projection.reader import LeftOutItem
from datauploader_gateway.projection.search import Search
from datauploader_gateway.projection.stations import StationDirectory

router = APIRouter(prefix="/uploads", tags=["uploads"])
throughput = APIRouter(tags=["throughput"])
events = APIRouter(tags=["live"])

UseWatching = Annotated[UploadWatching, use(UploadWatching)]
After = Annotated[str, Query(max_length=2000, description="`next` of the page before")]


class SteeringBody(BaseModel):
    """What a retry is about: these files alone, or, without any, all that failed; and which to take or to leave out."""

    model_config = ConfigDict(extra="forbid")

    files: tuple[FilePath, ...] = Field(default=(), max_length=500)


class LeftOuts(BaseModel):
    """A page of what is not uploaded."""

    items: list[LeftOutItem]
    next: str | None


@router.post("", status_code=201, responses=documented(401, 403, 409, 413, 422, 503, 504), summary="Ask for an upload")
async def create_upload(
    asked: UploadBody,
    request: Request,
    response: Response,
    who: SignedIn,
    requests: Annotated[UploadRequests, use(UploadRequests)],
    idempotency_key: Annotated[str, Header(max_length=200)] = "",
) -> Upload:
    """Check the wish, keep it, and pass it on to the station; it is not lost even while the broker is away."""
    upload = await requests.begin(asked, who, traceparent(request.scope), idempotency_key)
    response.headers["Location"] = f"/api/v1/uploads/{upload.id}"
    return upload


@router.get("", responses=documented(401, 403, 422, 503), summary="List uploads")
async def list_uploads(
    who: SignedIn,
    reader: UseReader,
    text: Annotated[str, Query(max_length=200, description="Words in dataset, investigation, path, person")] = "",
    state: UploadState | None = None,
    investigation: Annotated[str, Query(max_length=200)] = "",
    station: Annotated[str, Query(max_length=200)] = "",
    since: Annotated[
        datetime | None, Query(description="Asked for at this moment or later; UTC unless it says")
    ] = None,
    until: Annotated[datetime | None, Query(description="Asked for before this moment")] = None,
    after: After = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Uploads:
    """List what the caller may see and looks for, newest first."""
    search = Search(
        who.user, text=text, state=state, investigation=investigation, station=station, since=since, until=until
    )
    items, cursor = await reader.find(search, after, limit)
    return Uploads(items=items, next=cursor)


@router.get("/{upload_id}", responses=documented(401, 403, 404, 422, 503), summary="One upload")
async def show_upload(upload: UploadInSight) -> Upload:
    """Say how an upload is now."""
    return upload


@router.get("/{upload_id}/files", responses=documented(401, 403, 404, 422, 503), summary="Files of an upload")
async def list_files(
    upload: UploadInSight,
    reader: UseReader,
    state: FileState | None = None,
    after: After = "",
    limit: Annotated[int, Query(ge=1, le=5000)] = 500,
) -> Files:
    """List the files, failed ones first, by path within each state."""
    items, cursor = await reader.files(upload.id, [state] if state else STATES, after, limit)
    return Files(items=items, next=cursor)


@router.get("/{upload_id}/left-out", responses=documented(401, 403, 404, 422, 503), summary="What is not uploaded")
async def list_left_out(
    upload: UploadInSight, reader: UseReader, after: After = "", limit: Annotated[int, Query(ge=1, le=5000)] = 500
) -> LeftOuts:
    """List what lies in the folder and is not uploaded, and why."""
    items, cursor = await reader.left_out(upload.id, after, limit)
    return LeftOuts(items=items, next=cursor)


@router.post(
    "/{upload_id}/{action}", status_code=202, responses=documented(401, 403, 404, 409, 422, 503), summary="Steer"
)
async def control_upload(
    upload: UploadInSight,
    action: Action,
    request: Request,
    who: SignedIn,
    steering: Annotated[UploadSteering, use(UploadSteering)],
    asked: SteeringBody | None = None,
) -> Upload:
    """Close, pause, resume, cancel or retry, or choose for files that a program still writes: take, or leave-out.

    A retry can name files, a choice must; the effect comes with the events.
    """
    return await steering.steer(upload, action, who, traceparent(request.scope), asked.files if asked else ())


class Throughput(BaseModel):
    """Bytes that moved in equal steps of time; what was reported of it, so that it may lack a second here and there."""

    begin: datetime | None = Field(description="When the first step begins; null while nothing has moved.")
    step_s: int = Field(description="Seconds of a step; they grow as the upload does, so that there are at most 120.")
    bytes: list[int]

    @classmethod
    def of(cls, flow: Flow) -> Self:
        """Tell a series."""
        begin = datetime.fromtimestamp(flow.first * flow.width_s, UTC) if flow.amounts else None
        return cls(begin=begin, step_s=flow.width_s, bytes=list(flow.amounts))


@throughput.get(
    "/uploads/{upload_id}/throughput", responses=documented(401, 403, 404, 422, 503), summary="Speed of an upload"
)
async def upload_throughput(upload: UploadInSight, reader: UseReader) -> Throughput:
    """Say how much of an upload moved when."""
    return Throughput.of(await reader.flow(upload.id))


@throughput.get(
    "/uploads/{upload_id}/timing",
    responses=documented(401, 403, 404, 422, 503),
    summary="Where the time of an upload's files went",
    tags=["uploads"],
)
async def upload_timing(upload: UploadInSight, reader: UseReader) -> Timing:
    """Say how long each step of the files' way took, from the times of the events; empty where none are known."""
    return await reader.timing(upload)


@throughput.get(
    "/stations/{station}/throughput", responses=documented(401, 403, 422, 503), summary="Speed of a station"
)
async def station_throughput(
    station: Annotated[str, Path(description="facility.beamline.station", max_length=200)],
    who: SignedIn,  # noqa: ARG001 - one must be signed in
    stations: Annotated[StationDirectory, use(StationDirectory)],
    reader: UseReader,
) -> Throughput:
    """Say how much of a station moved within the last day, in steps of five minutes."""
    known = await stations.find(station)
    return Throughput.of(await reader.station_flow(known.key, datetime.now(UTC)))


async def _few_streams(who: SignedIn, watching: UseWatching) -> None:
    watching.require_room(who)


LastEventId = Annotated[str, Header(alias="Last-Event-ID", description="Go on behind this position.")]


@events.get(
    "/uploads/{upload_id}/events",
    response_class=EventSourceResponse,
    responses=documented(401, 403, 404, 422, 429, 503),
    dependencies=[Depends(_few_streams)],
    summary="What happens to an upload",
    tags=["uploads"],
)
async def upload_events(
    upload: UploadInSight, who: SignedIn, watching: UseWatching, last_event_id: LastEventId = ""
) -> AsyncIterable[ServerSentEvent]:
    """Send `upload`, `files` and `progress` as they happen, and `end` when the upload is over."""
    async for batch in watching.upload(upload.id, who, last_event_id):
        for message in batch.messages:
            yield _event(message)


@events.get(
    "/events",
    response_class=EventSourceResponse,
    responses=documented(401, 403, 422, 429, 503),
    dependencies=[Depends(_few_streams)],
    summary="What happens to all uploads",
)
async def all_events(
    who: SignedIn, watching: UseWatching, last_event_id: LastEventId = ""
) -> AsyncIterable[ServerSentEvent]:
    """Send `upload` and `station` as they change, of everything that the caller may see."""
    async for batch in watching.everything(who, last_event_id):
        for message in batch.messages:
            if message.upload is None or who.user.may_see(message.upload):
                yield _event(message)


def _event(message: Message) -> ServerSentEvent:
    return ServerSentEvent(raw_data=message.data, event=message.event, id=message.position)
