"""Texts and ids as they stand in ICAT's query language, and rows as they are written."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from datauploader.plugins.catalogue.errors import ValueRefused

LONGEST = 5000
"""Bytes of the names in one query: it travels in an address, of which some servers take no more than 8192 bytes."""
_ID = re.compile(r"[0-9]{1,18}")
_LOOKS_LIKE_TIME = re.compile(r"(?<=:t)(?=s\d{14})")


def is_id(text: str) -> bool:
    """Whether this can be an id of ICAT's, so that it can stand in a query as it is."""
    return _ID.fullmatch(text) is not None and text.isascii()


def quoted(text: str) -> str:
    """Write a text as a literal.

    icat.server looks for its own timestamps, `:ts` and 14 digits, in quoted texts as well, and fails; so such a text is
    written in two pieces.
    """
    if "\0" in text:
        raise ValueRefused(f"{text!r} holds a character with the code 0, which ICAT cannot be asked for.")
    pieces = ["'" + piece.replace("'", "''") + "'" for piece in _LOOKS_LIKE_TIME.split(text)]
    return pieces[0] if len(pieces) == 1 else f"CONCAT({', '.join(pieces)})"


def filled(template: str, **values: str | int | Sequence[str]) -> str:
    """Put values into the braces of a query; a text as a literal, a list of them as what follows IN."""
    return template.format_map({name: _literal(value) for name, value in values.items()})


def in_lists(texts: Iterable[str], most: int) -> Iterator[list[str]]:
    """Yield the texts in lists of at most `most` that fit into a query each.

    One that is not a plain literal comes alone: what else may stand after IN is the database library's matter.
    """
    some: list[str] = []
    size = 0
    for text in texts:
        literal = quoted(text)
        added = len(quote_plus(literal)) + len("%2C+") if literal.startswith("'") else LONGEST + 1
        if some and (size + added > LONGEST or len(some) >= most):
            yield some
            some, size = [], 0
        some.append(text)
        size += added
    if some:
        yield some


def _literal(value: str | int | Sequence[str]) -> str:
    if isinstance(value, int):
        return str(value)
    return quoted(value) if isinstance(value, str) else f"({', '.join(map(quoted, value))})"


def entity(kind: str, values: Mapping[str, Any]) -> str:
    """Write an entity as JSON in ASCII: icat.server reads its bytes in whatever charset its machine has."""
    return json.dumps({kind: values}, allow_nan=False, separators=(",", ":"))


def reference(row_id: int | str) -> dict[str, int]:
    """Write a reference to a row."""
    return {"id": int(row_id)}


def halves(some: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Cut a list in two."""
    middle = len(some) // 2
    return some[:middle], some[middle:]
