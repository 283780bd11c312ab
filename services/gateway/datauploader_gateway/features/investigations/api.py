"""Investigations of a person over REST."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from datauploader.contracts.rest.descriptions import Description
from datauploader.contracts.rest.investigations import Choices, InvestigationChoice
from datauploader_gateway.features.investigations.service import Creation, InvestigationService, InvestigationText
from datauploader_gateway.http.dependencies import SignedIn, use
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import traceparent

router = APIRouter(prefix="/investigations", tags=["investigations"])

UseInvestigations = Annotated[InvestigationService, use(InvestigationService)]
InvestigationId = Annotated[str, Path(min_length=1, max_length=200, description="Its identifier in the catalogue.")]


@router.get("", responses=documented(401, 403, 422, 503), summary="My investigations")
async def list_investigations(
    who: SignedIn,
    investigations: UseInvestigations,
    text: Annotated[
        str, Query(max_length=200, description="Words that stand in number, title, person or beamline")
    ] = "",
    beamline: Annotated[str, Query(max_length=60, description="Which one is here; empty: those of all stations")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Choices:
    """Ask the catalogue for the caller's investigations, closed ones as well, and sort them as they are wanted."""
    return await investigations.choices(who, text=text, beamline=beamline, limit=limit)


@router.post("", status_code=201, responses=documented(401, 403, 409, 422, 503), summary="Make an investigation")
async def create_investigation(
    asked: Creation, response: Response, who: SignedIn, investigations: UseInvestigations
) -> InvestigationChoice:
    """Make an investigation in the catalogue; the same once more gives the same one, and never a second."""
    made = await investigations.create(asked, who)
    response.headers["Location"] = f"/api/v1/investigations/{made.id}"
    return made


@router.get("/{investigation_id}", responses=documented(401, 403, 404, 422, 503), summary="One investigation")
async def show_investigation(
    investigation_id: InvestigationId, who: SignedIn, investigations: UseInvestigations
) -> InvestigationChoice:
    """Show one of the caller's investigations."""
    return await investigations.one(investigation_id, who)


@router.patch(
    "/{investigation_id}", status_code=202, responses=documented(401, 403, 409, 422, 503), summary="Describe one"
)
async def patch_investigation(
    investigation_id: InvestigationId,
    asked: InvestigationText,
    request: Request,
    who: SignedIn,
    investigations: UseInvestigations,
) -> Description:
    """Complete or correct the description; it is shown at once, and told to the catalogue until that has it."""
    return await investigations.describe(investigation_id, asked, who, traceparent(request.scope))
