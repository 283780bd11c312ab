"""The pages of uploads: what goes on now, one upload as it happens, how fast it was, and the history."""

# ruff: noqa: FAST003 - the dependency upload_in_sight reads upload_id

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Header, Path, Query, Request
from fastapi.responses import RedirectResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse

from datauploader.contracts.paths import FilePath
from datauploader.contracts.rest.files import FileState
from datauploader.contracts.rest.uploads import Upload, UploadState
from datauploader.contracts.uploads import Action
from datauploader.wording import TIMING_COLUMNS
from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.features.mail.service import MailService
from datauploader_gateway.features.uploads.charts import chart_of
from datauploader_gateway.features.uploads.service import UploadSteering, UploadWatching
from datauploader_gateway.http import labels
from datauploader_gateway.http.days import Day, midnight
from datauploader_gateway.http.dependencies import UseReader, use
from datauploader_gateway.http.rendering import asks_for_part, fragment, page, part
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.http.visitor import UploadOnPage, Visitor
from datauploader_gateway.projection.facts import STATES
from datauploader_gateway.projection.live import Batch
from datauploader_gateway.projection.projection_status import ProjectionStatus
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.projection.search import Search
from datauploader_gateway.projection.stations import StationDirectory

router = APIRouter(include_in_schema=False)

_FILES, _LEFT_OUT, _NOW, _RECENT, _HISTORY = 50, 50, 50, 10, 25
_CHANGED = format_sse_event(event="changed", data_str="")
After = Annotated[str, Query(max_length=2000)]
UseStations = Annotated[StationDirectory, use(StationDirectory)]
UseWatching = Annotated[UploadWatching, use(UploadWatching)]


@router.get("/")
async def home(request: Request, who: Visitor, reader: UseReader) -> Response:
    """Show what goes on now and what ended lately."""
    return page(request, "home.html", who=who, **await _now(who, reader))


@router.get("/now")
async def now(request: Request, who: Visitor, reader: UseReader) -> Response:
    """Show the lists of the first page alone."""
    return part(request, "parts/now.html", **await _now(who, reader))


async def _now(who: Visitor, reader: ViewReader) -> dict[str, Any]:
    def running(upload: Upload) -> bool:
        return who.user.may_see(upload) and not upload.over

    def ended(upload: Upload) -> bool:
        return who.user.may_see(upload) and upload.over

    going_on, more = await reader.uploads(who.user.index, running, "", _NOW)
    over, _ = await reader.uploads(who.user.index, ended, "", _RECENT)
    troubled_first = sorted(going_on, key=lambda one: 0 if one.needs_person else 1 if one.troubles else 2)
    return {"running": troubled_first, "ended": over, "more": more, "me": who.user.id}


@router.get("/old-view")
async def old_view(
    request: Request,
    who: Visitor,  # noqa: ARG001 - one must be signed in
    view: Annotated[ProjectionStatus, use(ProjectionStatus)],
) -> Response:
    """Say again why what is shown may be old, as long as that is so."""
    return part(request, "parts/old-view.html", view=view)


@router.get("/live")
async def live(who: Visitor, watching: UseWatching) -> Response:
    """Say that something has changed of what the visitor may see; the page then asks what."""
    watching.require_room(who)

    async def changes() -> AsyncIterator[bytes]:
        yield _CHANGED
        async for batch in watching.everything(who):
            if not batch.messages:
                yield KEEPALIVE_COMMENT
            elif any(message.upload is not None and who.user.may_see(message.upload) for message in batch.messages):
                yield _CHANGED

    return _stream(changes())


@router.get("/uploads/{upload_id}")
async def upload_page(request: Request, upload: UploadOnPage, who: Visitor, reader: UseReader) -> Response:
    """Show one upload."""
    files = await _files(upload, reader, "", "")
    return page(request, "upload.html", who=who, upload=upload, **files)


@router.get("/uploads/{upload_id}/live")
async def upload_live(
    upload: UploadOnPage,
    who: Visitor,
    watching: UseWatching,
    questions: Annotated[QueryClient, use(QueryClient)],
    last_event_id: Annotated[str, Header(alias="Last-Event-ID")] = "",
) -> Response:
    """Send the upload as it is now, whenever it changes, and `end` when nothing more will."""
    watching.require_room(who)
    noun = questions.about.investigation
    return _stream(_drawn(batch, noun) async for batch in watching.upload(upload.id, who, last_event_id))


def _stream(chunks: AsyncIterator[bytes]) -> Response:
    """Answer with events that are bytes already: FastAPI's own way writes, checks and queues each for each watcher."""
    return StreamingResponse(chunks, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@lru_cache(maxsize=64)
def _drawn(batch: Batch, noun: str) -> bytes:
    """Draw a batch once for everybody who watches."""
    if not batch.messages:
        return KEEPALIVE_COMMENT
    chunks = []
    latest = next((message for message in reversed(batch.messages) if message.event == "upload"), None)
    if latest is not None:
        html = fragment("parts/upload.html", upload=latest.upload, noun=noun)
        chunks.append(format_sse_event(data_str=html, id=latest.position))
    said = {message.event for message in batch.messages}
    chunks += [format_sse_event(event=word, data_str="") for word in ("files", "end") if word in said]
    return b"".join(chunks)


@router.get("/uploads/{upload_id}/files")
async def files(
    request: Request,
    upload: UploadOnPage,
    who: Visitor,
    reader: UseReader,
    state: FileState | Literal[""] = "",
    after: After = "",
) -> Response:
    """Show a page of the files, failed ones first."""
    context = await _files(upload, reader, state, after) | {"upload": upload}
    if asks_for_part(request):
        return part(request, "parts/files.html", **context)
    return page(request, "upload.html", who=who, **context)


async def _files(upload: Upload, reader: ViewReader, state: FileState | str, after: str) -> dict[str, Any]:
    wanted = [word for word in STATES if word == state] or list(STATES)
    items, following = await reader.files(upload.id, wanted, after, _FILES)
    return {"items": items, "following": following, "state": state, "after": after}


@router.get("/uploads/{upload_id}/left-out")
async def left_out(
    request: Request, upload: UploadOnPage, who: Visitor, reader: UseReader, after: After = ""
) -> Response:
    """Show a page of what is not uploaded, and why."""
    items, following = await reader.left_out(upload.id, after, _LEFT_OUT)
    context: dict[str, Any] = {"upload": upload, "items": items, "following": following, "after": after}
    if asks_for_part(request):
        return part(request, "parts/left-out.html", **context)
    return page(request, "left-out.html", who=who, **context)


@router.post("/uploads/{upload_id}/{action}")
async def control(
    request: Request,
    upload: UploadOnPage,
    action: Action,
    who: Visitor,
    steering: Annotated[UploadSteering, use(UploadSteering)],
    path: Annotated[str, Form(max_length=8192)] = "",
    path_b64: Annotated[str, Form(max_length=8192)] = "",
) -> Response:
    """Do what the button says, to the upload or to one file of it, and show how the upload is then."""
    try:
        named = (FilePath(path=path, path_b64=path_b64 or None),) if path else ()
    except ValidationError as error:
        raise InvalidRequest(f"path: {error.errors(include_url=False)[0]['msg']}") from error
    changed = await steering.steer(upload, action, who, traceparent(request.scope), named)
    if asks_for_part(request):
        return part(request, "parts/upload.html", upload=changed)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


@router.get("/history")
async def history_page(
    request: Request,
    who: Visitor,
    stations: UseStations,
    mail: Annotated[MailService, use(MailService)],
    reader: UseReader,
    text: Annotated[str, Query(max_length=200)] = "",
    state: UploadState | Literal[""] = "",
    station: Annotated[str, Query(max_length=200)] = "",
    since: Day = "",
    until: Day = "",
    after: Annotated[str, Query(max_length=2000)] = "",
) -> Response:
    """Show the uploads that are looked for, newest first."""
    search = Search(
        who.user, text=text, state=state or None, station=station, since=midnight(since), until=midnight(until, 1)
    )
    items, following = await reader.find(search, after, _HISTORY)
    asked = {"text": text, "state": state, "station": station, "since": since, "until": until}
    context: dict[str, Any] = {
        "items": items, "asked": asked, "after": after, "following": following, "searched": any(asked.values()),
        "query": urlencode({name: value for name, value in asked.items() if value}), "me": who.user.id,
    }  # fmt: skip
    if asks_for_part(request):
        return part(request, "parts/history.html", **context)
    named = [status.station for status in await stations.with_watcher()] if who.user.role != "user" else []
    return page(
        request, "history.html", who=who, stations=named, states=labels.STATES,
        mail=await mail.of(who) if mail.on else None,         **context,
    )  # fmt: skip


@router.get("/uploads/{upload_id}/throughput")
async def upload_throughput(request: Request, upload: UploadOnPage, reader: UseReader) -> Response:
    """Show how fast an upload has been, as a part of its page."""
    drawn = chart_of(await reader.flow(upload.id))
    return part(request, "parts/throughput.html", drawn=drawn, label="Throughput")


@router.get("/uploads/{upload_id}/timing")
async def upload_timing(request: Request, upload: UploadOnPage, reader: UseReader) -> Response:
    """Show how long each step of the files' way took, as a part of an upload's page."""
    return part(request, "parts/timing.html", timing=await reader.timing(upload), columns=TIMING_COLUMNS)


@router.get("/stations/{station}/throughput")
async def station_throughput(
    request: Request,
    station: Annotated[str, Path(max_length=200)],
    who: Visitor,  # noqa: ARG001 - one must be signed in
    stations: UseStations,
    reader: UseReader,
) -> Response:
    """Show how fast a station has been within a day, as a part of a page."""
    known = await stations.find(station)
    drawn = chart_of(await reader.station_flow(known.key, datetime.now(UTC)))
    return part(request, "parts/throughput.html", drawn=drawn, label=f"Throughput of {known.key}")
