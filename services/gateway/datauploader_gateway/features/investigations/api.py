"""Investigations of a person: list them in the order in which they are wanted, make one, describe one."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from datauploader import days
from datauploader.contracts import Event, InvestigationDescribed
from datauploader.contracts.names import check_name
from datauploader.contracts.questions import CreateInvestigation, InvestigationSummary
from datauploader_gateway.auth.dependency import Caller, SignedIn
from datauploader_gateway.errors import BadName, InvalidRequest, NotFound
from datauploader_gateway.features.descriptions.api import BasedOn, Text, check_based_on, say
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.projection.description import Description
from datauploader_gateway.projection.summary import Upload
from datauploader_gateway.settings import SERVICE

router = APIRouter(prefix="/investigations", tags=["investigations"])

Section = Literal["today", "used", "open", "closed"]
_ORDER: tuple[Section, ...] = ("today", "used", "open", "closed")
_REMEMBERED = 100
"""Uploads of a person in which it is looked what they used last."""


def _one_line(text: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text):
        raise ValueError("this must be one line, without control characters")
    return text


Line = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_one_line)]
InvestigationId = Annotated[str, Path(min_length=1, max_length=200, description="Its identifier in the catalogue.")]


class InvestigationChoice(InvestigationSummary):
    """An investigation that a person may choose, and what helps them to."""

    section: Section = Field(
        description="`today`: running, at this beamline; `used`: used last; `open`: others; `closed`: takes no uploads."
    )
    here: bool = Field(description="It is of a beamline of this deployment, or the catalogue does not say of which.")
    today: bool = Field(description="Today is one of its days.")
    last_used: str | None = Field(description="When this person last asked for an upload to it.")
    described: Description = Field(description="What is said of it, also where the catalogue does not have it yet.")


class Choices(BaseModel):
    """Investigations: today's at this beamline, then the last used, then other open ones, then closed ones."""

    items: list[InvestigationChoice]
    total: int = Field(description="How many there are, also where some were left out.")
    may_create: bool
    create_refusal: str = Field(description="Why none can be made here.")


class Creation(BaseModel):
    """An investigation to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200, description="A proposal number at most facilities.")
    visit: Annotated[Line, Field(min_length=1, max_length=60)] = "1"
    title: Annotated[Line, Field(min_length=1, max_length=500)]
    beamline: Annotated[Line, Field(max_length=60)] = ""
    start: date | None = None
    end: date | None = Field(default=None, description="The last day.")


class InvestigationText(BaseModel):
    """What is to be said of an investigation."""

    model_config = ConfigDict(extra="forbid")

    description: Text
    based_on: BasedOn = None


@router.get("", responses=documented(401, 403, 422, 503), summary="My investigations")
async def list_investigations(
    who: SignedIn,
    parts: UseParts,
    text: Annotated[
        str, Query(max_length=200, description="Words that stand in number, title, person or beamline")
    ] = "",
    beamline: Annotated[str, Query(max_length=60, description="Which one is here; empty: those of all stations")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Choices:
    """Ask the catalogue for the caller's investigations, closed ones as well, and sort them as they are wanted."""
    return await choices(who, parts, text=text, beamline=beamline, limit=limit)


@router.post("", status_code=201, responses=documented(401, 403, 409, 422, 503), summary="Make an investigation")
async def create_investigation(
    asked: Creation, response: Response, who: SignedIn, parts: UseParts
) -> InvestigationChoice:
    """Make an investigation in the catalogue; the same once more gives the same one, and never a second."""
    made = await create(asked, who, parts)
    response.headers["Location"] = f"/api/v1/investigations/{made.id}"
    return made


@router.get("/{investigation_id}", responses=documented(401, 403, 404, 422, 503), summary="One investigation")
async def show_investigation(investigation_id: InvestigationId, who: SignedIn, parts: UseParts) -> InvestigationChoice:
    """Show one of the caller's investigations."""
    return await one(investigation_id, who, parts)


@router.patch(
    "/{investigation_id}", status_code=202, responses=documented(401, 403, 409, 422, 503), summary="Describe one"
)
async def patch_investigation(
    investigation_id: InvestigationId, asked: InvestigationText, request: Request, who: SignedIn, parts: UseParts
) -> Description:
    """Complete or correct the description; it is shown at once, and told to the catalogue until that has it."""
    return await describe(investigation_id, asked, who, parts, traceparent=traceparent(request.scope))


async def choices(who: Caller, parts: Parts, *, text: str = "", beamline: str = "", limit: int = 200) -> Choices:
    """Return the investigations of a person, sorted.

    Raises:
        CatalogueAway: there was no answer.
    """
    found = await parts.questions.investigations(who.user.id, text)
    used = last_used(await recent_uploads(who, parts))
    here = {_plain(beamline)} if beamline else {station.beamline for station in parts.common.all_stations}
    items = arranged(found.items, today=days.today(parts.common.timezone), here=here, used=used)[:limit]
    said = await parts.reader.investigations({item.id: item.description for item in items})
    return Choices(
        items=[item.model_copy(update={"described": said[item.id]}) for item in items],
        total=max(found.total, len(found.items)),
        may_create=found.may_create,
        create_refusal=found.create_refusal,
    )


async def one(investigation_id: str, who: Caller, parts: Parts) -> InvestigationChoice:
    """Return one investigation of a person.

    Raises:
        NotFound: there is none, or it is none of theirs.
    """
    found = await choices(who, parts, text=investigation_id, limit=1000)
    for item in found.items:
        if item.id == investigation_id:
            return item
    raise NotFound(
        f"there is no investigation {investigation_id} of yours", hint="GET /api/v1/investigations lists yours."
    )


async def recent_uploads(who: Caller, parts: Parts) -> list[Upload]:
    """Return the uploads that a person asked for last, newest first."""
    found, _ = await parts.reader.uploads(
        who.user.own_index, lambda upload: upload.requested_by.id == who.user.id, "", _REMEMBERED
    )
    return found


def last_used(uploads: Sequence[Upload]) -> dict[str, str]:
    """Return when each investigation was last asked for, by its id."""
    return {upload.investigation: upload.created for upload in reversed(uploads)}


def arranged(
    found: Sequence[InvestigationSummary], *, today: date, here: set[str], used: Mapping[str, str]
) -> list[InvestigationChoice]:
    """Sort: today's at this beamline, then those used last, the latest first, then the others as they came."""
    items = [_choice(one, today, here, used) for one in found]
    items.sort(key=lambda item: item.last_used or "", reverse=True)
    items.sort(key=lambda item: _ORDER.index(item.section))
    return items


def _choice(one: InvestigationSummary, today: date, here: set[str], used: Mapping[str, str]) -> InvestigationChoice:
    is_here = not one.beamline or _plain(one.beamline) in here
    is_today = one.start is not None and one.start <= today <= (one.end or today)
    section: Section = "open"
    if not one.open:
        section = "closed"
    elif is_here and is_today:
        section = "today"
    elif one.id in used:
        section = "used"
    return InvestigationChoice(
        **one.model_dump(),
        section=section,
        here=is_here,
        today=is_today,
        last_used=used.get(one.id),
        described=Description(description=one.description),
    )


def _plain(beamline: str) -> str:
    """Write a beamline's name as the word of a station is written."""
    return re.sub(r"[^a-z0-9_-]+", "-", beamline.lower()).strip("-")


async def create(asked: Creation, who: Caller, parts: Parts) -> InvestigationChoice:
    """Make an investigation.

    Raises:
        Problem: it cannot be made, or exists as another one, or the catalogue did not answer.
    """
    try:
        check_name(asked.name)
    except ValueError as error:
        raise BadName(f"name: {error}") from error
    if asked.start and asked.end and asked.end < asked.start:
        raise InvalidRequest("end: it ends before it begins")
    wish = CreateInvestigation(
        user_id=who.user.id, investigation=asked.name, **asked.model_dump(exclude={"name"}, exclude_none=True)
    )
    made = await parts.questions.create_investigation(wish)
    await parts.audit.record(
        "investigation made", who=who.user.id, address=who.address, investigation=made.id, name=made.name
    )
    here = {station.beamline for station in parts.common.all_stations}
    (item,) = arranged([made], today=days.today(parts.common.timezone), here=here, used={})
    return item


async def describe(
    investigation_id: str, asked: InvestigationText, who: Caller, parts: Parts, *, traceparent: str
) -> Description:
    """Say what an investigation is; it is kept until the catalogue has it.

    Raises:
        NotAllowed: the person may not upload to it.
        ChangedMeanwhile: somebody has said something else since.
    """
    await parts.questions.may_upload(who.user.id, investigation_id)
    found = await parts.reader.investigations({investigation_id: ""})
    check_based_on(asked.based_on, found[investigation_id])
    data = InvestigationDescribed(
        investigation=investigation_id, description=asked.description, requested_by=who.user.person
    )
    event = Event(data=data, station=parts.common.here, service=SERVICE, traceparent=traceparent)
    await say(event, parts)
    await parts.audit.record(
        "investigation described", who=who.user.id, address=who.address, investigation=investigation_id, word=event.id
    )
    return (await parts.reader.investigations({investigation_id: asked.description}))[investigation_id]
