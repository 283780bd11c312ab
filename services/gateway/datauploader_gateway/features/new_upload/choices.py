"""What there is to choose from: remotes, stations and their folders; `investigations` has its own module."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from datauploader.contracts import Station
from datauploader.contracts.questions import Folder
from datauploader_gateway.auth.dependency import SignedIn
from datauploader_gateway.auth.person import User
from datauploader_gateway.errors import CatalogueAway, UnknownStation
from datauploader_gateway.http.parts import Parts, UseParts
from datauploader_gateway.http.problems import documented
from datauploader_gateway.projection.reader import StationStatus

router = APIRouter(tags=["choices"])


class Remote(BaseModel):
    """A place that uploads can go to."""

    name: str


class Remotes(BaseModel):
    """All places; `default` is the one to use where there is no choice."""

    items: list[Remote]
    default: str | None


class Stations(BaseModel):
    """All stations that are configured or have reported."""

    items: list[StationStatus]


@router.get("/remotes", responses=documented(401, 403, 503), summary="Where uploads can go")
async def list_remotes(who: SignedIn, parts: UseParts) -> Remotes:  # noqa: ARG001 - one must be signed in
    """List the remotes that the administrator has defined."""
    return Remotes(items=[Remote(name=name) for name in sorted(parts.common.remotes)], default=default_remote(parts))


@router.get("/stations", responses=documented(401, 403, 503), summary="Stations and how they are")
async def list_stations(who: SignedIn, parts: UseParts) -> Stations:
    """List the stations; one whose watcher has missed three reports is silent.

    Of stations that the caller may not upload from, folders, disks and troubles are left out.
    """
    return Stations(items=[await _told(status, who.user, parts) for status in await known_stations(parts)])


@router.get(
    "/stations/{station}/folders", responses=documented(401, 403, 404, 422, 503, 504), summary="What lies in a folder"
)
async def list_folder(
    station: Annotated[str, Path(description="facility.beamline.station", max_length=200)],
    who: SignedIn,
    parts: UseParts,
    path: Annotated[str, Query(max_length=4096, description="absolute; empty for the roots")] = "",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    contains: Annotated[str, Query(max_length=255, description="only names that hold this, in any case")] = "",
    counts: Annotated[
        bool, Query(description="say of folders how many entries they have, where that is quick")
    ] = False,
) -> Folder:
    """Ask the station's watcher, about what is the caller's to upload."""
    place = await find_station(parts, station)
    return await parts.rights.folder(who.user, place, path, offset, limit, contains=contains, counts=counts)


class MetadataSchema(BaseModel):
    """What this facility asks about every dataset."""

    json_schema: dict[str, Any] | None = Field(
        description="A JSON Schema of dataset.parameters by name; null: nothing."
    )


@router.get("/metadata-schema", responses=documented(401, 403, 503), summary="What is asked about a dataset")
async def show_metadata_schema(who: SignedIn, parts: UseParts) -> MetadataSchema:  # noqa: ARG001 - one must be signed in
    """Return the JSON Schema that the names and values of `dataset.parameters` must keep to."""
    return MetadataSchema(json_schema=parts.metadata.schema)


async def _told(status: StationStatus, user: User, parts: Parts) -> StationStatus:
    try:
        if await parts.rights.holds(user, Station.parse(status.station)):
            return status
    except CatalogueAway:
        pass  # nobody can tell
    return status.without_details()


def default_remote(parts: Parts) -> str | None:
    """Return the only remote, None where there are several or none."""
    return next(iter(parts.common.remotes)) if len(parts.common.remotes) == 1 else None


async def known_stations(parts: Parts) -> list[StationStatus]:
    """Return all stations as the view knows them, without the harvesters, which report as stations do."""
    found = await parts.reader.stations([s.key for s in parts.common.all_stations], datetime.now(UTC))
    return [status for status in found if not Station.parse(status.station).is_harvester]


async def find_station(parts: Parts, text: str) -> Station:
    """Return the station of this name.

    Raises:
        UnknownStation: it is neither configured nor has it ever reported.
    """
    known = [status.station for status in await known_stations(parts)]
    try:
        station = Station.parse(text)
    except ValueError as error:
        raise UnknownStation(str(error)) from error
    if station.key not in known:
        raise UnknownStation(f"there is no station {station.key!r}; there are: {', '.join(known)}")
    return station
