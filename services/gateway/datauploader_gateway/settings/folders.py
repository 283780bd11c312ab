"""Which folders of a station belong to which investigation, where an operator has said so."""

import re
from collections.abc import Collection, Iterable
from pathlib import PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator

INVESTIGATION = "{investigation}"
Place = Literal["inside", "above", "outside"]
"""In a folder that is theirs, on the way to one, or neither."""


def _check(pattern: str) -> str:
    """Refuse a pattern that could not bind anything.

    Raises:
        ValueError: says what is wrong.
    """
    parts = _parts(pattern)
    if not (pattern.startswith("/") or PureWindowsPath(pattern).drive):
        raise ValueError("a folder pattern must be an absolute path, such as /data/{investigation}/**")
    if parts.count(INVESTIGATION) != 1:
        raise ValueError("a folder pattern must have {investigation} as one whole part of its path")
    if any(set(part) & set("*?{}[]") for part in parts if part != INVESTIGATION):
        raise ValueError("in a folder pattern only {investigation} stands for something, and ** at its end")
    return pattern


FolderPattern = Annotated[str, AfterValidator(_check)]
"""An absolute path with `{investigation}` as one of its parts; what lies below belongs to it as well."""


class InvestigationFolders:
    """The folders of one station that belong to investigations; all others belong to nobody."""

    def __init__(self, patterns: Iterable[FolderPattern]) -> None:
        """Keep to these patterns; none: every folder is everybody's."""
        self._patterns = tuple(_parts(pattern) for pattern in patterns)

    @property
    def any(self) -> bool:
        """Something belongs to somebody."""
        return bool(self._patterns)

    def place(self, path: str, investigations: Collection[str]) -> Place:
        """Say how a folder or file lies to the folders of these investigations, which are in lower case."""
        found = [_place(_parts(path), pattern, investigations) for pattern in self._patterns]
        return "inside" if not found or "inside" in found else "above" if "above" in found else "outside"


def _place(path: tuple[str, ...], pattern: tuple[str, ...], investigations: Collection[str]) -> Place:
    for part, wanted in zip(path, pattern, strict=False):
        if wanted == INVESTIGATION and part.casefold() not in investigations:
            return "outside"
        if wanted not in (INVESTIGATION, part):
            return "outside"
    return "inside" if len(path) >= len(pattern) else "above"


def _parts(path: str) -> tuple[str, ...]:
    """Return the parts of an absolute path; Windows compares them whatever their case."""
    windows = bool(PureWindowsPath(path).drive)
    parts = tuple(part for part in re.split(r"[\\/]" if windows else "/", path) if part not in ("", "."))
    parts = parts[:-1] if parts[-1:] == ("**",) else parts
    return tuple(part if part == INVESTIGATION else part.casefold() for part in parts) if windows else parts
