"""Which investigations are shown, and in which order."""

from datetime import date

import pytest

from datauploader.plugins.catalogue.port import CatalogueInvestigation
from datauploader_catalog.queries import choose_investigations

TODAY = date(2026, 3, 4)


def one(
    name: str, start: date | None = None, end: date | None = None, *, active: bool = True
) -> CatalogueInvestigation:
    """Make an investigation."""
    return CatalogueInvestigation(name, name, "1", "Thin films", "/x", active, start=start, end=end, beamline="XRD1")


OLD = one("old", date(2025, 1, 1), date(2025, 1, 2))
NEXT = one("next", date(2026, 5, 1), date(2026, 5, 2))
NOW = one("now", date(2026, 3, 3), TODAY)
ENDLESS = one("endless", date(2026, 1, 1))
UNDATED = one("undated")
SHUT = one("shut", date(2026, 3, 3), TODAY, active=False)
ALL = (OLD, SHUT, UNDATED, NEXT, ENDLESS, NOW)


def test_todays_come_first_then_open_ones_and_the_latest_before_the_earlier() -> None:
    """A closed one is last, whatever its days."""
    found, total = choose_investigations(ALL, text="", today=TODAY, most=10)
    assert [each.name for each in found] == ["now", "endless", "next", "old", "undated", "shut"]
    assert total == 6


def test_what_is_too_much_is_counted() -> None:
    """A person learns that there are more."""
    found, total = choose_investigations(ALL, text="", today=TODAY, most=2)
    assert [each.name for each in found] == ["now", "endless"]
    assert total == 6


@pytest.mark.parametrize("text", ["DOMH", "δομη", "Δομή λεπτών", "λεπτων xrd1 rossi", "  Rossi\t", ""])
def test_every_word_of_a_search_must_stand_somewhere_accents_and_capitals_aside(text: str) -> None:
    """Title, number, beamline or person."""
    wanted = CatalogueInvestigation(
        "1", "1", "1", "Δομή λεπτών (domh)", "/x", principal_investigator="Ròssi", beamline="XRD1"
    )
    found, total = choose_investigations((wanted, OLD), text=text, today=TODAY, most=10)
    assert wanted in found
    assert total == (1 if text else 2)


def test_a_word_that_stands_nowhere_finds_nothing() -> None:
    """All words count."""
    assert choose_investigations(ALL, text="xrd1 rossi", today=TODAY, most=10) == ([], 0)
