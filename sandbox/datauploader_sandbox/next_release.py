"""A release that does not exist yet: this one, changed in the ways that a next one may, for tests of up and down.

Its state files have tables that this one does not know, its events and reports fields, and its view another format.
"""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

PACKAGES = (
    "datauploader",
    "datauploader_watcher",
    "datauploader_transfer",
    "datauploader_catalog",
    "datauploader_gateway",
)


def write_next_release(folder: Path) -> Path:
    """Write its packages into a folder; with that as `PYTHONPATH` a service is one of the next release.

    Raises:
        AssertionError: this release does not look as expected, so that a change would have no effect.
    """
    for name in PACKAGES:
        spec = find_spec(name)
        assert spec is not None, name
        assert spec.submodule_search_locations, name
        source = Path(next(iter(spec.submodule_search_locations)))
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    core = folder / "datauploader"
    _change(
        core / "reliability" / "store.py",
        r"self\._schemas, self\._verdict = tuple\(schemas\), _WHOLE",
        "self._schemas, self._verdict = tuple(map(_next, schemas)), _WHOLE",
    )
    with (core / "reliability" / "store.py").open("a", encoding="utf-8") as store:
        store.write(_NEXT_SCHEMA)
    field = '    of_next_release: str = "what this release does not know"\n'
    _change(core / "contracts" / "model.py", r'(class EventData\(WireModel\):\n    """.*?"""\n)', rf"\1{field}")
    _change(core / "contracts" / "paths.py", r'(class FilePath\(WireModel\):\n    """.*?"""\n)', rf"\1{field}")
    field = f"    of_next_release: str = msgspec.field(default_factory=lambda: {field.split(' = ')[1].strip()})\n"
    _change(core / "contracts" / "files.py", r'(class FileVersion\(.*?\):\n    """.*?"""\n)', rf"\1{field}")
    _change(folder / "datauploader_gateway" / "projection" / "view_format.py", r"NUMBER = (\d+)", r"NUMBER = 1\1")
    return folder


_NEXT_SCHEMA = """

def _next(schema: Schema) -> Schema:
    steps = len(schema.steps)
    table = f"CREATE TABLE next_{schema.component.replace('-', '_')} (x INTEGER);"
    return Schema(schema.component, (*schema.steps, table), serves=steps)
"""


def _change(file: Path, pattern: str, replacement: str) -> None:
    text, changes = re.subn(pattern, replacement, file.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
    assert changes == 1, f"{file.name}: nothing looks like {pattern}"
    file.write_text(text, encoding="utf-8")
