"""Audits over REST: have what lies on the storage compared with the manifest, and see what was found."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from datauploader.contracts.rest.audits import Asked, Audits
from datauploader_gateway.features.audits.service import StorageAudits
from datauploader_gateway.http.dependencies import SignedIn, UploadInSight, use
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import traceparent

router = APIRouter(prefix="/uploads/{upload_id}/audits", tags=["audits"])

UseAudits = Annotated[StorageAudits, use(StorageAudits)]


class AuditBody(BaseModel):
    """How to compare."""

    model_config = ConfigDict(extra="forbid")

    read: bool = Field(default=False, description="Read every object back of which the storage has no hash.")
    accept: bool = Field(
        default=False, description="Complete the dataset although the storage contains unexpected objects."
    )


@router.get("", responses=documented(401, 403, 404, 422, 503), summary="What was found on the storage")
async def list_audits(upload: UploadInSight, audits: UseAudits) -> Audits:
    """List when what lies on the storage was compared with the manifest, and what was found."""
    items, asked = await audits.latest(upload)
    return Audits(items=items, asked=asked)


@router.post(
    "", status_code=202, responses=documented(401, 403, 404, 409, 422, 503), summary="Compare with the storage"
)
async def create_audit(
    upload: UploadInSight, request: Request, who: SignedIn, audits: UseAudits, body: AuditBody | None = None
) -> Asked:
    """Have what lies on the storage compared with the manifest; what was found comes with the events."""
    wanted = body or AuditBody()
    return await audits.request(upload, who, traceparent(request.scope), read=wanted.read, accept=wanted.accept)
