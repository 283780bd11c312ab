"""Standing rules: which folders become uploads by themselves, and under which names."""

import hashlib
import re
from dataclasses import dataclass

from datauploader.contracts.names import check_location, check_name, numbered
from datauploader.errors import ConfigurationError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Target:
    """What a folder that fits a rule is to become."""

    investigation: str
    dataset: str
    location: str

    def further(self, number: int) -> "Target":
        """Return the so-manieth dataset of the folder, beside the first one: `run1 (2)` in `20260101/run1 (2)`."""
        above, slash, last = self.location.rpartition("/")
        return Target(self.investigation, numbered(self.dataset, number), above + slash + numbered(last, number))


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, level by level, and the templates that are filled from it."""

    name: str
    prefix: str
    """The folder without placeholders that everything lies below."""
    levels: tuple[re.Pattern[str], ...]
    """What the name of a folder on each level below the prefix must look like."""
    investigation: str
    dataset: str
    location: str

    @classmethod
    def parse(cls, name: str, pattern: str, *, investigation: str, dataset: str, location: str) -> "Rule":
        """Read a rule.

        Raises:
            ConfigurationError: names the rule and says what is wrong with it.
        """
        parts = _parts(name, pattern)
        fixed = next((i for i, part in enumerate(parts) if _is_variable(part)), len(parts))
        if fixed == len(parts):
            raise _wrong(name, f"the pattern {pattern!r} has no placeholder such as {{dataset}}")
        known: set[str] = set()
        levels = tuple(_level(name, part, known) for part in parts[fixed:])
        for what, template in (("investigation", investigation), ("dataset", dataset), ("location", location)):
            for word in _PLACEHOLDER.findall(template):
                if word not in known:
                    there = ", ".join(f"{{{w}}}" for w in sorted(known)) or "none"
                    raise _wrong(name, f"{what} uses {{{word}}}, which the pattern does not have (it has {there})")
            rest = _PLACEHOLDER.sub("", template)
            if "{" in rest or "}" in rest:
                raise _wrong(name, f"a brace in the {what} {template!r} is not closed or not opened")
            if not template:
                raise _wrong(name, f"{what} must not be empty")
        prefix = "/".join(parts[:fixed]) or "/"
        if prefix.endswith(":"):
            prefix += "/"  # without it a path of Windows is relative to where the program is on that drive
        return cls(name, prefix, levels, investigation, dataset, location)

    def level(self, depth: int, folder: str) -> dict[str, str] | None:
        """Match the name of a folder `depth` levels below the prefix; return what its placeholders stand for."""
        found = self.levels[depth].fullmatch(folder)
        return found.groupdict() if found else None

    def target(self, values: dict[str, str]) -> Target:
        """Fill the templates.

        Raises:
            ValueError: a name that comes out cannot be one; says why.
        """
        return Target(
            check_name(_fill(self.investigation, values)),
            check_name(_fill(self.dataset, values)),
            check_location(_fill(self.location, values)),
        )


def upload_id(station: str, rule: str, folder: bytes, generation: int) -> str:
    """Name the upload of a folder, the same at every look; a folder that is opened again gets a new one."""
    text = b"\0".join((station.encode(), rule.encode(), folder, str(generation).encode()))
    return f"rule-{hashlib.sha256(text).hexdigest()[:32]}"


def _wrong(name: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"[[watcher.rules]] {name}: {problem}")


def _parts(name: str, pattern: str) -> list[str]:
    text = pattern.replace("\\", "/")
    if not (text.startswith("/") or re.match(r"^[A-Za-z]:/", text)):
        raise _wrong(name, f"the pattern {pattern!r} must be an absolute path")
    text = text.removesuffix("/**").rstrip("/")
    parts = text.removeprefix("//").split("/")
    if any(part in (".", "..", "**") for part in parts) or "" in parts[1:]:
        raise _wrong(name, f"the pattern {pattern!r} may hold ** only at its end, and no empty, . or .. part")
    if not text.startswith("//"):
        return parts
    if len(parts) < 2 or any(map(_is_variable, parts[:2])):  # noqa: PLR2004 - server and share
        raise _wrong(name, f"the pattern {pattern!r} must name the server and its share")
    return [f"//{parts[0]}/{parts[1]}", *parts[2:]]


def _is_variable(part: str) -> bool:
    return any(c in part for c in "{}*")


def _level(name: str, part: str, known: set[str]) -> re.Pattern[str]:
    pieces, end = [""], 0
    """Each begins with a variable piece, but for the first one."""
    for found in _PLACEHOLDER.finditer(part):
        word = found.group(1)
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", word):
            raise _wrong(name, f"{{{word}}} is not a placeholder: write a word of a-z, 0-9 and _ in braces")
        if word in known:
            raise _wrong(name, f"the placeholder {{{word}}} is used twice in the pattern")
        known.add(word)
        _literal(name, part[end : found.start()], pieces)
        pieces.append(f"(?P<{word}>.+?)")
        end = found.end()
    _literal(name, part[end:], pieces)
    settled = "".join(f"(?>{piece})" for piece in pieces[1:-1])  # what fits first is kept: see `patterns`
    return re.compile(pieces[0] + settled + (pieces[-1] if len(pieces) > 1 else ""), re.DOTALL)


def _literal(name: str, text: str, pieces: list[str]) -> None:
    if "{" in text or "}" in text:
        raise _wrong(name, f"a brace in {text!r} is not closed or not opened")
    first, *others = text.split("*")
    pieces[-1] += re.escape(first)
    pieces.extend(f".*?{re.escape(one)}" for one in others)


def _fill(template: str, values: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found.group(1)], template)
