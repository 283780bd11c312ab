"""The record of what people did, for those who answer for it."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from datauploader_gateway.auth.audit_log import AuditEntry, AuditFilter
from datauploader_gateway.features.audit_trail.service import AuditTrail
from datauploader_gateway.http.dependencies import SignedIn, use
from datauploader_gateway.http.problems import documented

router = APIRouter(tags=["audit"])


class AuditPage(BaseModel):
    """A page of entries, newest first."""

    items: list[AuditEntry]
    next: str | None


@router.get("/audit", responses=documented(401, 403, 422, 503), summary="Who did what")
async def list_audit(
    who: SignedIn,
    trail: Annotated[AuditTrail, use(AuditTrail)],
    text: Annotated[str, Query(max_length=200, description="Words that all stand in an entry")] = "",
    person: Annotated[str, Query(max_length=200)] = "",
    since: Annotated[datetime | None, Query(description="At this moment or later; UTC unless it says")] = None,
    until: Annotated[datetime | None, Query(description="Before this moment")] = None,
    after: Annotated[str, Query(max_length=50, description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditPage:
    """List what people did: everything for operators, what concerns uploads of their beamlines for staff."""
    wanted = AuditFilter(text=text, who=person, since=since, until=until)
    items, cursor = await trail.entries(who, wanted, after, limit)
    return AuditPage(items=items, next=cursor)
