"""What Oracle's errors mean: a refusal of a value, something that passes, or nobody knows (F59)."""

import pytest

from datauploader.plugins.catalogue.errors import (
    CatalogError,
    CatalogueUnavailable,
    UnknownTrouble,
    ValueRefused,
)
from datauploader_catalog.adapters.vuo.answers import read_answer

REFUSED = ("", "01400", "01438", "02290", "06502", "12899", "20001", "20999", "01722", "01861", "22835")
PASSES = ("00018", "00020", "00054", "00060", "01033", "01034", "01555", "03113", "03114", "04068", "12154", "12541")
UNKNOWN = ("00600", "00604", "00942", "06512", "06550", "21000", "19999", "99999")


def said(text: str) -> CatalogError:
    """Return the error that an answer of the database becomes."""
    with pytest.raises(CatalogError) as error:
        read_answer(f"{text}\n")
    return error.value


@pytest.mark.fault("F59")
@pytest.mark.parametrize("number", [*REFUSED[1:], "20000"])
def test_a_value_that_the_database_cannot_hold_is_refused_in_its_words(number: str) -> None:
    """It is never tried again as it stands."""
    error = said(f"ORA-{number}: the words of the database")
    assert isinstance(error, ValueRefused)
    assert not error.retryable
    assert "the words of the database" in str(error)


@pytest.mark.fault("F59")
@pytest.mark.parametrize("number", PASSES)
def test_what_passes_by_itself_is_tried_again(number: str) -> None:
    """Locks, restarts, lost connections, sessions used up."""
    error = said(f"ORA-{number}: whatever")
    assert isinstance(error, CatalogueUnavailable)
    assert not isinstance(error, UnknownTrouble)


@pytest.mark.fault("F59")
@pytest.mark.parametrize("text", [*(f"ORA-{number}: whatever" for number in UNKNOWN), "PLS-00201: x must be declared"])
def test_what_nobody_knows_is_neither(text: str) -> None:
    """It is tried again, and not for ever in silence."""
    assert isinstance(said(text), UnknownTrouble)


@pytest.mark.fault("F59")
def test_of_a_stack_of_errors_the_first_that_is_known_counts() -> None:
    """A trigger's error comes wrapped; what a value says in the middle of a line is none."""
    assert isinstance(
        said("ORA-00604: error at recursive level 1\nORA-12899: value too large\nORA-06512: at"), ValueRefused
    )
    assert isinstance(said("ORA-00604: near 'ORA-12899'\nORA-06512: at line 3"), UnknownTrouble)
