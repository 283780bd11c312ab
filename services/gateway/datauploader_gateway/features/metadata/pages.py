"""What harvesters have read, as a page of an upload and as a part of its page."""

# ruff: noqa: FAST003 - the dependency upload_on_page reads upload_id

from fastapi import APIRouter, Request
from starlette.responses import Response

from datauploader_gateway.http.dependencies import UseHarvests
from datauploader_gateway.http.rendering import asks_for_part, page, part
from datauploader_gateway.http.visitor import UploadOnPage, Visitor

router = APIRouter(include_in_schema=False)


@router.get("/uploads/{upload_id}/pictures")
async def pictures_part(request: Request, upload: UploadOnPage, harvests: UseHarvests) -> Response:
    """Show the pictures of an upload, as a part of its page."""
    return part(request, "parts/pictures.html", upload=upload, harvest=await harvests.files(upload))


@router.get("/uploads/{upload_id}/metadata")
async def metadata_page(request: Request, upload: UploadOnPage, who: Visitor, harvests: UseHarvests) -> Response:
    """Show all that is kept of what was read in files; as a part, that of the first of them."""
    harvest = await harvests.files(upload)
    if asks_for_part(request):
        return part(request, "parts/metadata.html", upload=upload, harvest=harvest, most=FIRST)
    return page(request, "metadata.html", who=who, upload=upload, harvest=harvest, most=None)


FIRST = 5
"""Files of which values stand on the page of an upload itself."""
