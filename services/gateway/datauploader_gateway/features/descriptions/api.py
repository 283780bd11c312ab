"""What is said about the dataset of an upload, over REST."""

# ruff: noqa: FAST003 - the dependency UploadInSight reads upload_id

from typing import Annotated

from fastapi import APIRouter, Request

from datauploader.contracts.rest.descriptions import Description
from datauploader_gateway.features.descriptions.service import DatasetText, DescriptionService
from datauploader_gateway.http.dependencies import SignedIn, UploadInSight, use
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import traceparent

router = APIRouter(prefix="/uploads", tags=["uploads"])

UseDescriptions = Annotated[DescriptionService, use(DescriptionService)]


@router.get(
    "/{upload_id}/dataset", responses=documented(401, 403, 404, 422, 503), summary="What is said of the dataset"
)
async def show_description(upload: UploadInSight, descriptions: UseDescriptions) -> Description:
    """Show description and parameters, and whether the catalogue has them."""
    return await descriptions.of_dataset(upload)


@router.patch(
    "/{upload_id}/dataset", status_code=202, responses=documented(401, 403, 404, 409, 422, 503), summary="Describe it"
)
async def patch_description(
    upload: UploadInSight, asked: DatasetText, request: Request, who: SignedIn, descriptions: UseDescriptions
) -> Description:
    """Complete or correct description and parameters; shown at once, and told to the catalogue until that has it."""
    return await descriptions.describe_dataset(upload, asked, who, traceparent(request.scope))
