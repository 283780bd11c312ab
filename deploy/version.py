"""Raises the version of the product in every place that names it: `./dev version NEW`.

These are the project file of each distribution, the exact versions by which the distributions need each other, the Helm
chart, and the heading of CHANGELOG.md under which the changes since the last release are. All else asks an installed
distribution.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = r"\d+\.\d+\.\d+"
"""Three of them, because the installer for Windows takes numbers alone."""
CHART = "deploy/helm/datauploader/Chart.yaml"
NAMED = re.compile(rf'(?m)(^version = "|^(?:version|appVersion): |"ceric-datauploader[a-z-]*==){NUMBERS}')
UNRELEASED = "## Unreleased\n"


def projects(root: Path) -> list[Path]:
    """Find the project file of each distribution."""
    workspace = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]["workspace"]
    return sorted(path for member in workspace["members"] for path in root.glob(f"{member}/pyproject.toml"))


def present(root: Path) -> str:
    """Read the version that there is."""
    return str(tomllib.loads((root / "shared" / "core" / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def raise_to(new: str, root: Path = ROOT) -> None:
    """Write the new version everywhere, or nothing anywhere."""
    old = present(root)
    if not re.fullmatch(NUMBERS, new):
        raise SystemExit(f"a version is three numbers, such as 1.2.0, not {new!r}")
    if _order(new) < _order(old):
        raise SystemExit(f"{new} is older than the present {old}")
    changelog = root / "CHANGELOG.md"
    before, found, changes = changelog.read_text("utf-8").partition(UNRELEASED)
    if re.search(rf"(?m)^## {re.escape(new)}\b", changes):
        raise SystemExit(f"{new} is released already: CHANGELOG.md has it")
    if not found or not re.split(r"(?m)^## ", changes)[0].strip():
        raise SystemExit("CHANGELOG.md says nothing under Unreleased: write there what a person who upgrades must know")
    for path in (*projects(root), root / CHART):
        path.write_text(NAMED.sub(rf"\g<1>{new}", path.read_text("utf-8")), "utf-8")
    heading = f"## {new} - {datetime.now(UTC):%Y-%m-%d}\n"
    changelog.write_text(f"{before}{UNRELEASED}\n{heading}{changes}", "utf-8")


def _order(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def main(arguments: Sequence[str]) -> int:
    """Raise the version, or tell it."""
    parser = argparse.ArgumentParser(prog="./dev version", description=__doc__)
    parser.add_argument("new", nargs="?", help="such as 1.2.0; without it the present version is printed")
    options = parser.parse_args(arguments)
    if options.new:
        raise_to(options.new)
    print(present(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
