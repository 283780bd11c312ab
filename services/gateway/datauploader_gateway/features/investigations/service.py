"""Investigations of a person: list them in the order in which they are wanted, make one, describe one."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from datauploader import days
from datauploader.contracts import Event, InvestigationDescribed
from datauploader.contracts.names import check_name
from datauploader.contracts.questions import CreateInvestigation, InvestigationSummary
from datauploader.contracts.rest.descriptions import Description
from datauploader.contracts.rest.investigations import Choices, InvestigationChoice, Section
from datauploader.contracts.rest.uploads import Upload
from datauploader.runtime.config import Settings
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.errors import BadName, InvalidRequest, NotFound
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.features.descriptions.service import BasedOn, DescriptionService, Text, check_based_on
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.settings import SERVICE

_ORDER: tuple[Section, ...] = ("today", "used", "open", "closed")
_REMEMBERED = 100
"""Uploads of a person in which it is looked what they used last."""


def _one_line(text: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text):
        raise ValueError("this must be one line, without control characters")
    return text


Line = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_one_line)]


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


class InvestigationService:
    """Asks the catalogue for people's investigations, and publishes what they say of them."""

    def __init__(
        self, questions: QueryClient, reader: ViewReader, descriptions: DescriptionService, audit: AuditLog,
        common: Settings,
    ) -> None:  # fmt: skip
        """Ask through `questions`; `common` says which beamlines are here, and in which time zone."""
        self._questions, self._reader, self._descriptions = questions, reader, descriptions
        self._audit, self._common = audit, common

    @property
    def beamlines(self) -> set[str]:
        """The beamlines of this deployment."""
        return {station.beamline for station in self._common.all_stations}

    async def creation_refusal(self, who: Caller) -> str:
        """Say why somebody can make no investigation here, "" where they can."""
        found = await self._questions.investigations(who.user.id)
        return "" if found.may_create else found.create_refusal

    async def choices(self, who: Caller, *, text: str = "", beamline: str = "", limit: int = 200) -> Choices:
        """Return the investigations of a person, sorted.

        Raises:
            CatalogueAway: there was no answer.
        """
        found = await self._questions.investigations(who.user.id, text)
        used = last_used(await self.recent_uploads(who))
        here = {_plain(beamline)} if beamline else self.beamlines
        items = arranged(found.items, today=days.today(self._common.timezone), here=here, used=used)[:limit]
        said = await self._reader.investigations({item.id: item.description for item in items})
        return Choices(
            items=[item.model_copy(update={"described": said[item.id]}) for item in items],
            total=max(found.total, len(found.items)),
            may_create=found.may_create,
            create_refusal=found.create_refusal,
        )

    async def one(self, investigation_id: str, who: Caller) -> InvestigationChoice:
        """Return one investigation of a person.

        Raises:
            NotFound: there is none, or it is none of theirs.
        """
        found = await self.choices(who, text=investigation_id, limit=1000)
        for item in found.items:
            if item.id == investigation_id:
                return item
        raise NotFound(
            f"there is no investigation {investigation_id} of yours", hint="GET /api/v1/investigations lists yours."
        )

    async def recent_uploads(self, who: Caller) -> list[Upload]:
        """Return the uploads that a person asked for last, newest first."""
        found, _ = await self._reader.uploads(
            who.user.own_index, lambda upload: upload.requested_by.id == who.user.id, "", _REMEMBERED
        )
        return found

    async def create(self, asked: Creation, who: Caller) -> InvestigationChoice:
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
        made = await self._questions.create_investigation(wish)
        await self._audit.record(
            "investigation made", who=who.user.id, address=who.address, investigation=made.id, name=made.name
        )
        (item,) = arranged([made], today=days.today(self._common.timezone), here=self.beamlines, used={})
        return item

    async def describe(self, investigation_id: str, asked: InvestigationText, who: Caller, trace: str) -> Description:
        """Say what an investigation is; it is kept until the catalogue has it.

        Raises:
            NotAllowed: the person may not upload to it.
            ChangedMeanwhile: somebody has said something else since.
        """
        await self._questions.may_upload(who.user.id, investigation_id)
        found = await self._reader.investigations({investigation_id: ""})
        check_based_on(asked.based_on, found[investigation_id])
        data = InvestigationDescribed(
            investigation=investigation_id, description=asked.description, requested_by=who.user.person
        )
        event = Event(data=data, station=self._common.here, service=SERVICE, traceparent=trace)
        await self._descriptions.publish(event)
        await self._audit.record(
            "investigation described", who=who.user.id, address=who.address, investigation=investigation_id,
            word=event.id,
        )  # fmt: skip
        return (await self._reader.investigations({investigation_id: asked.description}))[investigation_id]


def last_used(uploads: Sequence[Upload]) -> dict[str, str]:
    """Return when each investigation was last asked for, by its id."""
    return {upload.investigation: upload.created for upload in reversed(uploads)}


def arranged(
    found: Sequence[InvestigationSummary], *, today: date, here: set[str], used: Mapping[str, str]
) -> list[InvestigationChoice]:
    """Sort: today's at this beamline, then those used last, the latest first, then the others as they came."""
    items = []
    for one in found:
        is_here = not one.beamline or _plain(one.beamline) in here
        is_today = one.start is not None and one.start <= today <= (one.end or today)
        section: Section = "open"
        if not one.open:
            section = "closed"
        elif is_here and is_today:
            section = "today"
        elif one.id in used:
            section = "used"
        described = Description(description=one.description)
        last = used.get(one.id)
        items.append(
            InvestigationChoice(
                **one.model_dump(), section=section, here=is_here, today=is_today, last_used=last, described=described
            )
        )
    items.sort(key=lambda item: item.last_used or "", reverse=True)
    items.sort(key=lambda item: _ORDER.index(item.section))
    return items


def _plain(beamline: str) -> str:
    """Write a beamline's name as the word of a station is written."""
    return re.sub(r"[^a-z0-9_-]+", "-", beamline.lower()).strip("-")
