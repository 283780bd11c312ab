"""Uploads: ask for one, list them, look into one, steer it."""

# ruff: noqa: FAST003 - the dependency UploadInSight reads upload_id

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from datauploader.contracts import Event, EventData, Station, UploadControlled, UploadRequested
from datauploader.contracts.batching import split
from datauploader.contracts.paths import FilePath
from datauploader.contracts.uploads import OF_FILES, Action
from datauploader_gateway.auth.dependency import Caller, SignedIn, UploadInSight
from datauploader_gateway.errors import InvalidRequest, UploadOver
from datauploader_gateway.features.new_upload.requests import UploadBody, request_upload
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.projection.facts import STATES, State
from datauploader_gateway.projection.files import File
from datauploader_gateway.projection.fold import Before, fold
from datauploader_gateway.projection.reader import LeftOutItem
from datauploader_gateway.projection.search import Search
from datauploader_gateway.projection.summary import Upload, UploadState, summarise
from datauploader_gateway.settings import SERVICE

router = APIRouter(prefix="/uploads", tags=["uploads"])

After = Annotated[str, Query(max_length=2000, description="`next` of the page before")]


class Uploads(BaseModel):
    """A page of uploads, newest first."""

    items: list[Upload]
    next: str | None


class SteeringBody(BaseModel):
    """What a retry is about: these files alone, or, without any, all that failed; and which to take or to leave out."""

    model_config = ConfigDict(extra="forbid")

    files: tuple[FilePath, ...] = Field(default=(), max_length=500)


class Files(BaseModel):
    """A page of files, failed ones first."""

    items: list[File]
    next: str | None


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
    parts: UseParts,
    idempotency_key: Annotated[str, Header(max_length=200)] = "",
) -> Upload:
    """Check the wish, keep it, and pass it on to the station; it is not lost even while the broker is away."""
    upload = await begin_upload(asked, request, who, parts, idempotency_key)
    response.headers["Location"] = f"/api/v1/uploads/{upload.id}"
    return upload


async def begin_upload(asked: UploadBody, request: Request, who: Caller, parts: Parts, key: str = "") -> Upload:
    """Check a wish, keep it, pass it on and record it; the same key begins nothing twice.

    Raises:
        Problem: says what is wrong; nothing has happened then.
    """
    wish = asked.model_dump_json()
    event = parts.intake.known(who.user.id, key, wish) if key else None
    if event is None:
        event = await _accept(asked, wish, request, who, parts, key)
    return await _now_or_new(event, parts)


async def _accept(
    asked: UploadBody, wish: str, request: Request, who: Caller, parts: Parts, key: str
) -> Event[EventData]:
    event: Event[EventData] = await request_upload(asked, who.user, parts, traceparent=traceparent(request.scope))
    event = parts.intake.publish_once(event, who.user.id, key, wish) if key else parts.intake.publish_event(event)
    await show_at_once(event, parts)
    await parts.audit.record(
        "upload requested", who=who.user.id, address=who.address, upload_id=event.data.upload_id,
        investigation=asked.investigation, dataset=asked.dataset.name, station=event.station.key, path=asked.path,
    )  # fmt: skip
    return event


async def show_at_once(event: Event[EventData], parts: Parts) -> None:
    """Put the event into the view at once, so that the next request sees it; the queue brings it once more."""
    try:
        await run_in_threadpool(parts.writer.apply, event)
    except RedisError:
        return


async def _now_or_new(event: Event[EventData], parts: Parts) -> Upload:
    assert isinstance(event.data, UploadRequested)
    try:
        known = await parts.reader.upload(event.data.upload_id)
    except RedisError:
        known = None
    fresh = summarise(event.data.upload_id, fold(Before(), event).registers, {})
    assert fresh is not None
    return known or fresh


@router.get("", responses=documented(401, 403, 422, 503), summary="List uploads")
async def list_uploads(
    who: SignedIn,
    parts: UseParts,
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
    items, cursor = await parts.reader.find(search, after, limit)
    return Uploads(items=items, next=cursor)


@router.get("/{upload_id}", responses=documented(401, 403, 404, 422, 503), summary="One upload")
async def show_upload(upload: UploadInSight) -> Upload:
    """Say how an upload is now."""
    return upload


@router.get("/{upload_id}/files", responses=documented(401, 403, 404, 422, 503), summary="Files of an upload")
async def list_files(
    upload: UploadInSight,
    parts: UseParts,
    state: State | None = None,
    after: After = "",
    limit: Annotated[int, Query(ge=1, le=5000)] = 500,
) -> Files:
    """List the files, failed ones first, by path within each state."""
    items, cursor = await parts.reader.files(upload.id, [state] if state else STATES, after, limit)
    return Files(items=items, next=cursor)


@router.get("/{upload_id}/left-out", responses=documented(401, 403, 404, 422, 503), summary="What is not uploaded")
async def list_left_out(
    upload: UploadInSight, parts: UseParts, after: After = "", limit: Annotated[int, Query(ge=1, le=5000)] = 500
) -> LeftOuts:
    """List what lies in the folder and is not uploaded, and why."""
    items, cursor = await parts.reader.left_out(upload.id, after, limit)
    return LeftOuts(items=items, next=cursor)


@router.post(
    "/{upload_id}/{action}", status_code=202, responses=documented(401, 403, 404, 409, 422, 503), summary="Steer"
)
async def control_upload(
    upload: UploadInSight,
    action: Action,
    request: Request,
    who: SignedIn,
    parts: UseParts,
    asked: SteeringBody | None = None,
) -> Upload:
    """Close, pause, resume, cancel or retry, or choose for files that a program still writes: take, or leave-out.

    A retry can name files, a choice must; the effect comes with the events.
    """
    return await steer(upload, action, request, who, parts, asked.files if asked else ())


async def steer(
    upload: Upload, action: Action, request: Request, who: Caller, parts: Parts, files: tuple[FilePath, ...] = ()
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

    after = await parts.reader.last_description(upload.id)
    for data in split(files, order) if files else (order(),):
        event: Event[EventData] = Event(
            data=data, station=Station.parse(upload.station), service=SERVICE, traceparent=traceparent(request.scope)
        )
        await show_at_once(parts.intake.publish_event(event, after=after), parts)
    named = {"files": ", ".join(file.path for file in files)[:1000]} if files else {}
    await parts.audit.record(f"upload {action}", who=who.user.id, address=who.address, upload_id=upload.id, **named)
    return await parts.reader.upload(upload.id) or upload


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
