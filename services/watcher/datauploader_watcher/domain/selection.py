"""Which files belong to an upload: patterns as in .gitignore, on names of any bytes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from datauploader.files.leftovers import RSYNC, any_of, is_system
from datauploader_watcher.domain.patterns import Patterns, check_size


@dataclass(frozen=True, slots=True)
class Omission:
    """Why something is left out: a stable word and a sentence."""

    reason: str
    detail: str


class PendingOmission(NamedTuple):
    """Something that stays out, not yet on the record: temporary files come and go."""

    omission: Omission
    due: float
    """When it is looked at once more, and put on the record (monotonic)."""
    folder: bool


ALWAYS_EXCLUDED = Omission("excluded", "it has a temporary name, or a name that this station leaves out")
SYSTEM = Omission(
    "excluded", "it belongs to the operating system: a recycle bin, snapshot, index, thumbnail or similar"
)
EXCLUDED = Omission("excluded", "an exclude pattern of the upload matches it")
NOT_INCLUDED = Omission("not-included", "no include pattern of the upload matches it")
NOT_RECORDED = "not-recorded"


def unrecorded(error: Exception) -> Omission:
    """Say that something about a file cannot be held, which nobody has thought of."""
    return Omission(
        NOT_RECORDED,
        f"something about it cannot be recorded ({type(error).__name__}: {str(error)[:300]}); tell the operator, and "
        "upload it again when this is fixed",
    )


class Selection:
    """The patterns of one upload."""

    def __init__(
        self,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        always_exclude: Sequence[str] = (),
        marker: str | None = None,
        bounded: bool = True,
    ) -> None:
        """Read the patterns; those of a new request within bounds that an earlier release did not have.

        Raises:
            BadPattern: one cannot be read, is no pattern (empty, or a comment), or is larger than anybody needs.
        """
        if bounded:
            for lines in (include, exclude, () if marker is None else (marker,)):
                check_size(lines)
        self._include = _patterns(include)
        self._exclude = _patterns(exclude)
        self._always = _patterns([f"\\{name}" if name.startswith("#") else name for name in always_exclude])
        self._by_name = _by_name(always_exclude)
        self._marker = _patterns((marker,)) if marker is not None else None

    def omits(self, path: bytes, *, folder: bool = False) -> Omission | None:
        """Say why this path is left out, or None where it belongs to the upload."""
        parts = _parts(path)
        if is_system(parts[-1], folder=folder):
            return SYSTEM
        if self._by_name is not None:
            always = self._by_name.fullmatch(parts[-1]) is not None
        else:
            always = self._always is not None and self._always.match(parts, folder=folder)
        if always or RSYNC.fullmatch(parts[-1]):
            return ALWAYS_EXCLUDED
        if self._exclude is not None and self._exclude.match(parts, folder=folder):
            return EXCLUDED
        if self._include is not None and not folder and not self._include.match(parts, folder=False):
            return NOT_INCLUDED
        return None

    def marks(self, path: bytes) -> bool:
        """Tell whether this file says that the dataset is complete."""
        return self._marker is not None and self._marker.match(_parts(path), folder=False)


def _patterns(lines: Sequence[str]) -> Patterns | None:
    return Patterns(lines) if lines else None


def _by_name(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Make one expression for names where every pattern is a plain one, because every file is asked about these.

    A walk never enters a folder that is left out, so the last part of the path decides.
    """
    if not patterns or any(set(pattern) & set("/!\\[]") for pattern in patterns):
        return None
    return any_of(pattern.strip() for pattern in patterns)


def _parts(path: bytes) -> list[str]:
    return path.decode("utf-8", "surrogateescape").split("/")
