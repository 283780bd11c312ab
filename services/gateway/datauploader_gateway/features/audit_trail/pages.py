"""The record of what people did, as a page."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from datauploader_gateway.auth.audit_log import AuditFilter
from datauploader_gateway.features.audit_trail.service import AuditTrail
from datauploader_gateway.http.days import Day, midnight
from datauploader_gateway.http.dependencies import use
from datauploader_gateway.http.rendering import asks_for_part, page, part
from datauploader_gateway.http.visitor import Visitor

router = APIRouter(include_in_schema=False)

_PAGE = 50


@router.get("/audit")
async def audit_page(
    request: Request,
    who: Visitor,
    trail: Annotated[AuditTrail, use(AuditTrail)],
    text: Annotated[str, Query(max_length=200)] = "",
    person: Annotated[str, Query(max_length=200)] = "",
    since: Day = "",
    until: Day = "",
    after: Annotated[str, Query(max_length=50)] = "",
) -> Response:
    """Show who did what, when and from where."""
    wanted = AuditFilter(text=text, who=person, since=midnight(since), until=midnight(until, 1))
    items, following = await trail.entries(who, wanted, after, _PAGE)
    asked = {"text": text, "person": person, "since": since, "until": until}
    context: dict[str, Any] = {
        "items": items, "asked": asked, "after": after, "following": following,
        "query": urlencode({name: value for name, value in asked.items() if value}),
    }  # fmt: skip
    if asks_for_part(request):
        return part(request, "parts/audit.html", **context)
    return page(request, "audit.html", who=who, **context)
