"""The form of the page on which an upload is put together: what a browser sends becomes a draft.

What is sent and what is kept of a draft become one: what a person typed last wins, field by field.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.features.new_upload.drafts import Draft
from datauploader_gateway.features.new_upload.metadata import FIELD_PREFIX
from datauploader_gateway.features.new_upload.wishes import ticked

_TEXTS = (
    "investigation", "station", "paths", "include", "exclude", "dataset", "description", "type", "mode", "remote",
)  # fmt: skip
_LONGEST_NAME = 210
"""Of a field of the form."""
MOST_PAGES = 8
"""Open pages of one draft whose order is remembered."""
_TOGETHER = {"station": ("station", "picks"), "pick": ("picks",)}
"""Fields of a form that stand under other names in a draft."""


@dataclass(frozen=True, slots=True)
class FormState:
    """The state of a form: which state of which page a form was in when it was sent."""

    page: str = ""
    """"" where the page runs no scripts: all of it counts then."""
    edit: int = 0
    """How often something had been typed or ticked there."""
    touched: frozenset[str] = frozenset()
    """The fields that a person has changed there."""

    def is_stale(self, draft: Draft) -> bool:
        """Tell whether a later state of the same page is kept, or this one was looked at in a review already."""
        known = draft.edits.get(self.page, -1)
        return self.edit < known or (self.edit == known and draft.reviewed)


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


def merged(before: Draft | None, said: Draft, sent: FormState) -> Draft:
    """Return the draft with what the form says, where a person has said it."""
    if before is None or not sent.page:
        edits = before.edits if before is not None else {}
        return said.model_copy(update={"reviewed": False, "edits": _counted(edits, sent)})
    if sent.is_stale(before):
        return before
    names = {name for field in sent.touched for name in _TOGETHER.get(field, (field,))}
    changed = {name: getattr(said, name) for name in names if name in Draft.FORM}
    keys = (name.removeprefix(FIELD_PREFIX) for name in sent.touched if name.startswith(FIELD_PREFIX))
    metadata = before.metadata | {key: said.metadata[key] for key in keys if key in said.metadata}
    return before.model_copy(
        update={**changed, "metadata": metadata, "reviewed": False, "edits": _counted(before.edits, sent)}
    )


def _counted(edits: dict[str, int], sent: FormState) -> dict[str, int]:
    if not sent.page:
        return edits
    others = [(page, edit) for page, edit in edits.items() if page != sent.page]
    return dict([*others, (sent.page, sent.edit)][-MOST_PAGES:])
