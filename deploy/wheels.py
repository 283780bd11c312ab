"""Builds a wheel of every distribution below the working directory; where the code is missing, of its needs alone."""

import os
import sys
import tomllib
from pathlib import Path

from hatchling.build import build_wheel


def main(target: str) -> None:
    """Put the wheels into the target folder."""
    above = Path.cwd()
    folder = Path(target).resolve()
    for path in sorted(above.rglob("pyproject.toml")):
        project = tomllib.loads(path.read_text("utf-8"))
        if "build-system" not in project or any(part.startswith(".") for part in path.relative_to(above).parts):
            continue
        for package in project["tool"]["hatch"]["build"]["targets"]["wheel"].get("packages", ()):
            (path.parent / package).mkdir(exist_ok=True)
            (path.parent / package / "__init__.py").touch()
        os.chdir(path.parent)
        build_wheel(str(folder))


main(sys.argv[1])
