"""Puts an upload together step by step: begins a draft, makes requests of it, and tries these."""

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from datauploader import days
from datauploader.contracts.questions import InvestigationSummary
from datauploader.contracts.rest.previews import UploadPreview
from datauploader.contracts.rest.stations import StationStatus
from datauploader.contracts.rest.uploads import Upload
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.errors import CatalogueAway, Problem
from datauploader_gateway.events.publisher import CommandPublisher
from datauploader_gateway.events.query_client import QueryClient
from datauploader_gateway.features.new_upload.drafts import Draft, FromFile
from datauploader_gateway.features.new_upload.metadata import MetadataForm
from datauploader_gateway.features.new_upload.previews import UploadPreviews
from datauploader_gateway.features.new_upload.requests import UploadBody, UploadRequests
from datauploader_gateway.features.new_upload.wishes import wishes
from datauploader_gateway.paths import child
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.reader import ViewReader
from datauploader_gateway.projection.stations import StationDirectory
from datauploader_gateway.settings import GatewaySettings

_NUMBERED = re.compile(r"(.+) \((\d{1,4})\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DraftPreview:
    """A preview of a draft's dataset, and what would become of it."""

    body: UploadBody
    preview: UploadPreview | None = None
    problem: Problem | None = None
    """Why it cannot be; with no preview either, there was no time to count."""
    begun: str = ""
    """The upload that it has become already."""


@dataclass(frozen=True, slots=True)
class FormChoices:
    """What a person can choose from on the form."""

    investigations: list[InvestigationSummary]
    catalogue_trouble: str
    """Why investigations are not known, "" where they are."""
    stations: list[StationStatus]
    remotes: list[str]
    template: str
    """What a dataset is called where nobody says."""
    offer_delete: bool


class Drafting:
    """Makes drafts, and requests of drafts."""

    def __init__(
        self, stations: StationDirectory, requests: UploadRequests, previews: UploadPreviews, reader: ViewReader,
        questions: QueryClient, publisher: CommandPublisher, metadata: MetadataForm, settings: GatewaySettings,
        timezone: str,
    ) -> None:  # fmt: skip
        """Fill in what these say; days are of this time zone."""
        self._questions = questions
        self._stations, self._requests, self._previews, self._reader = stations, requests, previews, reader
        self._publisher, self._metadata, self._settings, self._timezone = publisher, metadata, settings, timezone

    async def choices(self, who: Caller) -> FormChoices:
        """Return what a person can choose from; open investigations come first."""
        try:
            found = (await self._questions.investigations(who.user.id)).items
            trouble = ""
        except CatalogueAway as away:
            found, trouble = (), away.detail
        return FormChoices(
            investigations=sorted(found, key=lambda one: not one.open),
            catalogue_trouble=trouble,
            stations=await self._stations.with_watcher(),
            remotes=self._requests.remotes,
            template=self._settings.dataset_name,
            offer_delete=self._settings.offer_delete_after,
        )

    async def begin(self, who: Caller, station: str, investigation: str) -> Draft:
        """Begin a draft with what is asked for, else the only ones, else the last used ones."""
        last = next(iter(await self._reader.latest(keys.of_person(who.user.id), 1)), None)
        stations = [status.station for status in await self._stations.with_watcher()]
        if station not in stations:
            station = stations[0] if len(stations) == 1 else last.station if last else ""
        return Draft(
            station=station if station in stations else "",
            investigation=(investigation or (last.investigation if last else ""))[:200],
            metadata={field.key: field.default for field in self._metadata.fields if field.default},
            remote=self._requests.default_remote or "",
        )

    async def begin_after(self, earlier: Upload, who: Caller) -> Draft:
        """Begin a draft for what came into the folder of an upload after its dataset was complete."""
        draft = await self.begin(who, earlier.station, earlier.investigation)
        asked = (await self._reader.registers(earlier.id))["request"].data
        whole = earlier.sources == (".",)
        paths = [earlier.path] if whole else [child(earlier.path, source) for source in earlier.sources]
        return draft.model_copy(
            update={
                "paths": "\n".join(paths), "include": "\n".join(asked["include"]),
                "exclude": "\n".join(asked["exclude"]), "dataset": further(earlier.dataset),
                "type": asked["dataset"]["type"], "mode": "batch",
                "remote": earlier.remote, "without": (earlier.id,),
            }
        )  # fmt: skip

    def bodies_of(self, draft: Draft) -> list[UploadBody]:
        """Make the requests of a draft, whatever is wrong with its metadata.

        Raises:
            InvalidRequest: something is missing or cannot be.
        """
        parameters, _ = self._metadata.read(draft.metadata)
        if not self._settings.offer_delete_after:
            draft = draft.model_copy(update={"delete_after": False})
        return wishes(draft, parameters, self._settings.dataset_name, days.today(self._timezone))

    async def try_out(
        self,
        bodies: Sequence[UploadBody],
        user: SignedInUser,
        *,
        trace: str,
        within_s: float,
        destination: bool,
        token: str = "",
    ) -> list[DraftPreview]:
        """Try the requests one after the other, as far as the time goes; what has begun already is not tried."""
        end = time.monotonic() + within_s
        tried: list[DraftPreview] = []
        for body in bodies:
            event = self._publisher.known(user.id, key_of(token, body), body.model_dump_json()) if token else None
            if event is not None:
                tried.append(DraftPreview(body, begun=event.data.upload_id))
                continue
            if tried and time.monotonic() > end:
                tried.append(DraftPreview(body))
                continue
            try:
                seen = await self._previews.preview(body, user, trace=trace, complete=False, destination=destination)
            except Problem as problem:
                tried.append(DraftPreview(body, problem=problem))
            else:
                tried.append(DraftPreview(body, seen))
        return tried

    def with_values(self, draft: Draft, found: Sequence[tuple[str, str, str]]) -> Draft:
        """Fill in what was found in files (name, value, file) where nobody has typed anything else."""
        wanted = {field.key for field in self._metadata.fields}
        metadata, from_file = dict(draft.metadata), dict(draft.from_file)
        for key, value, source in found:
            typed = metadata.get(key, "").strip()
            untouched = not typed or (key in from_file and typed == from_file[key].value)
            if key in wanted and untouched:
                metadata[key] = value
                from_file[key] = FromFile(value=value, source=source)
        return draft.model_copy(update={"metadata": metadata, "from_file": from_file})


def further(name: str) -> str:
    """Name the next dataset of the same folder: `run`, `run (2)`, `run (3)`."""
    found = _NUMBERED.fullmatch(name)
    return f"{found[1]} ({int(found[2]) + 1})" if found else f"{name} (2)"


def key_of(token: str, body: UploadBody) -> str:
    """Name a request of a draft, so that it is begun once, and one that was changed is another."""
    return f"{token}-{hashlib.sha256(body.model_dump_json().encode()).hexdigest()[:32]}"
