"""The pages of uploads: what goes on now, and one upload as it happens."""

# ruff: noqa: FAST003 - the dependency upload_in_sight reads upload_id

from collections.abc import AsyncIterator
from functools import lru_cache, partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Header, Path, Query, Request
from fastapi.responses import RedirectResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse

from datauploader.contracts.paths import FilePath
from datauploader.contracts.uploads import Action
from datauploader_gateway.errors import InvalidRequest, NotFound
from datauploader_gateway.features.uploads.api import steer
from datauploader_gateway.features.uploads.live import check_streams, position_of, while_signed_in
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.rendering import asks_for_part, fragment, page, part
from datauploader_gateway.http.visitor import Visitor
from datauploader_gateway.projection.facts import STATES, State
from datauploader_gateway.projection.live import Batch
from datauploader_gateway.projection.summary import Upload

router = APIRouter(include_in_schema=False)

_FILES, _LEFT_OUT, _NOW, _RECENT = 50, 50, 50, 10
_CHANGED = format_sse_event(event="changed", data_str="")
After = Annotated[str, Query(max_length=2000)]


async def upload_on_page(
    upload_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$")], who: Visitor, parts: UseParts
) -> Upload:
    """Find the upload that a page is about.

    Raises:
        NotFound: there is none, or it is none of the visitor's business.
    """
    found = await parts.reader.upload(upload_id)
    if found is None or not who.user.may_see(found):
        raise NotFound(
            f"there is no upload {upload_id} that {who.user.name or who.user.id} may see",
            hint="Another person at this computer may have started it: press Switch user, or look for it in History.",
        )
    return found


UploadOnPage = Annotated[Upload, Depends(upload_on_page)]


@router.get("/")
async def home(request: Request, who: Visitor, parts: UseParts) -> Response:
    """Show what goes on now and what ended lately."""
    return page(request, parts, "home.html", who=who, **await _now(who, parts))


@router.get("/now")
async def now(request: Request, who: Visitor, parts: UseParts) -> Response:
    """Show the lists of the first page alone."""
    return part(request, "parts/now.html", **await _now(who, parts))


async def _now(who: Visitor, parts: Parts) -> dict[str, Any]:
    def running(upload: Upload) -> bool:
        return who.user.may_see(upload) and not upload.over

    def ended(upload: Upload) -> bool:
        return who.user.may_see(upload) and upload.over

    going_on, more = await parts.reader.uploads(who.user.index, running, "", _NOW)
    over, _ = await parts.reader.uploads(who.user.index, ended, "", _RECENT)
    return {"running": sorted(going_on, key=_troubled_first), "ended": over, "more": more, "me": who.user.id}


def _troubled_first(upload: Upload) -> int:
    return 0 if upload.needs_person else 1 if upload.troubles else 2


@router.get("/old-view")
async def old_view(request: Request, who: Visitor, parts: UseParts) -> Response:  # noqa: ARG001 - signed in
    """Say again why what is shown may be old, as long as that is so."""
    return part(request, "parts/old-view.html", view=parts.view)


@router.get("/live")
async def live(who: Visitor, parts: UseParts) -> Response:
    """Say that something has changed of what the visitor may see; the page then asks what."""
    check_streams(who, parts)

    async def changes() -> AsyncIterator[bytes]:
        yield _CHANGED
        async for batch in while_signed_in(partial(parts.live.everything, ""), who, parts):
            if not batch.messages:
                yield KEEPALIVE_COMMENT
            elif any(message.upload is not None and who.user.may_see(message.upload) for message in batch.messages):
                yield _CHANGED

    return _stream(changes())


@router.get("/uploads/{upload_id}")
async def upload_page(request: Request, upload: UploadOnPage, who: Visitor, parts: UseParts) -> Response:
    """Show one upload."""
    files = await _files(upload, parts, "", "")
    return page(request, parts, "upload.html", who=who, upload=upload, **files)


@router.get("/uploads/{upload_id}/live")
async def upload_live(
    upload: UploadOnPage,
    who: Visitor,
    parts: UseParts,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID")] = "",
) -> Response:
    """Send the upload as it is now, whenever it changes, and `end` when nothing more will."""
    check_streams(who, parts)
    batches = partial(parts.live.upload, upload.id, position_of(last_event_id))
    return _stream(_drawn(batch) async for batch in while_signed_in(batches, who, parts))


def _stream(chunks: AsyncIterator[bytes]) -> Response:
    """Answer with events that are bytes already: FastAPI's own way writes, checks and queues each for each watcher."""
    return StreamingResponse(chunks, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@lru_cache(maxsize=64)
def _drawn(batch: Batch) -> bytes:
    """Draw a batch once for everybody who watches."""
    if not batch.messages:
        return KEEPALIVE_COMMENT
    chunks = []
    latest = next((message for message in reversed(batch.messages) if message.event == "upload"), None)
    if latest is not None:
        html = fragment("parts/upload.html", upload=latest.upload)
        chunks.append(format_sse_event(data_str=html, id=latest.position))
    said = {message.event for message in batch.messages}
    chunks += [format_sse_event(event=word, data_str="") for word in ("files", "end") if word in said]
    return b"".join(chunks)


@router.get("/uploads/{upload_id}/files")
async def files(
    request: Request,
    upload: UploadOnPage,
    who: Visitor,
    parts: UseParts,
    state: State | Literal[""] = "",
    after: After = "",
) -> Response:
    """Show a page of the files, failed ones first."""
    context = await _files(upload, parts, state, after) | {"upload": upload}
    if asks_for_part(request):
        return part(request, "parts/files.html", **context)
    return page(request, parts, "upload.html", who=who, **context)


async def _files(upload: Upload, parts: Parts, state: State | str, after: str) -> dict[str, Any]:
    wanted = [word for word in STATES if word == state] or list(STATES)
    items, following = await parts.reader.files(upload.id, wanted, after, _FILES)
    return {"items": items, "following": following, "state": state, "after": after}


@router.get("/uploads/{upload_id}/left-out")
async def left_out(
    request: Request, upload: UploadOnPage, who: Visitor, parts: UseParts, after: After = ""
) -> Response:
    """Show a page of what is not uploaded, and why."""
    items, following = await parts.reader.left_out(upload.id, after, _LEFT_OUT)
    context: dict[str, Any] = {"upload": upload, "items": items, "following": following, "after": after}
    if asks_for_part(request):
        return part(request, "parts/left-out.html", **context)
    return page(request, parts, "left-out.html", who=who, **context)


@router.post("/uploads/{upload_id}/{action}")
async def control(
    request: Request,
    upload: UploadOnPage,
    action: Action,
    who: Visitor,
    parts: UseParts,
    path: Annotated[str, Form(max_length=8192)] = "",
    path_b64: Annotated[str, Form(max_length=8192)] = "",
) -> Response:
    """Do what the button says, to the upload or to one file of it, and show how the upload is then."""
    changed = await steer(upload, action, request, who, parts, _named(path, path_b64))
    if asks_for_part(request):
        return part(request, "parts/upload.html", upload=changed)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


def _named(path: str, path_b64: str) -> tuple[FilePath, ...]:
    try:
        return (FilePath(path=path, path_b64=path_b64 or None),) if path else ()
    except ValidationError as error:
        raise InvalidRequest(f"path: {error.errors(include_url=False)[0]['msg']}") from error
