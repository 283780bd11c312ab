"""Existence is decided by what a catalogue says, never by its silence."""

import pytest

from datauploader.plugins.catalogue.ensure import ensure
from datauploader.plugins.catalogue.errors import BadAnswer, CatalogueUnavailable


def test_what_is_found_is_not_created() -> None:
    """A thing that exists is returned without asking for its creation."""
    assert ensure(lambda: "found", lambda: pytest.fail("created although it was there")) == "found"


def test_what_is_absent_is_created() -> None:
    """A thing that the catalogue calls absent is created."""
    assert ensure(lambda: None, lambda: "made") == "made"


@pytest.mark.fault("F43")
def test_whoever_comes_second_gets_what_the_first_one_made() -> None:
    """A conflict on creation leads back to the look-up."""
    answers = iter([None, "of the other one"])
    assert ensure(lambda: next(answers), lambda: None) == "of the other one"


@pytest.mark.fault("F44")
def test_a_look_up_that_fails_creates_nothing() -> None:
    """Not knowing is not absence."""

    def unknown() -> str | None:
        raise CatalogueUnavailable("no answer")

    with pytest.raises(CatalogueUnavailable):
        ensure(unknown, lambda: pytest.fail("created on a guess"))


def test_a_catalogue_that_contradicts_itself_is_not_believed() -> None:
    """Neither there nor free to be made: no conclusion, another try later."""
    with pytest.raises(BadAnswer):
        ensure(lambda: None, lambda: None)
