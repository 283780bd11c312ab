"""How what a page sends and what is kept of a draft become one: what a person typed last wins, field by field."""

from dataclasses import dataclass

from datauploader_gateway.features.new_upload.drafts import Draft
from datauploader_gateway.features.new_upload.metadata import FIELD_PREFIX

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
