"""The page on which an upload is put together: choose, try, look again, begin."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from datauploader.contracts import Parameter
from datauploader_gateway.errors import DatasetTaken, InvalidRequest, NotFound, Problem
from datauploader_gateway.features.new_upload.choices import find_station
from datauploader_gateway.features.new_upload.drafting import (
    begun,
    bodies_of,
    continued,
    key_of,
    read_form,
    read_sent,
    shown,
    try_out,
    with_values,
)
from datauploader_gateway.features.new_upload.drafts import Draft, Drafts
from datauploader_gateway.features.new_upload.merging import merged
from datauploader_gateway.features.new_upload.requests import UploadBody, request_upload
from datauploader_gateway.features.uploads.api import begin_upload
from datauploader_gateway.features.uploads.pages import upload_on_page
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.rendering import page, part
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.http.visitor import Visitor
from datauploader_gateway.paths import child
from datauploader_gateway.projection.summary import Upload

router = APIRouter(include_in_schema=False)

PAGE = 200
"""Entries of a folder that are shown at once."""
LIVE_S, REVIEW_S = 3.0, 8.0
"""Time for trying several datasets, while somebody types and before they begin."""
_UNWRITABLE = frozenset("\ufffd\r\n")
"""In a path: bytes that were no text, and ends of lines, which forms change; its folder can be chosen all the same."""
Token = Annotated[str, Query(alias="draft", pattern=r"^([A-Za-z0-9_-]{16,40})?$")]


@router.get("/new")
async def new_page(
    request: Request,
    who: Visitor,
    parts: UseParts,
    token: Token = "",
    station: Annotated[str, Query(max_length=200)] = "",
    investigation: Annotated[str, Query(max_length=200)] = "",
    earlier: Annotated[str, Query(alias="from", pattern=r"^([A-Za-z0-9_-]{8,64})?$")] = "",
) -> Response:
    """Show the form, as it was left, with what is probably wanted, or for what came after an upload was complete."""
    draft = await parts.drafts.load(who.user.id, token) if token else None
    if draft is None and earlier:
        token, first = Drafts.new_token(), await continued(await upload_on_page(earlier, who, parts), who, parts)
        await parts.drafts.change(who.user.id, token, lambda _: first)
        return RedirectResponse(f"/new?draft={token}", 303)
    if draft is None:
        token, draft = Drafts.new_token(), await begun(who, parts, station, investigation)
    return page(request, parts, "new.html", who=who, **await shown(draft, token, who, parts))


@router.post("/new")
async def choose(request: Request, who: Visitor, parts: UseParts) -> Response:
    """Keep what was chosen and go on to the review, or show the form again and say what is missing."""
    token, draft, _ = await _kept(request, who, parts)
    _, wrong = parts.metadata.read(draft.metadata)
    try:
        bodies_of(draft, parts)
        if wrong:
            raise InvalidRequest("some metadata are missing or wrong", hint="See the fields below.")
        await parts.drafts.change(who.user.id, token, _reviewed)
    except Problem as problem:
        context = await shown(draft, token, who, parts) | {"wrong": wrong, "problem": problem}
        return page(request, parts, "new.html", who=who, status=problem.status, **context)
    return RedirectResponse(f"/new/review?draft={token}", 303)


@router.post("/new/keep", status_code=204)
async def keep(request: Request, who: Visitor, parts: UseParts) -> None:
    """Keep what was chosen so far."""
    await _kept(request, who, parts)


@router.post("/new/found")
async def found(request: Request, who: Visitor, parts: UseParts) -> Response:
    """Keep what was chosen so far, and show what would become of it."""
    token, draft, _ = await _kept(request, who, parts)
    context: dict[str, Any] = {"draft": draft, "token": token, "tried": [], "problem": None}
    try:
        bodies = bodies_of(draft, parts)
        trace = traceparent(request.scope)
        context["tried"] = await try_out(bodies, who.user, parts, traceparent=trace, within_s=LIVE_S, destination=False)
    except Problem as problem:
        context["problem"] = problem
    return part(request, "parts/new-found.html", **context)


@router.post("/new/values")
async def values(request: Request, who: Visitor, parts: UseParts) -> Response:
    """Fill in what the chosen files say about themselves, where nobody has typed anything."""
    token, draft, edit = await _kept(request, who, parts)
    trouble: tuple[str, ...] = ()
    try:
        body = bodies_of(draft, parts)[0]
        trace = traceparent(request.scope)
        event = await request_upload(body, who.user, parts, traceparent=trace, complete=False, begins=False)
        said = await parts.questions.values(event.station, event.data)
        trouble = said.problems
        named = [(one.parameter.name, _text(one.parameter), one.source) for one in said.values]
        draft = await parts.drafts.change(who.user.id, token, lambda now: _filled(now or draft, draft, named, parts))
    except Problem as problem:
        trouble = (problem.detail,)
    return part(
        request, "parts/new-metadata.html", draft=draft, fields=parts.metadata.fields, wrong={}, trouble=trouble,
        asked_at=edit,
    )  # fmt: skip


@router.get("/new/folder")
async def folder(
    request: Request,
    who: Visitor,
    parts: UseParts,
    station: Annotated[str, Query(max_length=200)] = "",
    path: Annotated[str, Query(max_length=4096)] = "",
    offset: Annotated[int, Query(ge=0)] = 0,
    contains: Annotated[str, Query(max_length=255)] = "",
    token: Token = "",
) -> Response:
    """Show what lies in a folder of the station; without a path its roots."""
    draft = await parts.drafts.load(who.user.id, token) if token else None
    context: dict[str, Any] = {"station": station, "path": path, "token": token, "contains": contains, "offset": offset}
    if not station:
        return part(request, "parts/new-folder.html", listing=None, **context)
    try:
        place = await find_station(parts, station)
        listing = await parts.rights.folder(who.user, place, path, offset, PAGE, contains=contains, counts=True)
    except Problem as problem:  # shown in the folder's place: what stood there before is another station's
        return part(request, "parts/new-folder.html", status=problem.status, listing=None, problem=problem, **context)
    picks = {pick.value for pick in draft.picks} if draft is not None and draft.station == station else set()
    entries = [
        (entry, full, f"{entry.kind}:{full}" in picks, not set(full) & _UNWRITABLE)
        for entry in listing.entries
        if (full := child(path, entry.name) if path else entry.name)
    ]
    following = offset + PAGE if listing.total > offset + PAGE else None
    return part(
        request, "parts/new-folder.html", listing=listing, entries=entries, following=following, page=PAGE, **context
    )  # fmt: skip


@router.get("/new/review")
async def review(request: Request, who: Visitor, parts: UseParts, token: Token = "") -> Response:
    """Show what would happen, before it does."""
    draft = await _mine(who, parts, token)
    trace = traceparent(request.scope)
    tried = await try_out(
        bodies_of(draft, parts), who.user, parts, traceparent=trace, within_s=REVIEW_S, destination=True, token=token
    )
    ready = not any(one.problem for one in tried) and not all(one.begun for one in tried)
    digest = _digest([one.body for one in tried])
    return page(
        request, parts, "review.html", who=who, draft=draft, token=token, tried=tried, ready=ready, digest=digest
    )


@router.post("/new/dataset")
async def choose_dataset(request: Request, who: Visitor, parts: UseParts) -> Response:
    """Take one of the ways out where a dataset is taken: go on with it, or another name; and look again."""
    form = await request.form()
    token, dataset, name = (str(form.get(field, ""))[:400] for field in ("draft", "dataset", "name"))
    await parts.drafts.change(who.user.id, token, lambda now: _reviewed(now).choosing(dataset, name))
    return RedirectResponse(f"/new/review?draft={token}", 303)


@router.post("/new/start")
async def start(request: Request, who: Visitor, parts: UseParts) -> Response:
    """Begin the uploads of a draft, each once however often the button is pressed."""
    form = await request.form()
    token = str(form.get("draft", ""))
    draft = await _mine(who, parts, token)
    bodies = bodies_of(draft, parts)
    if str(form.get("seen", "")) not in ("", _digest(bodies)):
        raise InvalidRequest(
            "the selection was changed after this review was opened, perhaps in another window; nothing has started",
            hint="Go back to the form and press Review again.",
        )
    uploads: list[Upload] = []
    for body in bodies:
        try:
            uploads.append(await begin_upload(body, request, who, parts, key_of(token, body)))
        except DatasetTaken:  # since the review; it is shown there, with the ways out
            return RedirectResponse(f"/new/review?draft={token}", 303)
        except Problem as problem:
            if uploads:
                so_far = f"{len(uploads)} of {len(bodies)} uploads have started. Go back and start the others again."
                problem.hint = f"{problem.hint} {so_far}".strip()
            raise
    return RedirectResponse(f"/uploads/{uploads[0].id}" if len(uploads) == 1 else "/", 303)


async def _kept(request: Request, who: Visitor, parts: Parts) -> tuple[str, Draft, int]:
    """Keep what a form says that nobody has said later; return the draft's name, the draft and the form's state."""
    form = await request.form()
    token, sent = str(form.get("draft", "")), read_sent(form)
    draft = await parts.drafts.change(who.user.id, token, lambda before: merged(before, read_form(form, before), sent))
    return token, draft, sent.edit


def _filled(now: Draft, asked: Draft, named: Sequence[tuple[str, str, str]], parts: Parts) -> Draft:
    """Fill in what files say, unless the draft is looked at meanwhile, or is about other files."""
    same = (now.station, now.picks, now.paths) == (asked.station, asked.picks, asked.paths)
    return with_values(now, named, parts) if same and not now.reviewed else now


def _reviewed(draft: Draft | None) -> Draft:
    if draft is None:
        raise NotFound("this draft has expired", hint="Select again what to upload.")
    return draft.model_copy(update={"reviewed": True})


async def _mine(who: Visitor, parts: Parts, token: str) -> Draft:
    draft = await parts.drafts.load(who.user.id, token)
    if draft is None:
        raise NotFound("this draft has expired", hint="Select again what to upload.")
    return draft


def _digest(bodies: Sequence[UploadBody]) -> str:
    return hashlib.sha256("\n".join(body.model_dump_json() for body in bodies).encode()).hexdigest()


def _text(parameter: Parameter) -> str:
    return str(parameter.value).lower() if isinstance(parameter.value, bool) else str(parameter.value)
