"""Builds a wheel of every distribution below the working directory; where the code is missing, of its needs alone."""

import os
import sys
import tomllib
from pathlib import Path

from hatchling.build import build_wheel


def main(target: str) -> None:
    """Put the wheels into the target folder."""
    for project in sorted(Path.cwd().rglob("pyproject.toml")):
        targets = tomllib.loads(project.read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
        for package in targets["wheel"]["packages"]:
            (project.parent / package).mkdir(exist_ok=True)
            (project.parent / package / "__init__.py").touch()
        os.chdir(project.parent)
        build_wheel(target)


main(sys.argv[1])
