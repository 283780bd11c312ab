"""On the page of an upload: when its storage was compared with the manifest, and buttons that have it done."""

# ruff: noqa: FAST003 - the dependency upload_on_page reads upload_id

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from datauploader_gateway.features.audits.service import StorageAudits
from datauploader_gateway.http.dependencies import UseReader, use
from datauploader_gateway.http.rendering import asks_for_part, part
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.http.visitor import UploadOnPage, Visitor

router = APIRouter(include_in_schema=False)


@router.get("/uploads/{upload_id}/audits")
async def audits(request: Request, upload: UploadOnPage) -> Response:
    """Show how the storage was last found."""
    if asks_for_part(request):
        return part(request, "parts/audits.html", upload=upload)
    return RedirectResponse(f"/uploads/{upload.id}", 303)


@router.post("/uploads/{upload_id}/audits")
async def compare(
    request: Request,
    upload: UploadOnPage,
    who: Visitor,
    requests: Annotated[StorageAudits, use(StorageAudits)],
    reader: UseReader,
    accept: Annotated[bool, Form()] = False,
) -> Response:
    """Have the storage compared with the manifest, and show that this is being done."""
    await requests.request(upload, who, traceparent(request.scope), read=False, accept=accept)
    changed = await reader.upload(upload.id) or upload
    if asks_for_part(request):
        return part(request, "parts/audits.html", upload=changed)
    return RedirectResponse(f"/uploads/{upload.id}", 303)
