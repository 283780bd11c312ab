"""What there is to choose from for an upload, and trying one, over REST; `uploads` has the route that begins it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from datauploader.contracts import Station
from datauploader.contracts.previews import FoundValues
from datauploader.contracts.questions import Folder
from datauploader.contracts.rest.previews import UploadPreview
from datauploader.contracts.rest.stations import Stations
from datauploader_gateway.auth.rights import StationRights
from datauploader_gateway.errors import CatalogueAway
from datauploader_gateway.features.new_upload.metadata import MetadataForm
from datauploader_gateway.features.new_upload.previews import UploadPreviews
from datauploader_gateway.features.new_upload.requests import UploadBody, UploadRequests
from datauploader_gateway.http.dependencies import SignedIn, use
from datauploader_gateway.http.problems import documented
from datauploader_gateway.http.trace import traceparent
from datauploader_gateway.projection.stations import StationDirectory

router = APIRouter(tags=["choices"])
trials = APIRouter(prefix="/uploads", tags=["uploads"])

UseRequests = Annotated[UploadRequests, use(UploadRequests)]
UsePreviews = Annotated[UploadPreviews, use(UploadPreviews)]
UseStations = Annotated[StationDirectory, use(StationDirectory)]
UseRights = Annotated[StationRights, use(StationRights)]


class Remote(BaseModel):
    """A place that uploads can go to."""

    name: str


class Remotes(BaseModel):
    """All places; `default` is the one to use where there is no choice."""

    items: list[Remote]
    default: str | None


@router.get("/remotes", responses=documented(401, 403, 503), summary="Where uploads can go")
async def list_remotes(who: SignedIn, requests: UseRequests) -> Remotes:  # noqa: ARG001 - one must be signed in
    """List the remotes that the administrator has defined."""
    return Remotes(items=[Remote(name=name) for name in requests.remotes], default=requests.default_remote)


@router.get("/stations", responses=documented(401, 403, 503), summary="Stations and how they are")
async def list_stations(who: SignedIn, stations: UseStations, rights: UseRights) -> Stations:
    """List the stations; one whose watcher has missed three reports is silent.

    Of stations that the caller may not upload from, folders, disks and troubles are left out.
    """
    hidden = {"host": "", "others": (), "troubles": (), "roots": (), "state_disk": None}
    items = []
    for status in await stations.known():
        try:
            holds = await rights.holds(who.user, Station.parse(status.station))
        except CatalogueAway:
            holds = False  # nobody can tell
        services = status.services if holds else tuple(one.model_copy(update=hidden) for one in status.services)
        items.append(status.model_copy(update={"services": services}))
    return Stations(items=items)


@router.get(
    "/stations/{station}/folders", responses=documented(401, 403, 404, 422, 503, 504), summary="What lies in a folder"
)
async def list_folder(
    station: Annotated[str, Path(description="facility.beamline.station", max_length=200)],
    who: SignedIn,
    stations: UseStations,
    rights: UseRights,
    path: Annotated[str, Query(max_length=4096, description="absolute; empty for the roots")] = "",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    contains: Annotated[str, Query(max_length=255, description="only names that hold this, in any case")] = "",
    counts: Annotated[
        bool, Query(description="say of folders how many entries they have, where that is quick")
    ] = False,
) -> Folder:
    """Ask the station's watcher, about what is the caller's to upload."""
    place = await stations.find(station)
    return await rights.folder(who.user, place, path, offset, limit, contains=contains, counts=counts)


class MetadataSchema(BaseModel):
    """What this facility asks about every dataset."""

    json_schema: dict[str, Any] | None = Field(
        description="A JSON Schema of dataset.parameters by name; null: nothing."
    )


@router.get("/metadata-schema", responses=documented(401, 403, 503), summary="What is asked about a dataset")
async def show_metadata_schema(
    who: SignedIn,  # noqa: ARG001 - one must be signed in
    metadata: Annotated[MetadataForm, use(MetadataForm)],
) -> MetadataSchema:
    """Return the JSON Schema that the names and values of `dataset.parameters` must keep to."""
    return MetadataSchema(json_schema=metadata.schema)


@trials.post("/preview", responses=documented(401, 403, 409, 413, 422, 503, 504), summary="Try an upload")
async def preview(asked: UploadBody, request: Request, who: SignedIn, previews: UsePreviews) -> UploadPreview:
    """Check the wish as `POST /uploads` does, and have the station count what it would find."""
    return await previews.preview(asked, who.user, trace=traceparent(request.scope))


@trials.post("/values", responses=documented(401, 403, 413, 422, 503, 504), summary="What the files say of themselves")
async def read_values(asked: UploadBody, request: Request, who: SignedIn, previews: UsePreviews) -> FoundValues:
    """Check the wish as `POST /uploads` does, and have the station read what some of its files say."""
    return await previews.values(asked, who.user, traceparent(request.scope))
