"""Which investigations a person is shown: those in which their words stand, today's first, no more than are wanted."""

import unicodedata
from collections.abc import Iterable
from datetime import date

from datauploader_catalog.ports import CatalogueInvestigation


def choose(
    found: Iterable[CatalogueInvestigation], *, text: str, today: date, most: int
) -> tuple[list[CatalogueInvestigation], int]:
    """Return at most `most` of them, and how many there are; accents and capitals do not matter in the search."""
    words = _plain(text).split()
    kept = [one for one in found if _holds(one, words)]
    kept.sort(key=lambda one: one.start or date.min, reverse=True)
    kept.sort(key=lambda one: (not _is_of(one, today), not one.active))
    return kept[:most], len(kept)


def _holds(one: CatalogueInvestigation, words: list[str]) -> bool:
    text = _plain(f"{one.id} {one.name} {one.visit} {one.title} {one.principal_investigator} {one.beamline}")
    return all(word in text for word in words)


def _is_of(one: CatalogueInvestigation, day: date) -> bool:
    return one.active and one.start is not None and one.start <= day <= (one.end or day)


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
