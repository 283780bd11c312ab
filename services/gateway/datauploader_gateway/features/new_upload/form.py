"""The form of the page on which an upload is put together: what a browser sends becomes a draft."""

from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.features.new_upload.drafts import Draft
from datauploader_gateway.features.new_upload.merging import FormState
from datauploader_gateway.features.new_upload.metadata import FIELD_PREFIX
from datauploader_gateway.features.new_upload.wishes import ticked

_TEXTS = (
    "investigation", "station", "paths", "include", "exclude", "dataset", "description", "type", "mode", "remote",
)  # fmt: skip
_LONGEST_NAME = 210
"""Of a field of the form."""


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
        name.removeprefix(FIELD_PREFIX): str(value)
        for name, value in form.multi_items()
        if name.startswith(FIELD_PREFIX) and isinstance(value, str)
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
