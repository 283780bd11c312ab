"""Audits over REST: have what lies on the storage compared with the manifest, and see what was found."""

import uuid
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from datauploader.contracts import AuditRequested, Destination, Event, EventData, Station
from datauploader_gateway.auth.dependency import Caller, SignedIn, UploadInSight
from datauploader_gateway.errors import NothingToCompare
from datauploader_gateway.features.uploads.api import show_at_once
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.projection.audited import Audit, audits_of
from datauploader_gateway.projection.summary import Upload
from datauploader_gateway.settings import SERVICE

router = APIRouter(prefix="/uploads/{upload_id}/audits", tags=["audits"])

_SAME = timedelta(minutes=1)
"""Within so long an audit that has no answer yet is not asked for once more."""


class AuditBody(BaseModel):
    """How to compare."""

    model_config = ConfigDict(extra="forbid")

    read: bool = Field(default=False, description="Read every object back of which the storage has no hash.")
    accept: bool = Field(
        default=False, description="Complete the dataset although the storage contains unexpected objects."
    )


class Asked(BaseModel):
    """An audit that was asked for."""

    audit: str
    asked: str
    read: bool = False
    accept: bool = False


class Audits(BaseModel):
    """The latest audits of an upload, the newest first, and the one that is being done."""

    items: list[Audit]
    asked: Asked | None = None


@router.get("", responses=documented(401, 403, 404, 422, 503), summary="What was found on the storage")
async def list_audits(upload: UploadInSight, parts: UseParts) -> Audits:
    """List when what lies on the storage was compared with the manifest, and what was found."""
    registers = await parts.reader.registers(upload.id)
    said = registers["audits"].data if "audits" in registers else {}
    asked = registers["audit"] if "audit" in registers and upload.auditing else None
    return Audits(
        items=audits_of(said), asked=Asked.model_validate({**asked.data, "asked": asked.time}) if asked else None
    )


@router.post(
    "", status_code=202, responses=documented(401, 403, 404, 409, 422, 503), summary="Compare with the storage"
)
async def create_audit(
    upload: UploadInSight, request: Request, who: SignedIn, parts: UseParts, body: AuditBody | None = None
) -> Asked:
    """Have what lies on the storage compared with the manifest; what was found comes with the events."""
    return await begin_audit(upload, body or AuditBody(), request, who, parts)


async def begin_audit(upload: Upload, body: AuditBody, request: Request, who: Caller, parts: Parts) -> Asked:
    """Pass a person's wish on to the station's transfer service; one that is under way already serves as well.

    Raises:
        NothingToCompare: nothing of the upload can be on the storage.
    """
    if upload.state in ("requested", "rejected"):
        raise NothingToCompare(f"the upload is {upload.state}: there is nothing on the storage to compare yet")
    under_way = (await list_audits(upload, parts)).asked
    if under_way and (under_way.read, under_way.accept) == (body.read, body.accept) and _is_fresh(under_way):
        return under_way
    data = AuditRequested(
        upload_id=upload.id, audit=uuid.uuid4().hex, read=body.read, accept=body.accept, requested_by=who.user.person,
        destination=Destination(remote=upload.remote, location=upload.location),
        manifest_sha256=upload.manifest_sha256 or None, files=upload.counts.found.files if upload.sealed else 0,
    )  # fmt: skip
    event: Event[EventData] = Event(
        data=data, station=Station.parse(upload.station), service=SERVICE, traceparent=traceparent(request.scope)
    )
    parts.intake.publish_event(event)
    await show_at_once(event, parts)
    await parts.audit.record(
        "storage compared", who=who.user.id, address=who.address, upload_id=upload.id,
        accept="yes" if body.accept else "no",
    )  # fmt: skip
    return Asked(audit=data.audit, asked=event.time.isoformat(), read=body.read, accept=body.accept)


def _is_fresh(asked: Asked) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(asked.asked) < _SAME
