"""Drafts: what a person typed last wins, field by field, in whatever order requests arrive."""

from itertools import permutations

import pytest

from datauploader_gateway.features.new_upload.drafts import Draft, Pick
from datauploader_gateway.features.new_upload.form import FormState, merged

KEPT = Draft(station="a.b.c", dataset="kept", description="kept", metadata={"sample": "kept", "energy": "1"})


def typed(text: str, edit: int, *touched: str, page: str = "one") -> tuple[Draft, FormState]:
    """Return a form in which everything reads like this, and what of it was changed on that page."""
    said = Draft(station="a.b.c", dataset=text, description=text, metadata={"sample": text, "energy": text})
    return said, FormState(page, edit, frozenset(touched))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_last_state_of_a_page_wins_in_every_order(order: tuple[int, ...]) -> None:
    """Each keystroke's request may come after a later one's."""
    states = [typed("L", 1, "m.sample"), typed("Ly", 2, "m.sample"), typed("Lys", 3, "m.sample", "dataset")]
    draft = KEPT
    for number in order:
        draft = merged(draft, *states[number])
    assert (draft.metadata["sample"], draft.dataset) == ("Lys", "Lys")


def test_a_field_that_a_page_did_not_touch_keeps_what_another_page_wrote() -> None:
    """Two windows of one draft, and what files have said meanwhile."""
    draft = merged(KEPT, *typed("one", 1, "m.sample", page="one"))
    draft = merged(draft, *typed("two", 5, "description", page="two"))
    assert (draft.metadata["sample"], draft.description, draft.dataset) == ("one", "two", "kept")
    assert draft.metadata["energy"] == "1"


def test_a_field_that_was_emptied_is_empty() -> None:
    """To remove is to type."""
    assert merged(KEPT, *typed("", 1, "m.sample")).metadata == {"sample": "", "energy": "1"}


def test_a_page_without_scripts_says_all_of_it() -> None:
    """Its form is sent when its button is pressed, and holds everything."""
    said, _ = typed("plain", 0)
    draft = merged(KEPT, said, FormState())
    assert (draft.dataset, draft.metadata) == ("plain", {"sample": "plain", "energy": "plain"})


def test_the_first_form_is_kept_whole() -> None:
    """Nothing was kept before, so what the page was drawn with counts."""
    assert merged(None, *typed("first", 0)).dataset == "first"


def test_what_is_reviewed_changes_only_by_what_was_typed_afterwards() -> None:
    """The request of an earlier moment that comes late is no wish to change what somebody looks at."""
    draft = merged(KEPT, *typed("x", 3, "dataset")).model_copy(update={"reviewed": True})
    assert merged(draft, *typed("x", 3, "dataset")).reviewed
    assert merged(draft, *typed("y", 2, "dataset")) == draft
    again = merged(draft, *typed("z", 4, "dataset"))
    assert (again.reviewed, again.dataset) == (False, "z")


def test_ticks_follow_the_station_that_was_chosen() -> None:
    """A tick belongs to its station."""
    pick = Pick(kind="folder", path="/data")
    said = Draft(station="x.y.z", picks=(pick,))
    assert merged(KEPT, said, FormState("one", 1, frozenset({"station"}))).picks == (pick,)
    assert merged(KEPT, said, FormState("one", 1, frozenset({"dataset"}))).picks == ()


def test_pages_that_were_closed_are_forgotten() -> None:
    """The order of so many is remembered, no more."""
    draft = KEPT
    for number in range(50):
        draft = merged(draft, *typed("x", 1, "dataset", page=str(number)))
    assert len(draft.edits) == 8
