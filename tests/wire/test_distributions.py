"""What the distributions say of themselves: the same authors, licence and version, and where the licence is."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]["workspace"]["members"]
FOLDERS = sorted(found.parent for member in WORKSPACE for found in ROOT.glob(f"{member}/pyproject.toml"))
PROJECTS = {folder: tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"] for folder in FOLDERS}
COMMON = ("readme", "requires-python", "license", "license-files", "authors", "keywords", "classifiers", "urls")


def test_every_distribution_says_the_same_of_the_product():
    """Whoever changes an address or an author changes it everywhere."""
    assert len(PROJECTS) == 7
    for folder, project in PROJECTS.items():
        for key in COMMON:
            assert project[key] == PROJECTS[ROOT / "shared"][key], f"{folder.name}: {key}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_wheel_carries_the_licence_of_the_repository(folder, tmp_path):
    """Who is given a wheel alone has the licence with it."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=folder, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        (carried,) = [name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert wheel.read(carried) == (ROOT / "LICENSE").read_bytes()
