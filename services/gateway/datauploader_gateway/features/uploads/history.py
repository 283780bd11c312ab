"""The history: everything that one may see, searchable."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from datauploader_gateway.features.new_upload.choices import known_stations
from datauploader_gateway.http import labels
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.rendering import asks_for_part, page, part
from datauploader_gateway.http.visitor import Visitor
from datauploader_gateway.projection.search import Search
from datauploader_gateway.projection.summary import UploadState

router = APIRouter(include_in_schema=False)

_PAGE = 25
Day = Annotated[date | Literal[""], Query()]


@router.get("/history")
async def history_page(
    request: Request,
    who: Visitor,
    parts: UseParts,
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
    items, following = await parts.reader.find(search, after, _PAGE)
    asked = {"text": text, "state": state, "station": station, "since": since, "until": until}
    context: dict[str, Any] = {
        "items": items, "asked": asked, "after": after, "following": following, "searched": any(asked.values()),
        "query": urlencode({name: value for name, value in asked.items() if value}), "me": who.user.id,
    }  # fmt: skip
    if asks_for_part(request):
        return part(request, "parts/history.html", **context)
    stations = [status.station for status in await known_stations(parts)] if who.user.role != "user" else []
    return page(
        request, parts, "history.html", who=who, stations=stations, states=labels.STATES, mail=await _mail(who, parts),
        **context,
    )  # fmt: skip


def midnight(day: date | Literal[""], more: int = 0) -> datetime | None:
    """Return the beginning of a day in UTC, or of one some days later; None where no day is named."""
    if not day:
        return None
    try:
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=more)
    except OverflowError:
        return None


async def _mail(who: Visitor, parts: Parts) -> dict[str, Any] | None:
    if not parts.settings.mail.on:
        return None
    addresses = parts.post.addresses
    return {"address": (await addresses.address_of(who.user.id)).address, "on": await addresses.wanted(who.user.id)}
