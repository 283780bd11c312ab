"""Patterns as in .gitignore, matched part by part: in a time that grows with the pattern times the path, never faster.

A regular expression for a whole pattern tries, where it does not match, every way to share the path out among its
wildcards. Here no part of a path is given back: what stands between two wildcards is taken where it first fits, which
finds a match wherever there is one.
"""

import re
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial
from operator import eq

from datauploader_watcher.errors import BadPattern

MOST_STARS = 3
"""Stars in one part of a pattern."""
MOST_LEAPS = 2
"""Parts of a pattern that are `**`, which stand for any number of folders."""
MOST_PARTS = 50
LONGEST = 1000
"""Characters of a pattern."""
MOST_PATTERNS = 100
MOST_PARTS_TOGETHER = 500
"""Of all patterns of one list: every file is asked about each of them."""
_STARS = re.compile(r"\*+")

Part = Callable[[str], object]
"""Tells whether a part of a path fits a part of a pattern."""


class Fit(IntEnum):
    """How a pattern fits a path; of two patterns the one that fits better counts, then the later one."""

    NOT = 0
    ABOVE = 1
    """It fits a folder that the path lies in, or that it is."""
    ITSELF = 2


class Pattern:
    """One line."""

    def __init__(self, line: str) -> None:
        """Read it.

        Raises:
            BadPattern: it is empty or a comment, or cannot be read.
        """
        if not line.strip() or line.startswith("#"):
            raise BadPattern(f"the pattern {line!r} is empty or a comment; write one as in .gitignore")
        text = line if line.endswith("\\ ") else line.rstrip()
        self.negative = text.startswith("!")
        parts = text.removeprefix("!").split("/")
        self._folders_only = not parts[-1]
        self._nothing = text == "/"
        try:
            self._read(parts)
        except ValueError as error:
            raise BadPattern(f"the pattern {line!r} cannot be read ({error}); write one as in .gitignore") from error

    def _read(self, parts: list[str]) -> None:
        if not parts[0]:
            del parts[0]  # what begins with a slash lies in the root itself
        elif parts[0] != "**" and (len(parts) == 1 or parts[1:] == [""]):
            parts.insert(0, "**")
        if not parts:
            raise ValueError("nothing is left of it")
        if not parts[-1]:
            parts[-1] = "**"
        self._floating = parts[0] == "**"
        self._inside = parts[-1] == "**"
        """It is about what lies in what its other parts name."""
        named = [text for number, text in enumerate(parts) if text != "**" or parts[number - 1 : number] != ["**"]]
        self._everything = named == ["**", "*"] or (named == ["**"] and not self._folders_only)
        runs: list[list[Part]] = [[]]
        for text in parts:
            if text != "**":
                part = _part(text)
                self._nothing |= part is None
                runs[-1].append(part or bool)
            elif runs[-1]:
                runs.append([])
        self._runs = [run for run in runs if run]

    def fits(self, path: Sequence[str], *, folder: bool) -> Fit:
        """Tell how it fits a path, given by its parts."""
        if self._nothing:
            return Fit.NOT
        if self._everything:
            return Fit.ITSELF
        room = len(path) if folder or not self._inside else len(path) - 1
        end = self._end(path, room)
        if end is None or not room:
            return Fit.NOT
        if self._inside:
            return Fit.ABOVE if self._folders_only else Fit.ITSELF
        return Fit.ABOVE if folder or end < len(path) else Fit.ITSELF

    def _end(self, path: Sequence[str], room: int) -> int | None:
        """Return up to which part of a path the pattern reaches, the last one that it can; None where it does not."""
        at = 0
        for number, run in enumerate(self._runs):
            starts = range(at, room - len(run) + 1)
            if not number and not self._floating:
                starts = starts[:1]
            elif number == len(self._runs) - 1:
                starts = starts[::-1]
            first, rest = run[0], run[1:]
            for start in starts:
                if first(path[start]) and (not rest or all(part(path[start + n]) for n, part in enumerate(rest, 1))):
                    at = start + len(run)
                    break
            else:
                return None
        return at


class Patterns:
    """A list of them, of which some may take back what others say."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Read them.

        Raises:
            BadPattern: one cannot be read.
        """
        self._latest_first = [Pattern(line) for line in reversed(lines)]

    def match(self, path: Sequence[str], *, folder: bool) -> bool:
        """Tell whether they are about a path, given by its parts."""
        best, says = Fit.NOT, False
        for one in self._latest_first:
            fit = one.fits(path, folder=folder)
            if fit > best:
                best, says = fit, not one.negative
                if fit is Fit.ITSELF:
                    break
        return says


def check_size(lines: Sequence[str]) -> None:
    """Refuse more than anybody needs, because every file is asked about each pattern.

    Raises:
        BadPattern: says which bound is passed.
    """
    if len(lines) > MOST_PATTERNS:
        raise BadPattern(f"there are {len(lines)} patterns: write at most {MOST_PATTERNS}")
    for line in lines:
        if len(line) > LONGEST:
            raise BadPattern(f"the pattern {line[:80]!r}… has {len(line)} characters: write at most {LONGEST}")
        parts = line.split("/")
        leaps = sum(part == "**" for part in parts)
        stars = max(len(_STARS.findall(part)) for part in parts)
        if leaps > MOST_LEAPS or stars > MOST_STARS or len(parts) > MOST_PARTS + 1:
            raise BadPattern(
                f"the pattern {line[:80]!r} has too many wildcards: write at most {MOST_STARS} stars between two "
                f"slashes and at most {MOST_LEAPS} times '**', or several patterns"
            )
    if sum(line.count("/") + 1 for line in lines) > MOST_PARTS_TOGETHER:
        raise BadPattern(f"the patterns have more than {MOST_PARTS_TOGETHER} parts together: write fewer of them")


def _part(text: str) -> Part | None:
    """Read what stands between two slashes; None where a bracket is not closed, which fits nothing, as in Git.

    Raises:
        ValueError: it ends in a backslash, or a range runs backwards.
    """
    if not set(text) & set("*?[\\"):
        return partial(eq, text)
    pieces = [""]
    """Expressions of a fixed length, between stars."""
    at = 0
    while at < len(text):
        sign, at = text[at], at + 1
        if sign == "*":
            pieces.append("")
        elif sign == "?":
            pieces[-1] += "."
        elif sign == "[":
            end = text.find("]", at + 1 + (text[at : at + 1] in ("!", "^")))
            if end < 0:
                return None
            pieces[-1] += _signs(text[at:end])
            at = end + 1
        else:
            if sign == "\\":
                if at == len(text):
                    raise ValueError("it ends in a backslash")
                sign, at = text[at], at + 1
            pieces[-1] += re.escape(sign)
    return re.compile(without_giving_back(pieces), re.DOTALL).fullmatch


def without_giving_back(pieces: Sequence[str]) -> str:
    """Join expressions of a fixed length, with anything between them, so that each is taken where it first fits."""
    if len(pieces) == 1:
        return pieces[0]
    between = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1] if piece)
    return f"{pieces[0]}{between}.*{pieces[-1]}"


def _signs(text: str) -> str:
    """Write what stands in brackets as a regular expression."""
    negative = text[0] in "!^"
    text = text[1:] if negative else text
    found, at = "", 0
    while at < len(text):
        if text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            first, last = text[at], text[at + 2]
            if first > last:
                raise ValueError(f"the range {first}-{last} runs backwards")
            found += f"{re.escape(first)}-{re.escape(last)}"
            at += 3
        else:
            found += re.escape(text[at])
            at += 1
    return f"[{'^' if negative else ''}{found}]"
