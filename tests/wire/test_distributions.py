"""What the distributions say of themselves: the same authors, licence and version, and where the licence is."""

import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]["workspace"]["members"]
FOLDERS = sorted(found.parent for member in WORKSPACE for found in ROOT.glob(f"{member}/pyproject.toml"))
PROJECTS = {folder: tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"] for folder in FOLDERS}
VERSIONS: dict[str, Any] = runpy.run_path(str(ROOT / "deploy" / "version.py"))
SIBLING = r'"(ceric-datauploader[a-z-]*)(.*?)"'
COMMON = ("readme", "requires-python", "license", "license-files", "authors", "keywords", "classifiers", "urls")


def test_every_distribution_says_the_same_of_the_product():
    """Whoever changes an address or an author changes it everywhere."""
    assert len(PROJECTS) == 17
    for folder, project in PROJECTS.items():
        for key in COMMON:
            assert project[key] == PROJECTS[ROOT / "shared" / "core"][key], f"{folder.name}: {key}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_wheel_carries_the_licence_of_the_repository(folder, tmp_path):
    """Who is given a wheel alone has the licence with it."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=folder, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        (carried,) = [name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert wheel.read(carried) == (ROOT / "LICENSE").read_bytes()


def test_the_installer_for_windows_holds_what_the_desktop_needs():
    """Whoever chooses a catalogue at the setup finds it there, on Windows as well."""
    installer = (ROOT / "deploy" / "windows_installer.py").read_text("utf-8")
    (listed,) = re.findall(r"(?ms)^DISTRIBUTIONS = \((.*?)^\)", installer)
    held = {PROJECTS[ROOT / folder]["name"] for folder in re.findall(r'"(.*?)"', listed)}
    needed = {need.partition("==")[0] for need in PROJECTS[ROOT / "deploy" / "desktop"]["dependencies"]}
    assert held == needed | {"ceric-datauploader-core"}


def told(root: Path) -> set[str]:
    """Collect the versions that a tree's project files name: their own, and those of each other that they need."""
    found = set()
    for path in VERSIONS["projects"](root):
        text = path.read_text("utf-8")
        found.add(tomllib.loads(text)["project"]["version"])
        needs = re.findall(SIBLING, text.split("dependencies = ", 1)[1])
        found |= {bound.removeprefix("==") for _, bound in needs}
    return found


def test_every_place_names_the_same_version():
    """Distributions need each other in the very same version, and what is installed and documented is that one."""
    (one,) = told(ROOT)
    for project in PROJECTS.values():
        assert version(project["name"]) == one, "run ./dev test, which brings .venv up to date"
    for name in ("asyncapi", "openapi"):
        assert json.loads((ROOT / f"docs/reference/{name}.json").read_text("utf-8"))["info"]["version"] == one
    released = re.findall(r"(?m)^## (\d\S+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert released[:1] in ([], [one])


@pytest.fixture
def tree(tmp_path):
    """The files that name the version, in a folder of their own, with something to release."""
    for path in (ROOT / "pyproject.toml", ROOT / VERSIONS["CHART"], *VERSIONS["projects"](ROOT)):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    text = "# Changelog\n\n## Unreleased\n\n### Added\n\n- A page.\n\n## 0.0.1 - 2026-01-01\n"
    (tmp_path / "CHANGELOG.md").write_text(text)
    return tmp_path


def test_a_version_is_raised_everywhere_at_once(tree):
    """Project files, needs and the changelog; what is unreleased begins anew."""
    VERSIONS["raise_to"]("7.10.0", tree)

    assert told(tree) == {"7.10.0"}
    assert (tree / VERSIONS["CHART"]).read_text().count("ersion: 7.10.0\n") == 2
    before, _, after = (tree / "CHANGELOG.md").read_text().partition(f"## 7.10.0 - {datetime.now(UTC):%Y-%m-%d}\n")
    assert before == "# Changelog\n\n## Unreleased\n\n"
    assert after == "\n### Added\n\n- A page.\n\n## 0.0.1 - 2026-01-01\n"
    with pytest.raises(SystemExit, match="nothing under Unreleased"):
        VERSIONS["raise_to"]("7.11.0", tree)


@pytest.mark.parametrize(
    ("new", "why"), [("1.2", "three numbers"), ("v1.2.0", "three numbers"), ("0.0.9", "older"), ("7.0.0", "already")]
)
def test_a_version_that_cannot_be_is_refused_and_nothing_written(tree, new, why):
    """Half a release would be worse than none."""
    changelog = tree / "CHANGELOG.md"
    changelog.write_text(changelog.read_text() + "\n## 7.0.0 - 2026-01-02\n")
    before = changelog.read_text(), told(tree)
    with pytest.raises(SystemExit, match=why):
        VERSIONS["raise_to"](new, tree)
    assert (changelog.read_text(), told(tree)) == before


def test_wheels_of_production_carry_nothing_that_tests_need(tmp_path):
    """Neither the fault proxy nor what starts servers; and each wheel finds its siblings beside it."""
    script = ROOT / "deploy" / "wheels.py"
    subprocess.run([sys.executable, script, tmp_path], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    made = {path.name.split("-")[0].replace("_", "-"): path for path in tmp_path.glob("*.whl")}
    assert set(made) == {project["name"] for project in PROJECTS.values()}
    for name, path in made.items():
        with zipfile.ZipFile(path) as wheel:
            code = [entry for entry in wheel.namelist() if entry.endswith(".py")]
            (about,) = [entry for entry in wheel.namelist() if entry.endswith(".dist-info/METADATA")]
            needs = re.findall(r"(?m)^Requires-Dist: (ceric-datauploader[a-z-]*)==", wheel.read(about).decode())
        assert set(needs) < set(made), name
        if name.removeprefix("ceric-datauploader-") not in ("testing", "sandbox"):
            assert not [entry for entry in code if "testing" in entry or "fault" in entry.rpartition("/")[2]], name
            assert "ceric-datauploader-testing" not in needs, name


@pytest.mark.parametrize("name", ["client", "workstation", "desktop"])
def test_one_line_installs_the_command_with_what_it_runs(name):
    """`pipx install` and `uv tool install` offer the programs of the distribution that they are given, of no other."""
    (project,) = [one for one in PROJECTS.values() if one["name"] == f"ceric-datauploader-{name}"]
    assert project["scripts"] == {"datauploader": "datauploader_client.cli:main"}


def test_the_icon_of_the_installer_is_drawn_from_a_file_that_is_there():
    """Whoever moves the gateway's pictures finds out before somebody builds an installer."""
    code = "import windows_installer; print(windows_installer.DRAWING)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "deploy", capture_output=True, text=True, check=True)
    assert Path(ran.stdout.strip()).is_file(), ran.stdout
