"""docs/tour.md is the true way: each stop leads to the next by an import, or by an event that one says, one hears."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from datauploader.contracts.registry import EVENTS

TREE = Path(__file__).parents[2]
MOST_FILES = 36
"""More than these nobody reads in an afternoon."""
ENTRY = re.compile(r"(?m)^(\d+)\. ((?:.+\n?)(?:^ {3,}.+\n?)*)")
HEAD = re.compile(r"^`(?P<path>[\w/]+\.py)`(?P<names>(?: `[\w.]+`)+): ")
SAID = re.compile(r"\b(publishes|consumes) `([a-z.-]+)`")


@dataclass(frozen=True)
class Stop:
    """One entry of the list."""

    number: int
    path: str
    names: tuple[str, ...]
    said: frozenset[tuple[str, str]]

    def __str__(self) -> str:
        """Read as the tour writes it."""
        return f"{self.number}. {self.path}"


def stops() -> list[Stop]:
    """Read the list."""
    found = []
    for number, entry in ENTRY.findall((TREE / "docs" / "tour.md").read_text("utf-8")):
        text = " ".join(entry.split())
        head = HEAD.match(text)
        assert head, f"stop {number} does not begin with `path` `Name`: {text[:80]}"
        said = frozenset(SAID.findall(text))
        found.append(Stop(int(number), head["path"], tuple(re.findall(r"`([\w.]+)`", head["names"])), said))
    return found


STOPS = stops()


@cache
def parsed(path: Path) -> ast.Module:
    """Read a file of the code."""
    return ast.parse(path.read_text("utf-8"))


def root_of(path: Path) -> Path:
    """Return the folder that the distribution's packages stand in."""
    while (path.parent / "__init__.py").exists():
        path = path.parent
    return path.parent


def imports(path: Path) -> set[Path]:
    """Return the files that a file imports; a name that a package hands on counts as that of its own module."""
    return {place for module, name in named(path) if (place := origin(module, name, root_of(path))) is not None}


def named(path: Path) -> set[tuple[str, str]]:
    """Return modules and the names that are taken from them."""
    nodes = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom)]
    assert not any(node.level for node in nodes), f"{path} has relative imports, which this test does not follow"
    return {(node.module or "", alias.name) for node in nodes for alias in node.names}


def origin(module: str, name: str, own: Path) -> Path | None:
    """Return the file that a name comes from, None where it is not of this tree."""
    for root in {own, TREE / "shared" / "core"}:
        place = root.joinpath(*module.split("."))
        for file in (place / f"{name}.py", place / name / "__init__.py", place.with_suffix(".py")):
            if file.exists():
                return file
        package = place / "__init__.py"
        if package.exists():
            further = next((one for one, of in named(package) if of == name and one != module), None)
            return package if further is None else origin(further, name, own)
    return None


def defined(path: str) -> set[str]:
    """Return the functions and classes of a file, and the methods as `Class.method`."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    found = set()
    for node in parsed(TREE / path).body:
        if isinstance(node, functions | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, functions)}
    return found


def test_the_stops_are_numbered_in_order_and_few() -> None:
    """A reader can open them all."""
    assert [stop.number for stop in STOPS] == list(range(1, len(STOPS) + 1))
    assert len({stop.path for stop in STOPS}) <= MOST_FILES


@pytest.mark.parametrize("stop", STOPS, ids=str)
def test_what_a_stop_names_is_in_its_file(stop: Stop) -> None:
    """Whoever moves or renames a function of the way changes the tour as well."""
    missing = set(stop.names) - defined(stop.path)
    assert not missing, f"{stop}: the file does not define {sorted(missing)}"


@pytest.mark.parametrize(("stop", "following"), tuple(pairwise(STOPS)), ids=str)
def test_each_stop_leads_to_the_next(stop: Stop, following: Stop) -> None:
    """One imports the other, or one publishes what the other consumes, or both are in one file."""
    here, there = TREE / stop.path, TREE / following.path
    event = {name for word, name in stop.said if word == "publishes"} & {
        name for word, name in following.said if word == "consumes"
    }
    assert event or here == there or there in imports(here) or here in imports(there), (
        f"{stop} and {following} neither import each other nor meet at an event"
    )


def test_every_event_of_the_way_is_published_at_one_stop_and_consumed_at_the_next() -> None:
    """No event is named that does not exist, and none is left on the way."""
    known = {kind.name for kind in EVENTS}
    pairs = list(pairwise(STOPS))
    for word, name in {said for stop in STOPS for said in stop.said}:
        assert name in known, f"the tour says `{name}`, which is no event"
        assert any(("publishes", name) in a.said and ("consumes", name) in b.said for a, b in pairs), (word, name)


def test_the_check_of_imports_tells_the_way_from_what_is_beside_it() -> None:
    """A package that hands a name on leads to the module that has it; another service is no neighbour."""
    publishing = TREE / "services/watcher/datauploader_watcher/outgoing/publishing.py"
    assert TREE / "shared/core/datauploader/reliability/outbox.py" in imports(publishing)
    assert TREE / "services/transfer/datauploader_transfer/handlers.py" not in imports(publishing)
    assert "Outbox.put" in defined("shared/core/datauploader/reliability/outbox.py")
    assert "Outbox.post" not in defined("shared/core/datauploader/reliability/outbox.py")
