"""What harvesters have read over REST: values and pictures of the files of an upload."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from datauploader_gateway.errors import NotFound
from datauploader_gateway.http.dependencies import UploadInSight, UseHarvests
from datauploader_gateway.http.problems import documented
from datauploader_gateway.projection.harvest_reader import HarvestedFiles

router = APIRouter(prefix="/uploads/{upload_id}", tags=["metadata"])


@router.get("/metadata", responses=documented(401, 403, 404, 422, 503), summary="What was read in the files")
async def list_metadata(upload: UploadInSight, harvests: UseHarvests) -> HarvestedFiles:
    """List what harvesters have read in the first files by path, who has read it, and which pictures there are."""
    return await harvests.files(upload)


@router.get(
    "/pictures/{sha256}",
    response_class=Response,
    responses=documented(401, 403, 404, 422, 503)
    | {200: {"content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}}}},
    summary="A picture of what is in a file",
)
async def show_picture(
    upload: UploadInSight, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")], harvests: UseHarvests
) -> Response:
    """Send a small picture that a harvester has drawn; the latest some thousand of all uploads are kept."""
    found = await harvests.picture(upload.id, sha256)
    if found is None:
        raise NotFound(
            f"upload {upload.id} has no picture {sha256[:12]}… any more",
            hint="The latest pictures of all uploads are kept. An operator can have them drawn again: harvest replay.",
        )
    media_type, content = found
    name = f"{sha256[:12]}.{media_type.removeprefix('image/')}"
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'inline; filename="{name}"'})
