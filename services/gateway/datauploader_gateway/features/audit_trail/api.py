"""The record of what people did, for those who answer for it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from datauploader_gateway.auth.audit_log import AuditEntry, AuditFilter, Visible
from datauploader_gateway.auth.dependency import Caller, SignedIn
from datauploader_gateway.errors import NotAllowed
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented

router = APIRouter(tags=["audit"])


class AuditPage(BaseModel):
    """A page of entries, newest first."""

    items: list[AuditEntry]
    next: str | None


@router.get("/audit", responses=documented(401, 403, 422, 503), summary="Who did what")
async def list_audit(
    who: SignedIn,
    parts: UseParts,
    text: Annotated[str, Query(max_length=200, description="Words that all stand in an entry")] = "",
    person: Annotated[str, Query(max_length=200)] = "",
    since: Annotated[datetime | None, Query(description="At this moment or later; UTC unless it says")] = None,
    until: Annotated[datetime | None, Query(description="Before this moment")] = None,
    after: Annotated[str, Query(max_length=50, description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditPage:
    """List what people did: everything for operators, what concerns uploads of their beamlines for staff."""
    wanted = AuditFilter(text=text, who=person, since=since, until=until)
    items, cursor = await parts.audit.entries(wanted, visible_to(who, parts), after, limit)
    return AuditPage(items=items, next=cursor)


def visible_to(who: Caller, parts: Parts) -> Visible:
    """Return what leaves out of the record what somebody may not see.

    Raises:
        NotAllowed: they may see nothing of it.
    """
    if who.user.role == "user":
        raise NotAllowed("the record of what people did is for operators and beamline staff")

    async def of_uploads(entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        ids = list({entry.about["upload_id"] for entry in entries if "upload_id" in entry.about})
        uploads = await parts.reader.several(ids)
        seen = {upload.id for upload in uploads if upload and who.user.may_see_of("", upload.station)}
        return [entry for entry in entries if entry.about.get("upload_id") in seen]

    async def everything(entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        return entries

    return everything if who.user.role == "operator" else of_uploads
