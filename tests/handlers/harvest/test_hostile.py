"""Two hundred hostile files: each is a sentence or values, within its bounds, and leaves nothing behind."""

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datauploader.plugins.harvester import HarvesterSettings, Kind
from datauploader.plugins.harvester.extracting import Extractor, Reading
from datauploader.plugins.harvester.harvester_file import load_harvester
from datauploader_harvester_nexus.app import create as nexus
from datauploader_harvester_spec.app import create as spec
from datauploader_testing.waiting import eventually

from .hostile import Hostile, hostile, whole_edf, whole_nexus, whole_spec

pytestmark = [pytest.mark.posix, pytest.mark.attack("S34")]

ROOT = Path(__file__).parents[3]
SECONDS = 2.0
GRACE_S = 8.0
"""For a process that begins, and one that is killed, on a machine that is busy."""
MEMORY_MB = 256
SUFFIXES = {"nexus": "nxs", "spec": "spec", "edf": "edf", "program": "txt"}
CASES = hostile()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give readers a temporary folder of this test's own, in which nothing may stay and nobody may live."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert sorted(folder.iterdir()) == []
    eventually(lambda: not living(folder), what="the end of all processes")


def living(folder: Path) -> list[str]:
    """Return the command lines of processes that were given this temporary folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def kind_of(case: Hostile, folder: Path) -> Kind:
    """Return the harvester of a case; a program is written first."""
    if case.reader in ("nexus", "spec"):
        return {"nexus": nexus, "spec": spec}[case.reader].kind
    if case.reader == "edf":
        return load_harvester(ROOT / "harvesters" / "edf" / "harvester.toml").kind
    (folder / "read.sh").write_text(f"#!/bin/sh\n{case.program}\n")
    (folder / "read.sh").chmod(0o755)
    (folder / "harvester.toml").write_text('name = "odd"\npatterns = ["*"]\ncommand = ["./read.sh", "{path}"]\n')
    return load_harvester(folder / "harvester.toml").kind


def read(case: Hostile, folder: Path) -> Reading:
    """Read the file as `datauploader harvest try` does."""
    folder.mkdir()
    path = folder / f"{case.name}.{SUFFIXES[case.reader]}"
    case.write(path)
    extractor = Extractor(kind_of(case, folder), HarvesterSettings(seconds=SECONDS, memory_mb=MEMORY_MB))
    try:
        return extractor.read(os.fsencode(path.parent), os.fsencode(path.name))
    finally:
        extractor.close()


def judge(cases: list[Hostile], folder: Path) -> None:
    """Read all of them, and collect what none may do."""
    wrong, before = [], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of what other tests have started
    for case in cases:
        began = time.monotonic()
        reading = read(case, folder / case.name)
        took = time.monotonic() - began
        if took > SECONDS + GRACE_S:
            wrong.append(f"{case.name} took {took:.1f} s")
        if not reading.problem and not reading.parameters and case.name not in SILENT:
            wrong.append(f"{case.name} says nothing")
        if len(reading.problem) > 4000 or "Traceback" in reading.problem:
            wrong.append(f"{case.name} is no sentence: {reading.problem[:200]}")
    assert wrong == []
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a child counts what its parent has when it begins
    assert most <= max(before, own, (MEMORY_MB + 300) * 1024), f"a reader took {most // 1024} MiB"


SILENT: set[str] = set()
"""Files that are odd, and say nothing, which is right."""


def test_a_sample_of_the_hostile_files_does_no_harm(temporary: Path, tmp_path: Path) -> None:
    """Every fifteenth of them, of each kind."""
    judge(CASES[3::15], tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize("part", range(10))
def test_no_hostile_file_does_harm(temporary: Path, tmp_path: Path, part: int) -> None:
    """All two hundred of them."""
    assert len(CASES) >= 200
    judge(CASES[part::10], tmp_path)


def test_the_files_before_they_are_spoilt_are_read_whole(temporary: Path, tmp_path: Path) -> None:
    """Else nothing would be shown."""
    for reader, write in (("nexus", whole_nexus), ("spec", whole_spec), ("edf", whole_edf)):
        reading = read(Hostile("whole", reader, write), tmp_path / reader)
        assert (reading.problem, len(reading.parameters) > 3) == ("", True)
