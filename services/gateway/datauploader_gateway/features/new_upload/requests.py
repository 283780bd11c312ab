"""From what a person asks for to the event that says it, with every check on the way."""

import re
import secrets
import unicodedata
from functools import partial
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from datauploader.contracts import DatasetSpec, Destination, Event, Parameter, Station, UploadRequested, encode
from datauploader.contracts.envelope import LARGEST_ACCEPTED
from datauploader.contracts.model import UploadId
from datauploader.contracts.names import check_location, check_name
from datauploader.contracts.questions import UploadRight
from datauploader_gateway.auth.person import User
from datauploader_gateway.errors import (
    BadName,
    BadPath,
    InvalidRequest,
    NotAllowed,
    NotFound,
    StationSilent,
    UnknownRemote,
)
from datauploader_gateway.features.new_upload.choices import default_remote, find_station
from datauploader_gateway.features.new_upload.datasets import to_continue
from datauploader_gateway.http.parts import Parts
from datauploader_gateway.paths import child, pure
from datauploader_gateway.settings import SERVICE

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=500)]


Composed = Annotated[str, AfterValidator(partial(unicodedata.normalize, "NFC"))]
"""Text in which an accented letter is one character, as keyboards write it; macOS' file names have it otherwise."""


class DatasetBody(BaseModel):
    """The dataset that the files become."""

    model_config = ConfigDict(extra="forbid")

    name: Composed = Field(min_length=1, max_length=400)
    type: str = Field(default="raw", max_length=60)
    description: str = Field(default="", max_length=4000)
    parameters: tuple[Parameter, ...] = Field(default=(), max_length=200)


class UploadBody(BaseModel):
    """A wish to upload: which files of which station become which dataset."""

    model_config = ConfigDict(extra="forbid")

    investigation: str = Field(min_length=1, max_length=200, description="Its identifier in the catalogue.")
    dataset: DatasetBody
    station: str = Field(max_length=200, description="facility.beamline.station")
    path: str = Field(min_length=1, max_length=4096, description="Absolute folder or file on the station.")
    kind: Literal["folder", "file"] | None = Field(default=None, description="Spares asking the station which it is.")
    sources: tuple[Pattern, ...] | None = Field(
        default=None, min_length=1, max_length=1000, description="Files and folders below `path`; null: all of it."
    )
    include: tuple[Pattern, ...] = Field(default=(), max_length=100, description="Patterns as in .gitignore.")
    exclude: tuple[Pattern, ...] = Field(default=(), max_length=100)
    mode: Literal["sync", "batch"]
    remote: str | None = Field(default=None, description="Null: the only one.")
    quiet_period_s: float = Field(default=2.0, ge=0, le=86400)
    marker: Pattern | None = None
    idle_close_s: float | None = Field(default=None, gt=0)
    delete_after: bool = False
    continue_dataset: bool = Field(
        default=False, description="Continue a dataset that an earlier upload of yours started and did not complete."
    )
    without: tuple[UploadId, ...] = Field(
        default=(),
        max_length=50,
        description="Earlier uploads of yours from this station: files that are in their datasets and have not changed "
        "since are left out.",
    )


async def request_upload(
    asked: UploadBody, user: User, parts: Parts, *, traceparent: str, complete: bool = True, begins: bool = True
) -> Event[UploadRequested]:
    """Check everything that can be checked now, and build the event.

    `complete`: the metadata must be, too; `begins`: the dataset must be free, or one to go on with.

    Raises:
        Problem: says what is wrong; nothing has happened then.
    """
    remote = _remote(asked, parts)
    _check("dataset.name", asked.dataset.name)
    if complete:
        parts.metadata.validate_parameters(asked.dataset.parameters)
    if asked.delete_after and not parts.settings.offer_delete_after:
        raise NotAllowed(
            "this facility does not allow local copies to be removed",
            hint="Leave delete_after out. An operator can allow it with gateway.offer_delete_after.",
        )
    station = await find_station(parts, asked.station)
    _check_path(asked.path)
    _check_sources(asked.sources or ())
    await parts.rights.require_access(user, station, _paths(asked))
    right = await parts.questions.may_upload(user.id, asked.investigation)
    destination = Destination(remote=remote, location=_location(asked, right, parts))
    await _check_without(asked, user, parts)
    continues: tuple[str, ...] = ()
    if begins:
        go_on = asked.continue_dataset
        continues = await to_continue(asked.investigation, asked.dataset.name, user, parts, go_on=go_on)
    root, sources = await _root_and_sources(asked, station, parts)
    try:
        data = UploadRequested(
            upload_id=f"u-{secrets.token_urlsafe(12)}",
            investigation=asked.investigation,
            dataset=DatasetSpec.model_validate(asked.dataset.model_dump()),
            root=root,
            sources=sources,
            destination=destination,
            requested_by=user.person,
            continues=continues,
            **asked.model_dump(include=_CARRIED),
        )
    except ValidationError as error:
        raise InvalidRequest(error.errors(include_url=False)[0]["msg"]) from error
    event = Event(data=data, station=station, service=SERVICE, traceparent=traceparent)
    if (size := len(encode(event))) > LARGEST_ACCEPTED:
        raise InvalidRequest(
            f"the folders, files, patterns and parameters take {size} bytes together; a request has room for "
            f"{LARGEST_ACCEPTED}",
            hint="Select folders instead of single files, or start several uploads.",
        )
    return event


_CARRIED = {"include", "exclude", "mode", "quiet_period_s", "marker", "idle_close_s", "delete_after", "without"}


def _remote(asked: UploadBody, parts: Parts) -> str:
    remote = asked.remote if asked.remote is not None else default_remote(parts)
    known = ", ".join(sorted(parts.common.remotes)) or "none"
    if remote is None:
        raise UnknownRemote(f"the request does not say which remote; there are: {known}")
    if remote not in parts.common.remotes:
        raise UnknownRemote(f"there is no remote {remote[:100]!r}; there are: {known}")
    return remote


def _location(asked: UploadBody, right: UploadRight, parts: Parts) -> str:
    base = right.base_dir.strip("/")
    template = parts.settings.location_in_base if base else parts.settings.location
    if "{investigation}" in template:
        _check("investigation", asked.investigation)
    location = template.format(investigation=asked.investigation, dataset=asked.dataset.name, base_dir=base)
    try:
        return check_location(location)
    except ValueError as error:
        raise BadName(f"the files would go to {location!r}, which cannot be: {error}") from error


def _check(field: str, name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise BadName(f"{field}: {error}") from error


def _check_path(path: str) -> None:
    if not pure(path).is_absolute():
        raise BadPath(f"{path[:200]!r} is not an absolute path")
    if ".." in re.split(r"[\\/]", path) or "\0" in path:
        raise BadPath(f"{path[:200]!r} must not contain '..' or a zero byte")


async def _check_without(asked: UploadBody, user: User, parts: Parts) -> None:
    for upload_id in asked.without:
        upload = await parts.reader.upload(upload_id)
        if upload is None or not user.may_see(upload) or upload.station != asked.station:
            raise InvalidRequest(
                f"without: {upload_id} is not an upload of yours from {asked.station[:200]}",
                hint="Name uploads of the same station that are listed for you.",
            )


async def _root_and_sources(asked: UploadBody, station: Station, parts: Parts) -> tuple[str, tuple[str, ...]]:
    path = pure(asked.path)
    if asked.sources is not None:
        return str(path), asked.sources
    kind = asked.kind or await _kind(path, station, parts)
    if kind == "file" and path.name:
        return str(path.parent), (path.name,)
    return str(path), (".",)


def _paths(asked: UploadBody) -> tuple[str, ...]:
    """Return everything that an upload takes, as absolute paths."""
    return tuple(child(asked.path, source) for source in asked.sources or (".",))


def _check_sources(sources: tuple[str, ...]) -> None:
    for source in sources:
        if (
            PureWindowsPath(source).is_absolute()
            or PurePosixPath(source).is_absolute()
            or ".." in re.split(r"[\\/]", source)
        ):
            raise BadPath(f"sources: {source[:200]!r} is not below the path", hint="Write it relative to `path`.")


async def _kind(path: PurePath, station: Station, parts: Parts) -> Literal["folder", "file"]:
    """Ask the station; a folder is assumed where it does not say, and the watcher has the last word."""
    if path.parent == path:
        return "folder"
    try:
        found = await parts.questions.folder(station, str(path.parent), limit=5000)
    except (StationSilent, NotAllowed, NotFound):
        return "folder"
    return "file" if any(entry.name == path.name and entry.kind == "file" for entry in found.entries) else "folder"
