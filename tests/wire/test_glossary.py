"""The glossary names classes that exist, each in the module that it says."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

GLOSSARY = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = [line for line in GLOSSARY.splitlines() if line.startswith("| ") and not line.startswith("| Word |")]
PLACE = re.compile(r"`(\w+)` in `([a-z_.]+)` \|$")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_class_of_the_glossary_is_where_it_says(row: str) -> None:
    """Whoever renames or moves a class renames it there as well."""
    found = PLACE.search(row)
    assert found, f"the last column does not read `Class` in `module`: {row}"
    name, module = found.groups()
    known = getattr(importlib.import_module(module), name, None)
    assert inspect.isclass(known), f"{module} has no class {name}"
    assert known.__module__ == module, f"{name} is defined in {known.__module__}"


def test_no_class_stands_in_the_glossary_twice() -> None:
    """One row tells of one thing."""
    names = [found[1] for row in ROWS if (found := PLACE.search(row))]
    assert sorted(names) == sorted(set(names))
