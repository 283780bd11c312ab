"""How long the catalog leaves a catalogue alone that asks for it."""

import pytest

from datauploader_catalog.objections import RARE_S, pause_s


@pytest.mark.parametrize(("asked", "wait_s"), [(None, 1.0), (0.2, 1.0), (120.0, 120.0), (RARE_S, RARE_S)])
def test_a_pause_is_never_shorter_than_asked(asked, wait_s) -> None:
    """Retry-After is followed up to an hour."""
    assert pause_s(0, asked) == wait_s


@pytest.mark.parametrize("asked", [RARE_S + 1, 1e12, float("1" * 400)])
def test_a_mistaken_wish_holds_nobody_longer_than_an_hour(asked) -> None:
    """A server can send any number of digits, and a sum with infinity is never due."""
    assert pause_s(0, asked) == RARE_S
