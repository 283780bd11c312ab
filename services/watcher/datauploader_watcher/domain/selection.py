"""Which files belong to an upload: patterns as in .gitignore, on names of any bytes."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

from datauploader_watcher.errors import BadPattern


@dataclass(frozen=True, slots=True)
class Omission:
    """Why something is left out: a stable word and a sentence."""

    reason: str
    detail: str


ALWAYS_EXCLUDED = Omission("excluded", "it has the name of a temporary or system file")
EXCLUDED = Omission("excluded", "an exclude pattern of the upload matches it")
NOT_INCLUDED = Omission("not-included", "no include pattern of the upload matches it")
NOT_RECORDED = "not-recorded"


def unrecorded(error: Exception) -> Omission:
    """Say that something about a file cannot be held, which nobody has thought of."""
    return Omission(
        NOT_RECORDED,
        f"something about it cannot be recorded ({type(error).__name__}: {str(error)[:300]}); tell the operator, and "
        "upload it anew when that is mended",
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
    ) -> None:
        """Read the patterns.

        Raises:
            BadPattern: one cannot be read, or is no pattern (empty, or a comment).
        """
        self._include = _spec(include)
        self._exclude = _spec(exclude)
        self._always = _spec(always_exclude)
        self._by_name = _by_name(always_exclude)
        self._marker = _spec((marker,)) if marker is not None else None

    def omits(self, path: bytes, *, folder: bool = False) -> Omission | None:
        """Say why this path is left out, or None where it belongs to the upload."""
        text = _subject(path, folder)
        if self._is_always_excluded(text):
            return ALWAYS_EXCLUDED
        if self._exclude is not None and _matches(self._exclude, text):
            return EXCLUDED
        if self._include is not None and not folder and not _matches(self._include, text):
            return NOT_INCLUDED
        return None

    def _is_always_excluded(self, text: str) -> bool:
        if self._by_name is not None:
            return self._by_name.fullmatch(text.rstrip("/").rpartition("/")[2]) is not None
        return self._always is not None and _matches(self._always, text)

    def marks(self, path: bytes) -> bool:
        """Tell whether this file says that the dataset is complete."""
        return self._marker is not None and _matches(self._marker, _subject(path, folder=False))


MOST_STARS = 3
"""Stars in one part of a pattern: the time for a name grows with its length to this power, for everybody's files."""
MOST_LEAPS = 2
"""Parts of a pattern that are `**`, which stand for any number of folders."""


def _check_effort(pattern: str) -> None:
    """Refuse a pattern that somebody could stop the station with.

    Raises:
        BadPattern: it has too many wildcards.
    """
    parts = pattern.split("/")
    leaps = sum(part == "**" for part in parts)
    stars = max((len(_STARS.findall(part)) for part in parts), default=0)
    if leaps > MOST_LEAPS or stars > MOST_STARS or pattern.count("/") > _MOST_PARTS:
        raise BadPattern(
            f"the pattern {pattern[:80]!r} has too many wildcards: write at most {MOST_STARS} stars between two "
            f"slashes and at most {MOST_LEAPS} times '**', or several patterns"
        )


_STARS = re.compile(r"\*+")
_MOST_PARTS = 50


def _spec(patterns: Sequence[str]) -> GitIgnoreSpec | None:
    if not patterns:
        return None
    for pattern in patterns:
        if not pattern.strip() or pattern.startswith("#"):
            raise BadPattern(f"the pattern {pattern!r} is empty or a comment; write one as in .gitignore")
        _check_effort(pattern)
        try:
            GitIgnoreSpec.from_lines([pattern])
        except (ValueError, re.error) as error:  # a range that runs backwards, such as [z-a]
            raise BadPattern(f"the pattern {pattern!r} cannot be read ({error}); write one as in .gitignore") from error
    return GitIgnoreSpec.from_lines(patterns)


def _by_name(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Make one expression for names where every pattern is a plain one, because every file is asked about these.

    A walk never enters a folder that is left out, so the last part of the path decides.
    """
    if not patterns or any(set(pattern) & set("/!\\[]#") for pattern in patterns):
        return None
    return re.compile("|".join(f"(?:{fnmatch.translate(pattern.strip())})" for pattern in patterns))


def _matches(spec: GitIgnoreSpec, text: str) -> bool:
    return bool(spec.match_file(text))


def _subject(path: bytes, folder: bool) -> str:
    """Write a path as pathspec wants it; a newline would end what its `.` matches."""
    text = path.decode("utf-8", "surrogateescape").replace("\n", "\r")
    return text + "/" if folder else text
