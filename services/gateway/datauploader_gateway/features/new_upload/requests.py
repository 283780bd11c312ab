"""From what a person asks for to the event that says it, with every check on the way; a request begins once."""

import re
import secrets
import unicodedata
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from redis.exceptions import RedisError

from datauploader.contracts import (
    DatasetSpec,
    Destination,
    Event,
    EventData,
    Parameter,
    Station,
    UploadRequested,
    encode,
)
from datauploader.contracts.envelope import LARGEST_ACCEPTED
from datauploader.contracts.model import UploadId
from datauploader.contracts.names import check_location, check_name
from datauploader.contracts.questions import UploadRight
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.auth.audit_log import AuditLog
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.auth.rights import StationRights
from datauploader_gateway.errors import (
    BadName,
    BadPath,
    DatasetComplete,
    DatasetContinues,
    DatasetInUse,
    DatasetOpen,
    DatasetTaken,
    InvalidRequest,
    NotAllowed,
    NotFound,
    StationSilent,
    UnknownRemote,
)
from datauploader_gateway.events.publisher import CommandPublisher
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.features.new_upload.metadata import MetadataForm
from datauploader_gateway.paths import child, pure
from datauploader_gateway.projection.fold import Before, fold
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.projection.stations import StationDirectory
from datauploader_gateway.projection.summary import summarise
from datauploader_gateway.settings import SERVICE, GatewaySettings

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


_TAKEN: dict[str, type[DatasetTaken]] = {
    problem.word: problem for problem in (DatasetComplete, DatasetInUse, DatasetOpen, DatasetContinues)
}
_CARRIED = {"include", "exclude", "mode", "quiet_period_s", "marker", "idle_close_s", "delete_after", "without"}


class UploadRequests:
    """Checks what people ask for, and begins uploads."""

    def __init__(
        self, stations: StationDirectory, rights: StationRights, questions: QueryClient, reader: ViewReader,
        publisher: CommandPublisher, audit: AuditLog, metadata: MetadataForm, settings: GatewaySettings,
        remotes: Collection[str],
    ) -> None:  # fmt: skip
        """Check against these; uploads can go to `remotes`."""
        self._stations, self._rights, self._questions, self._reader = stations, rights, questions, reader
        self._publisher, self._audit, self._metadata, self._settings = publisher, audit, metadata, settings
        self._remotes = remotes

    @property
    def remotes(self) -> list[str]:
        """Where uploads can go, as the administrator has defined."""
        return sorted(self._remotes)

    @property
    def default_remote(self) -> str | None:
        """The only remote, None where there are several or none."""
        return next(iter(self._remotes)) if len(self._remotes) == 1 else None

    async def begin(self, asked: UploadBody, who: Caller, trace: str, key: str = "") -> Upload:
        """Check a wish, keep it, pass it on and record it; the same key begins nothing twice.

        Raises:
            Problem: says what is wrong; nothing has happened then.
        """
        wish = asked.model_dump_json()
        event = self._publisher.known(who.user.id, key, wish) if key else None
        if event is None:
            checked: Event[EventData] = await self.check(asked, who.user, trace=trace)
            if key:
                event = self._publisher.publish_once(checked, who.user.id, key, wish)
            else:
                event = self._publisher.publish_event(checked)
            await self._publisher.show_event(event)
            await self._audit.record(
                "upload requested", who=who.user.id, address=who.address, upload_id=event.data.upload_id,
                investigation=asked.investigation, dataset=asked.dataset.name, station=event.station.key,
                path=asked.path,
            )  # fmt: skip
        assert isinstance(event.data, UploadRequested)
        try:
            known = await self._reader.upload(event.data.upload_id)
        except RedisError:
            known = None
        fresh = summarise(event.data.upload_id, fold(Before(), event).registers, {})
        assert fresh is not None
        return known or fresh

    async def check(
        self, asked: UploadBody, user: SignedInUser, *, trace: str, complete: bool = True, begins: bool = True
    ) -> Event[UploadRequested]:
        """Check everything that can be checked now, and build the event.

        `complete`: the metadata must be, too; `begins`: the dataset must be free, or one to go on with.

        Raises:
            Problem: says what is wrong; nothing has happened then.
        """
        remote = self._remote(asked)
        _check("dataset.name", asked.dataset.name)
        if complete:
            self._metadata.validate_parameters(asked.dataset.parameters)
        if asked.delete_after and not self._settings.offer_delete_after:
            raise NotAllowed(
                "this facility does not allow local copies to be removed",
                hint="Leave delete_after out. An operator can allow it with gateway.offer_delete_after.",
            )
        station = await self._stations.find(asked.station)
        _check_paths(asked.path, asked.sources or ())
        await self._rights.require_access(
            user, station, tuple(child(asked.path, source) for source in asked.sources or (".",))
        )
        right = await self._questions.may_upload(user.id, asked.investigation)
        destination = Destination(remote=remote, location=self._location(asked, right))
        await self._check_without(asked, user)
        continues: tuple[str, ...] = ()
        if begins:
            continues = await self._to_continue(asked, user)
        root, sources = await self._root_and_sources(asked, station)
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
        event = Event(data=data, station=station, service=SERVICE, traceparent=trace)
        if (size := len(encode(event))) > LARGEST_ACCEPTED:
            raise InvalidRequest(
                f"the folders, files, patterns and parameters take {size} bytes together; a request has room for "
                f"{LARGEST_ACCEPTED}",
                hint="Select folders instead of single files, or start several uploads.",
            )
        return event

    def _remote(self, asked: UploadBody) -> str:
        remote = asked.remote if asked.remote is not None else self.default_remote
        known = ", ".join(sorted(self._remotes)) or "none"
        if remote is None:
            raise UnknownRemote(f"the request does not say which remote; there are: {known}")
        if remote not in self._remotes:
            raise UnknownRemote(f"there is no remote {remote[:100]!r}; there are: {known}")
        return remote

    def _location(self, asked: UploadBody, right: UploadRight) -> str:
        base = right.base_dir.strip("/")
        template = self._settings.location_in_base if base else self._settings.location
        if "{investigation}" in template:
            _check("investigation", asked.investigation)
        location = template.format(investigation=asked.investigation, dataset=asked.dataset.name, base_dir=base)
        try:
            return check_location(location)
        except ValueError as error:
            raise BadName(f"the files would go to {location!r}, which cannot be: {error}") from error

    async def _check_without(self, asked: UploadBody, user: SignedInUser) -> None:
        for upload_id in asked.without:
            upload = await self._reader.upload(upload_id)
            if upload is None or not user.may_see(upload) or upload.station != asked.station:
                raise InvalidRequest(
                    f"without: {upload_id} is not an upload of yours from {asked.station[:200]}",
                    hint="Name uploads of the same station that are listed for you.",
                )

    async def _root_and_sources(self, asked: UploadBody, station: Station) -> tuple[str, tuple[str, ...]]:
        path = pure(asked.path)
        if asked.sources is not None:
            return str(path), asked.sources
        kind = asked.kind
        if kind is None and path.parent != path:
            # a folder is assumed where the station does not say, and the watcher has the last word
            with suppress(StationSilent, NotAllowed, NotFound):
                found = await self._questions.folder(station, str(path.parent), limit=5000)
                is_file = any(entry.name == path.name and entry.kind == "file" for entry in found.entries)
                kind = "file" if is_file else "folder"
        if kind == "file" and path.name:
            return str(path.parent), (path.name,)
        return str(path), (".",)

    async def _to_continue(self, asked: UploadBody, user: SignedInUser) -> tuple[UploadId, ...]:
        """Ask whose the dataset is; return the earlier uploads that this one goes on with, none for a free name.

        Raises:
            DatasetTaken: it is complete, somebody else's, one's own at work, or one's own and not to be continued.
            CatalogueAway: there was no answer.
        """
        found = await self._questions.dataset(user.id, asked.investigation, asked.dataset.name)
        if found.free:
            return ()
        reason = found.reason
        if found.held_by is not None and found.held_by.state == "unknown":
            # an upload of an earlier release, of which the catalog does not know it, may still write
            holder = await self._reader.upload(found.held_by.upload_id)
            reason = "dataset-open" if holder is not None and not holder.over else reason
        if reason == DatasetContinues.word and asked.continue_dataset:
            return found.may_continue
        mine = found.held_by is not None and found.held_by.person == user.id
        upload = found.held_by.upload_id if found.held_by is not None and mine else ""
        raise _TAKEN.get(reason, DatasetInUse)(found.detail, suggestion=found.suggestion, upload=upload)


def _check(field: str, name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise BadName(f"{field}: {error}") from error


def _check_paths(path: str, sources: tuple[str, ...]) -> None:
    if not pure(path).is_absolute():
        raise BadPath(f"{path[:200]!r} is not an absolute path")
    if ".." in re.split(r"[\\/]", path) or "\0" in path:
        raise BadPath(f"{path[:200]!r} must not contain '..' or a zero byte")
    for source in sources:
        if (
            PureWindowsPath(source).is_absolute()
            or PurePosixPath(source).is_absolute()
            or ".." in re.split(r"[\\/]", source)
        ):
            raise BadPath(f"sources: {source[:200]!r} is not below the path", hint="Write it relative to `path`.")
