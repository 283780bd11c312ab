"""The figures about the code are counted as deploy/house.py says, in a tree that a person can count by hand."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREE = {
    "pyproject.toml": (
        '[[tool.importlinter.contracts]]\nname = "x"\ntype = "layers"\ncontainers = ["datauploader_gateway"]\n'
        'layers = ["application", "features", "auth"]\n'
    ),
    "shared/datauploader/__init__.py": "",
    "shared/datauploader/words.py": "class Word:\n    pass\n" + "#\n" * 58,
    "shared/datauploader/once.py": "from datauploader.words import Word\n",
    "shared/datauploader/testing/__init__.py": "class Word:\n    pass\n",
    "services/gateway/datauploader_gateway/__init__.py": "",
    "services/gateway/datauploader_gateway/application.py": (
        "from datauploader_gateway import auth\nfrom datauploader import once\n"
    ),
    "services/gateway/datauploader_gateway/auth.py": (
        "import datauploader_gateway\nfrom . import features\n\n\ndef _twice(): ...\n\n\n"
        "def _once(): return _twice()\n\n\n"
        "def use(): return _once(), _twice()\n"
    ),
    "services/gateway/datauploader_gateway/features/__init__.py": "def show():\n    from .. import auth\n",
    "harvesters/x/datauploader_harvester_x/__init__.py": (
        "class Page:\n    class Word:\n        async def _never(self): ...\n        def __len__(self): ...\n"
    ),
    "sandbox/datauploader_sandbox/__init__.py": "class Word:\n    pass\n",
    "docs/tour.md": (
        "# Tour\n\nNot `services/no.py`.\n\n1. `services/a/b.py`, then\n   `shared/c.py:fold`.\n2. A thought.\n\n"
        "## After\n\n`services/no.py`\n\n3. `services/a/b.py` again, and `word`.\n"
    ),
}


@pytest.fixture(scope="module")
def house() -> Any:
    """The script, as a module."""
    import house

    return house


@pytest.fixture
def tree(tmp_path):
    """The tiny tree."""
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_figure_of_a_tiny_tree_is_what_a_person_counts(house, tree):
    """Testing and the sandbox are no production code; what a circle leads to is not in it."""
    rows = house.measure(tree, house.layers(tree)).rows
    assert rows == {
        "files": "8",
        "lines": "80",
        "files per 1,000 lines": "100.0",
        "functions per 1,000 lines": "75.0",
        "files under 60 lines with one importer": "1",
        "private functions used once": "33 % (1 of 3)",
        "class names borne by two or more": "1",
        "imports upwards in the gateway": "1",
        "circles between modules": "1 (of 2 modules)",
        "the way of one file: files": "2",
        "the way of one file: stops": "3",
    }


def test_what_was_counted_is_named(house, tree):
    """A figure that somebody wants to lower leads to its places."""
    names = house.measure(tree, house.layers(tree)).names
    assert names["Files under 60 lines with one importer"] == ["shared/datauploader/once.py"]
    words = "Word: harvesters/x/datauploader_harvester_x/__init__.py:2, shared/datauploader/words.py:1"
    assert names["Class names borne by two or more"] == [words]
    assert names["Imports upwards in the gateway"] == [
        "datauploader_gateway.auth imports datauploader_gateway.features"
    ]


def test_layers_are_those_of_the_contract(house, tree):
    """Whoever changes the contract about the gateway is counted by the new one."""
    contract = (
        '[[tool.importlinter.contracts]]\nname = "x"\ntype = "layers"\ncontainers = ["datauploader_gateway"]\n'
        'layers = ["(gone) : auth", "features | application"]\n'
    )
    (tree / "pyproject.toml").write_text(contract)
    edges = house.imports(house.sources(tree))
    below = ("application", "features")
    expected = [f"datauploader_gateway.{name} imports datauploader_gateway.auth" for name in below]
    assert house.upward(edges, house.layers(tree)) == expected


def test_a_tree_without_a_tour_says_so(house, tree):
    """Instead of a nought, which would be praise."""
    (tree / "docs" / "tour.md").unlink()
    assert house.measure(tree, house.layers(tree)).rows["the way of one file: stops"] == "no docs/tour.md"


def test_the_command_prints_a_table(house):
    """Of this tree: each row has a figure, and there is much code."""
    ran = subprocess.run([sys.executable, house.__file__], capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in ran.stdout.splitlines()]
    assert rows[2][0] == "files"
    assert int(rows[2][1].replace(",", "")) > 300
    assert all(len(row) == 2 for row in rows[1:])
