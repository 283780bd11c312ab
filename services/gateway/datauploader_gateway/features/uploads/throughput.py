"""How fast uploads and stations have been."""

# ruff: noqa: FAST003 - the dependency UploadInSight reads upload_id

from datetime import UTC, datetime
from typing import Annotated, Self

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from datauploader_gateway.auth.dependency import SignedIn, UploadInSight
from datauploader_gateway.features.new_upload.choices import find_station
from datauploader_gateway.http.parts import UseParts
from datauploader_gateway.http.problems import documented
from datauploader_gateway.projection.flow import Flow

router = APIRouter(tags=["throughput"])


class Throughput(BaseModel):
    """Bytes that moved in equal steps of time; what was reported of it, so that it may lack a second here and there."""

    begin: datetime | None = Field(description="When the first step begins; null while nothing has moved.")
    step_s: int = Field(description="Seconds of a step; they grow as the upload does, so that there are at most 120.")
    bytes: list[int]

    @classmethod
    def of(cls, flow: Flow) -> Self:
        """Tell a series."""
        begin = datetime.fromtimestamp(flow.first * flow.width_s, UTC) if flow.amounts else None
        return cls(begin=begin, step_s=flow.width_s, bytes=list(flow.amounts))


@router.get(
    "/uploads/{upload_id}/throughput", responses=documented(401, 403, 404, 422, 503), summary="Speed of an upload"
)
async def upload_throughput(upload: UploadInSight, parts: UseParts) -> Throughput:
    """Say how much of an upload moved when."""
    return Throughput.of(await parts.reader.flow(upload.id))


@router.get("/stations/{station}/throughput", responses=documented(401, 403, 422, 503), summary="Speed of a station")
async def station_throughput(
    station: Annotated[str, Path(description="facility.beamline.station", max_length=200)],
    who: SignedIn,  # noqa: ARG001 - one must be signed in
    parts: UseParts,
) -> Throughput:
    """Say how much of a station moved within the last day, in steps of five minutes."""
    known = await find_station(parts, station)
    return Throughput.of(await parts.reader.station_flow(known.key, datetime.now(UTC)))
