"""From what a person has chosen to the requests that it becomes: one dataset, or one for each ticked folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import ValidationError

from datauploader.contracts import Parameter
from datauploader.contracts.names import same_look
from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.features.new_upload.drafts import Draft, Pick
from datauploader_gateway.features.new_upload.requests import DatasetBody, UploadBody
from datauploader_gateway.paths import pure

MOST_DATASETS = 50
"""Datasets in one go."""
_UNUSABLE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]+')
PLACES = ("{folder}", "{date}")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Files and folders of one dataset: a folder, and what of it."""

    path: str
    kind: str | None
    sources: tuple[str, ...] | None
    name: str
    """What `{folder}` stands for."""


def wishes(draft: Draft, parameters: Sequence[Parameter], template: str, today: date) -> list[UploadBody]:
    """Make the requests of a draft.

    Raises:
        InvalidRequest: says what is still missing, or cannot be.
    """
    if not draft.station:
        raise InvalidRequest("no station is selected", hint="Choose the station where the files are.")
    if not draft.investigation:
        raise InvalidRequest("no investigation is selected", hint="Choose the investigation that the data belong to.")
    bodies = [_body(draft, one, parameters, template, today) for one in chosen(draft)]
    names = [same_look(body.dataset.name) for body in bodies]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidRequest(
            f"several datasets would have the name {twice[0][:200]}",
            hint="Put {folder} into the dataset name, or select folders with different names.",
        )
    return bodies


def chosen(draft: Draft) -> list[Chosen]:
    """Return what each dataset takes.

    Raises:
        InvalidRequest: nothing is chosen, or nothing that goes together.
    """
    picks = all_picks(draft)
    if not picks:
        raise InvalidRequest("no file or folder is selected", hint="Select a folder, or type its path.")
    if len(picks) == 1 or draft.split:
        if len(picks) > MOST_DATASETS:
            raise InvalidRequest(
                f"{len(picks)} datasets are too many: at most {MOST_DATASETS} can be started at once",
                hint="Select fewer folders, or put everything into one dataset.",
            )
        alone = [(pure(path), kind) for path, kind in picks]
        return [Chosen(str(path), kind, None, path.stem if kind == "file" else path.name) for path, kind in alone]
    paths = [pure(path) for path, _ in picks]
    root = paths[0].parent
    while not all(path.is_relative_to(root) for path in paths):
        if root == root.parent:
            raise InvalidRequest(
                "the selected folders have no common parent folder", hint="Create one dataset for each selected folder."
            )
        root = root.parent
    sources = tuple(path.relative_to(root).as_posix() for path in paths)
    return [Chosen(str(root), "folder", sources, root.name)]


def all_picks(draft: Draft) -> tuple[tuple[str, str | None], ...]:
    """Return what was ticked and what was written, as paths with their kinds where these are known."""
    typed = ((line.strip(), None) for line in draft.paths.splitlines() if line.strip())
    ticked: tuple[tuple[str, str | None], ...] = tuple((pick.path, pick.kind) for pick in draft.picks)
    known = {path for path, _ in ticked}
    return ticked + tuple((path, kind) for path, kind in dict(typed).items() if path not in known)


def patterns(text: str) -> tuple[str, ...]:
    """Read patterns that were typed: one a line, or separated by commas."""
    return tuple(part.strip() for line in text.splitlines() for part in line.split(",") if part.strip())


def _body(
    draft: Draft, one: Chosen, parameters: Sequence[Parameter], template: str, today: date
) -> UploadBody:  # fmt: skip
    name = dataset_name(draft.dataset.strip() or template, one.name, today)
    for _ in draft.renamed:  # the other name may be taken as well, and have got another one again
        name = draft.renamed.get(name, name)
    try:
        return UploadBody.model_validate({
            "investigation": draft.investigation, "station": draft.station, "path": one.path, "kind": one.kind,
            "sources": one.sources, "include": patterns(draft.include), "exclude": patterns(draft.exclude),
            "mode": draft.mode, "remote": draft.remote or None, "delete_after": draft.delete_after,
            "without": draft.without,
            "continue_dataset": name in draft.go_on,
            "dataset": DatasetBody(
                name=name, type=draft.type.strip() or "raw", description=draft.description.strip(),
                parameters=tuple(parameters),
            ),
        })  # fmt: skip
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidRequest(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


def dataset_name(template: str, folder: str, today: date) -> str:
    """Fill a name's template; what of the folder's name no dataset can be called is written with `_`."""
    usable = _UNUSABLE.sub("_", folder).strip(". ") or "dataset"
    return template.replace("{folder}", usable).replace("{date}", today.isoformat())


def ticked(values: Sequence[str]) -> tuple[Pick, ...]:
    """Read the ticks of a form, each once."""
    return tuple(dict.fromkeys(pick for value in values if (pick := Pick.read(value)) is not None))
