"""From the form of the page on which an upload is put together to a draft, and what the form shows of one."""

import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from datauploader import days
from datauploader_gateway.auth.dependency import Caller
from datauploader_gateway.auth.person import User
from datauploader_gateway.errors import CatalogueAway, InvalidRequest, Problem
from datauploader_gateway.features.new_upload.choices import default_remote, known_stations
from datauploader_gateway.features.new_upload.drafts import Draft, FromFile
from datauploader_gateway.features.new_upload.merging import METADATA, FormState
from datauploader_gateway.features.new_upload.previews import UploadPreview, preview_upload
from datauploader_gateway.features.new_upload.requests import UploadBody
from datauploader_gateway.features.new_upload.wishes import ticked, wishes
from datauploader_gateway.http.parts import Parts
from datauploader_gateway.paths import child
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.summary import Upload

_TEXTS = (
    "investigation", "station", "paths", "include", "exclude", "dataset", "description", "type", "mode", "remote",
)  # fmt: skip
_NUMBERED = re.compile(r"(.+) \((\d{1,4})\)", re.DOTALL)
_LONGEST_NAME = 210
"""Of a field of the form."""


@dataclass(frozen=True, slots=True)
class DraftPreview:
    """A preview of a draft's dataset, and what would become of it."""

    body: UploadBody
    preview: UploadPreview | None = None
    problem: Problem | None = None
    """Why it cannot be; with no preview either, there was no time to count."""
    begun: str = ""
    """The upload that it has become already."""


def read_form(form: FormData, before: Draft | None) -> Draft:
    """Make a draft of what a browser sent; what was ticked on another station is dropped.

    Raises:
        InvalidRequest: a field is longer than any sense.
    """
    said: dict[str, Any] = {name: str(form[name]) for name in _TEXTS if name in form}
    picks = ticked([str(value) for value in form.getlist("pick")])
    if before is not None and before.station != said.get("station", before.station):
        picks = tuple(pick for pick in picks if pick not in before.picks)
    metadata = {
        name.removeprefix(METADATA): str(value)
        for name, value in form.multi_items()
        if name.startswith(METADATA) and isinstance(value, str)
    }
    try:
        return Draft.model_validate(
            {
                **said, "picks": picks, "metadata": metadata, "split": form.get("split") == "each",
                "delete_after": "delete_after" in form, "from_file": before.from_file if before else {},
                "without": before.without if before else (),
                "go_on": before.go_on if before else (), "renamed": before.renamed if before else {},
            }
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidRequest(f"{first['loc'][0]}: {first['msg']}", hint="Shorten it.") from error


def read_sent(form: FormData) -> FormState:
    """Read which state of which page a form was in; of a page without scripts the whole counts."""
    edit = str(form.get("edit", ""))
    if not (edit.isascii() and edit.isdigit()):
        return FormState()
    touched = frozenset(str(name)[:_LONGEST_NAME] for name in form.getlist("touched"))
    return FormState(str(form.get("page", ""))[:40], int(edit[:9]), touched)


async def begun(who: Caller, parts: Parts, station: str, investigation: str) -> Draft:
    """Begin a draft with what is asked for, else the only ones, else the last used ones."""
    last = next(iter(await parts.reader.latest(keys.of_person(who.user.id), 1)), None)
    stations = [status.station for status in await known_stations(parts)]
    if station not in stations:
        station = stations[0] if len(stations) == 1 else last.station if last else ""
    return Draft(
        station=station if station in stations else "",
        investigation=(investigation or (last.investigation if last else ""))[:200],
        metadata={field.key: field.default for field in parts.metadata.fields if field.default},
        remote=default_remote(parts) or "",
    )


async def shown(draft: Draft, token: str, who: Caller, parts: Parts) -> dict[str, Any]:
    """Return what the page needs to show a draft."""
    try:
        found = await parts.questions.investigations(who.user.id)
        investigations = sorted(found.items, key=lambda one: not one.open)
        catalogue = ""
    except CatalogueAway as away:
        investigations, catalogue = [], away.detail
    return {
        "draft": draft,
        "token": token,
        "page_id": secrets.token_hex(8),
        "investigations": investigations,
        "catalogue_trouble": catalogue,
        "stations": await known_stations(parts),
        "remotes": sorted(parts.common.remotes),
        "fields": parts.metadata.fields,
        "template": parts.settings.dataset_name,
        "offer_delete": parts.settings.offer_delete_after,
        "wrong": {},
    }


def further(name: str) -> str:
    """Name the next dataset of the same folder: `run`, `run (2)`, `run (3)`."""
    found = _NUMBERED.fullmatch(name)
    return f"{found[1]} ({int(found[2]) + 1})" if found else f"{name} (2)"


async def continued(earlier: Upload, who: Caller, parts: Parts) -> Draft:
    """Begin a draft for what came into the folder of an upload after its dataset was complete."""
    draft = await begun(who, parts, earlier.station, earlier.investigation)
    asked = (await parts.reader.registers(earlier.id))["request"].data
    whole = earlier.sources == (".",)
    paths = [earlier.path] if whole else [child(earlier.path, source) for source in earlier.sources]
    return draft.model_copy(
        update={
            "paths": "\n".join(paths), "include": "\n".join(asked["include"]), "exclude": "\n".join(asked["exclude"]),
            "dataset": further(earlier.dataset), "type": asked["dataset"]["type"], "mode": "batch",
            "remote": earlier.remote, "without": (earlier.id,),
        }
    )  # fmt: skip


def bodies_of(draft: Draft, parts: Parts) -> list[UploadBody]:
    """Make the requests of a draft, whatever is wrong with its metadata.

    Raises:
        InvalidRequest: something is missing or cannot be.
    """
    parameters, _ = parts.metadata.read(draft.metadata)
    if not parts.settings.offer_delete_after:
        draft = draft.model_copy(update={"delete_after": False})
    return wishes(draft, parameters, parts.settings.dataset_name, days.today(parts.common.timezone))


async def try_out(
    bodies: Sequence[UploadBody],
    user: User,
    parts: Parts,
    *,
    traceparent: str,
    within_s: float,
    destination: bool,
    token: str = "",
) -> list[DraftPreview]:
    """Try the requests one after the other, as far as the time goes; what the draft has begun already is not tried."""
    end = time.monotonic() + within_s
    tried: list[DraftPreview] = []
    for body in bodies:
        event = parts.intake.known(user.id, key_of(token, body), body.model_dump_json()) if token else None
        if event is not None:
            tried.append(DraftPreview(body, begun=event.data.upload_id))
            continue
        if tried and time.monotonic() > end:
            tried.append(DraftPreview(body))
            continue
        try:
            seen = await preview_upload(
                body, user, parts, traceparent=traceparent, complete=False, destination=destination
            )
        except Problem as problem:
            tried.append(DraftPreview(body, problem=problem))
        else:
            tried.append(DraftPreview(body, seen))
    return tried


def key_of(token: str, body: UploadBody) -> str:
    """Name a request of a draft, so that it is begun once, and one that was changed is another."""
    return f"{token}-{hashlib.sha256(body.model_dump_json().encode()).hexdigest()[:32]}"


def with_values(draft: Draft, found: Sequence[tuple[str, str, str]], parts: Parts) -> Draft:
    """Fill in what was found in files (name, value, file) where nobody has typed anything else."""
    wanted = {field.key for field in parts.metadata.fields}
    metadata, from_file = dict(draft.metadata), dict(draft.from_file)
    for key, value, source in found:
        typed = metadata.get(key, "").strip()
        untouched = not typed or (key in from_file and typed == from_file[key].value)
        if key in wanted and untouched:
            metadata[key] = value
            from_file[key] = FromFile(value=value, source=source)
    return draft.model_copy(update={"metadata": metadata, "from_file": from_file})
