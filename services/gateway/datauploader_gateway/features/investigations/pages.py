"""The pages of investigations: choose one, today's first, make one, look at one and say what it is."""

from datetime import date
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from starlette.responses import Response

from datauploader.contracts.questions import InvestigationSummary
from datauploader.contracts.rest.investigations import InvestigationChoice, Section
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.errors import InvalidRequest, Problem
from datauploader_gateway.features.investigations.service import Creation, InvestigationService, InvestigationText
from datauploader_gateway.http.dependencies import UseReader, use
from datauploader_gateway.http.problems import first_fault
from datauploader_gateway.http.rendering import asks_for_part, page, part, templates
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.http.visitor import Visitor

router = APIRouter(include_in_schema=False)

_SHOWN, _UPLOADS, _UPLOADS_OF_ONE = 50, 3, 10
_TITLES: dict[Section, str] = {
    "today": "Today",
    "used": "Recently used",
    "open": "Other open investigations",
    "closed": "Closed",
}
Given = Annotated[str, Form(max_length=10_000)]
InvestigationId = Annotated[str, Path(min_length=1, max_length=200)]
UseInvestigations = Annotated[InvestigationService, use(InvestigationService)]


def days(one: InvestigationSummary) -> str:
    """Write from which to which day an investigation runs."""
    if one.start is None:
        return f"until {_day(one.end)}" if one.end else ""
    if one.end is None:
        return f"since {_day(one.start)}"
    return _day(one.start) if one.start == one.end else f"{_day(one.start)} to {_day(one.end)}"


def _address(investigation_id: str) -> str:
    return f"/investigations/{quote(investigation_id, safe='')}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


templates.env.filters["days"] = days


@router.get("/investigations")
async def list_page(
    request: Request, who: Visitor, investigations: UseInvestigations, text: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """Show the visitor's investigations, those of a search alone where there is one."""
    found = await investigations.choices(who, text=text, limit=1000)
    uploads: dict[str, list[Upload]] = {}
    for upload in await investigations.recent_uploads(who):
        uploads.setdefault(upload.investigation, []).append(upload)
    sections = []  # those that have anything: word, title, what is shown of it, and how much is not
    for word, title in _TITLES.items():
        if own := [item for item in found.items if item.section == word]:
            sections.append((word, title, own[:_SHOWN], len(own) - len(own[:_SHOWN])))
    more = found.total - sum(len(items) for _, _, items, _ in sections)
    context: dict[str, Any] = {
        "found": found, "sections": sections, "more": more, "text": text, "uploads": uploads, "most": _UPLOADS,
    }  # fmt: skip
    if asks_for_part(request):
        return part(request, "parts/investigations.html", **context)
    return page(request, "investigations.html", who=who, **context)


@router.get("/investigations/new")
async def new_page(request: Request, who: Visitor, investigations: UseInvestigations) -> Response:
    """Show the form, or why there is none."""
    refusal = await investigations.creation_refusal(who)
    beamlines = sorted(investigations.beamlines)
    given = {"visit": "1", "beamline": beamlines[0].upper() if len(beamlines) == 1 else ""}
    return page(request, "investigation-new.html", who=who, given=given, refusal=refusal)


@router.post("/investigations/new")
async def make(
    request: Request,
    who: Visitor,
    investigations: UseInvestigations,
    name: Given = "",
    visit: Given = "1",
    title: Given = "",
    beamline: Given = "",
    start: Given = "",
    end: Given = "",
) -> Response:
    """Make it and show it, or show the form again with what is wrong."""
    given = {"name": name, "visit": visit, "title": title, "beamline": beamline, "start": start, "end": end}
    try:
        try:
            asked = Creation.model_validate({name: text for name, text in given.items() if text})
        except ValidationError as error:
            raise InvalidRequest(first_fault(error)) from error
        made = await investigations.create(asked, who)
    except Problem as problem:
        return page(request, "investigation-new.html", who=who, status=problem.status, given=given, problem=problem)
    return RedirectResponse(_address(made.id), 303)


@router.get("/investigations/{investigation_id}")
async def one_page(
    request: Request,
    investigation_id: InvestigationId,
    who: Visitor,
    investigations: UseInvestigations,
    reader: UseReader,
    edit: bool = False,
) -> Response:
    """Show one investigation; htmx asks for its description alone."""
    one = await investigations.one(investigation_id, who)
    describing = _describing(one, edit=edit)
    if asks_for_part(request):
        return part(request, "parts/describe.html", **describing)
    uploads, _ = await reader.uploads(
        who.user.index, lambda upload: who.user.may_see(upload) and upload.investigation == one.id, "", _UPLOADS_OF_ONE
    )
    return page(request, "investigation.html", who=who, one=one, uploads=uploads, **describing)


def _describing(one: InvestigationChoice, *, edit: bool) -> dict[str, Any]:
    address = _address(one.id)
    return {
        "said": one.described, "address": address, "change": f"{address}/description", "may": one.open, "edit": edit,
        "of_dataset": False,
    }  # fmt: skip


@router.post("/investigations/{investigation_id}/description")
async def describe(
    request: Request,
    investigation_id: InvestigationId,
    who: Visitor,
    investigations: UseInvestigations,
    description: Given = "",
    based_on: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Say what the investigation is."""
    try:
        asked = InvestigationText(description=description, based_on=based_on)
    except ValidationError as error:
        raise InvalidRequest(first_fault(error)) from error
    said = await investigations.describe(investigation_id, asked, who, traceparent(request.scope))
    if asks_for_part(request):
        one = await investigations.one(investigation_id, who)
        return part(request, "parts/describe.html", **_describing(one, edit=False) | {"said": said})
    return RedirectResponse(_address(investigation_id), 303)
