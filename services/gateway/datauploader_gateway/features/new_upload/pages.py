"""The page on which an upload is put together: choose, try, look again, begin."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.auth.rights import StationRights
from datauploader_gateway.errors import DatasetTaken, InvalidRequest, NotFound, Problem
from datauploader_gateway.features.new_upload.drafting import Drafting, key_of
from datauploader_gateway.features.new_upload.drafts import Draft, Drafts
from datauploader_gateway.features.new_upload.form import merged, read_form, read_sent
from datauploader_gateway.features.new_upload.metadata import MetadataForm
from datauploader_gateway.features.new_upload.previews import UploadPreviews
from datauploader_gateway.features.new_upload.requests import UploadBody, UploadRequests
from datauploader_gateway.http.dependencies import UseReader, use
from datauploader_gateway.http.rendering import page, part
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.http.visitor import Visitor, upload_on_page
from datauploader_gateway.paths import child
from datauploader_gateway.projection.stations import StationDirectory

router = APIRouter(include_in_schema=False)

PAGE = 200
"""Entries of a folder that are shown at once."""
LIVE_S, REVIEW_S = 3.0, 8.0
"""Time for trying several datasets, while somebody types and before they begin."""
_UNWRITABLE = frozenset("\ufffd\r\n")
"""In a path: bytes that were no text, and ends of lines, which forms change; its folder can be chosen all the same."""
UseDrafting = Annotated[Drafting, use(Drafting)]
UseDrafts = Annotated[Drafts, use(Drafts)]
UseMetadata = Annotated[MetadataForm, use(MetadataForm)]
UseRequests = Annotated[UploadRequests, use(UploadRequests)]
Token = Annotated[str, Query(alias="draft", pattern=r"^([A-Za-z0-9_-]{16,40})?$")]


@router.get("/new")
async def new_page(
    request: Request,
    who: Visitor,
    drafting: UseDrafting,
    drafts: UseDrafts,
    metadata: UseMetadata,
    reader: UseReader,
    token: Token = "",
    station: Annotated[str, Query(max_length=200)] = "",
    investigation: Annotated[str, Query(max_length=200)] = "",
    earlier: Annotated[str, Query(alias="from", pattern=r"^([A-Za-z0-9_-]{8,64})?$")] = "",
) -> Response:
    """Show the form, as it was left, with what is probably wanted, or for what came after an upload was complete."""
    draft = await drafts.load(who.user.id, token) if token else None
    if draft is None and earlier:
        token, first = Drafts.new_token(), await drafting.begin_after(await upload_on_page(earlier, who, reader), who)
        await drafts.change(who.user.id, token, lambda _: first)
        return RedirectResponse(f"/new?draft={token}", 303)
    if draft is None:
        token, draft = Drafts.new_token(), await drafting.begin(who, station, investigation)
    return page(request, "new.html", who=who, **await _shown(draft, token, who, drafting, metadata))


@router.post("/new")
async def choose(
    request: Request, who: Visitor, drafting: UseDrafting, drafts: UseDrafts, metadata: UseMetadata
) -> Response:
    """Keep what was chosen and go on to the review, or show the form again and say what is missing."""
    token, draft, _ = await _kept(request, who, drafts)
    _, wrong = metadata.read(draft.metadata)
    try:
        drafting.bodies_of(draft)
        if wrong:
            raise InvalidRequest("some metadata are missing or wrong", hint="See the fields below.")
        await drafts.change(who.user.id, token, _reviewed)
    except Problem as problem:
        context = await _shown(draft, token, who, drafting, metadata) | {"wrong": wrong, "problem": problem}
        return page(request, "new.html", who=who, status=problem.status, **context)
    return RedirectResponse(f"/new/review?draft={token}", 303)


@router.post("/new/keep", status_code=204)
async def keep(request: Request, who: Visitor, drafts: UseDrafts) -> None:
    """Keep what was chosen so far."""
    await _kept(request, who, drafts)


@router.post("/new/found")
async def found(request: Request, who: Visitor, drafting: UseDrafting, drafts: UseDrafts) -> Response:
    """Keep what was chosen so far, and show what would become of it."""
    token, draft, _ = await _kept(request, who, drafts)
    context: dict[str, Any] = {"draft": draft, "token": token, "tried": [], "problem": None}
    try:
        bodies = drafting.bodies_of(draft)
        trace = traceparent(request.scope)
        context["tried"] = await drafting.try_out(bodies, who.user, trace=trace, within_s=LIVE_S, destination=False)
    except Problem as problem:
        context["problem"] = problem
    return part(request, "parts/new-found.html", **context)


@router.post("/new/values")
async def values(
    request: Request,
    who: Visitor,
    drafting: UseDrafting,
    drafts: UseDrafts,
    metadata: UseMetadata,
    previews: Annotated[UploadPreviews, use(UploadPreviews)],
) -> Response:
    """Fill in what the chosen files say about themselves, where nobody has typed anything."""
    token, draft, edit = await _kept(request, who, drafts)
    trouble: tuple[str, ...] = ()
    try:
        body = drafting.bodies_of(draft)[0]
        said = await previews.values(body, who.user, traceparent(request.scope), complete=False)
        trouble = said.problems
        named = []
        for one in said.values:
            value = one.parameter.value
            text = str(value).lower() if isinstance(value, bool) else str(value)
            named.append((one.parameter.name, text, one.source))
        draft = await drafts.change(who.user.id, token, lambda now: _filled(now or draft, draft, named, drafting))
    except Problem as problem:
        trouble = (problem.detail,)
    return part(
        request, "parts/new-metadata.html", draft=draft, fields=metadata.fields, wrong={}, trouble=trouble,
        asked_at=edit,
    )  # fmt: skip


@router.get("/new/folder")
async def folder(
    request: Request,
    who: Visitor,
    drafts: UseDrafts,
    stations: Annotated[StationDirectory, use(StationDirectory)],
    rights: Annotated[StationRights, use(StationRights)],
    station: Annotated[str, Query(max_length=200)] = "",
    path: Annotated[str, Query(max_length=4096)] = "",
    offset: Annotated[int, Query(ge=0)] = 0,
    contains: Annotated[str, Query(max_length=255)] = "",
    token: Token = "",
) -> Response:
    """Show what lies in a folder of the station; without a path its roots."""
    draft = await drafts.load(who.user.id, token) if token else None
    context: dict[str, Any] = {"station": station, "path": path, "token": token, "contains": contains, "offset": offset}
    if not station:
        return part(request, "parts/new-folder.html", listing=None, **context)
    try:
        place = await stations.find(station)
        listing = await rights.folder(who.user, place, path, offset, PAGE, contains=contains, counts=True)
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
async def review(
    request: Request, who: Visitor, drafting: UseDrafting, drafts: UseDrafts, token: Token = ""
) -> Response:
    """Show what would happen, before it does."""
    draft = await _mine(who, drafts, token)
    trace = traceparent(request.scope)
    tried = await drafting.try_out(
        drafting.bodies_of(draft), who.user, trace=trace, within_s=REVIEW_S, destination=True, token=token
    )
    ready = not any(one.problem for one in tried) and not all(one.begun for one in tried)
    digest = _digest([one.body for one in tried])
    return page(request, "review.html", who=who, draft=draft, token=token, tried=tried, ready=ready, digest=digest)


@router.post("/new/dataset")
async def choose_dataset(request: Request, who: Visitor, drafts: UseDrafts) -> Response:
    """Take one of the ways out where a dataset is taken: go on with it, or another name; and look again."""
    form = await request.form()
    token, dataset, name = (str(form.get(field, ""))[:400] for field in ("draft", "dataset", "name"))
    await drafts.change(who.user.id, token, lambda now: _reviewed(now).choosing(dataset, name))
    return RedirectResponse(f"/new/review?draft={token}", 303)


@router.post("/new/start")
async def start(
    request: Request, who: Visitor, drafting: UseDrafting, drafts: UseDrafts, requests: UseRequests
) -> Response:
    """Begin the uploads of a draft, each once however often the button is pressed."""
    form = await request.form()
    token = str(form.get("draft", ""))
    draft = await _mine(who, drafts, token)
    bodies = drafting.bodies_of(draft)
    if str(form.get("seen", "")) not in ("", _digest(bodies)):
        raise InvalidRequest(
            "the selection was changed after this review was opened, perhaps in another window; nothing has started",
            hint="Go back to the form and press Review again.",
        )
    uploads: list[Upload] = []
    for body in bodies:
        try:
            uploads.append(await requests.begin(body, who, traceparent(request.scope), key_of(token, body)))
        except DatasetTaken:  # since the review; it is shown there, with the ways out
            return RedirectResponse(f"/new/review?draft={token}", 303)
        except Problem as problem:
            if uploads:
                so_far = f"{len(uploads)} of {len(bodies)} uploads have started. Go back and start the others again."
                problem.hint = f"{problem.hint} {so_far}".strip()
            raise
    return RedirectResponse(f"/uploads/{uploads[0].id}" if len(uploads) == 1 else "/", 303)


async def _shown(
    draft: Draft, token: str, who: Caller, drafting: Drafting, metadata: MetadataForm
) -> dict[str, Any]:  # fmt: skip
    """Return what the page needs to show a draft."""
    choices = await drafting.choices(who)
    return {
        "draft": draft, "token": token, "page_id": secrets.token_hex(8), "fields": metadata.fields, "wrong": {},
        "investigations": choices.investigations, "catalogue_trouble": choices.catalogue_trouble,
        "stations": choices.stations, "remotes": choices.remotes, "template": choices.template,
        "offer_delete": choices.offer_delete,
    }  # fmt: skip


async def _kept(request: Request, who: Visitor, drafts: Drafts) -> tuple[str, Draft, int]:
    """Keep what a form says that nobody has said later; return the draft's name, the draft and the form's state."""
    form = await request.form()
    token, sent = str(form.get("draft", "")), read_sent(form)
    draft = await drafts.change(who.user.id, token, lambda before: merged(before, read_form(form, before), sent))
    return token, draft, sent.edit


def _filled(now: Draft, asked: Draft, named: Sequence[tuple[str, str, str]], drafting: Drafting) -> Draft:
    """Fill in what files say, unless the draft is looked at meanwhile, or is about other files."""
    same = (now.station, now.picks, now.paths) == (asked.station, asked.picks, asked.paths)
    return drafting.with_values(now, named) if same and not now.reviewed else now


def _reviewed(draft: Draft | None) -> Draft:
    if draft is None:
        raise NotFound("this draft has expired", hint="Select again what to upload.")
    return draft.model_copy(update={"reviewed": True})


async def _mine(who: Visitor, drafts: Drafts, token: str) -> Draft:
    draft = await drafts.load(who.user.id, token)
    if draft is None:
        raise NotFound("this draft has expired", hint="Select again what to upload.")
    return draft


def _digest(bodies: Sequence[UploadBody]) -> str:
    return hashlib.sha256("\n".join(body.model_dump_json() for body in bodies).encode()).hexdigest()
