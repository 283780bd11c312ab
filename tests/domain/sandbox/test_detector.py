"""The detector writes what its plan says, and its ledger is what lies on the disk."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from datauploader_sandbox.detector import Detector, Plan
from datauploader_sandbox.oracle import Evidence, judge, read_directory, read_ledger

QUICK = Plan(scans=3, frames=3, shape=(16, 16), seconds_per_frame=0.0)


def write(tmp_path: Path, plan: Plan, name: str = "watched") -> tuple[Path, Path]:
    """Let a detector follow a plan, and return its folder and its ledger."""
    folder, ledger = tmp_path / name, tmp_path / f"{name}.jsonl"
    Detector(folder, ledger, plan).run()
    return folder, ledger


@pytest.mark.parametrize("mode", ["scan", "burst", "hostile"])
def test_the_ledger_is_what_lies_on_the_disk(tmp_path: Path, mode: str) -> None:
    """The oracle, shown the folder itself as storage, finds nothing amiss."""
    folder, ledger = write(tmp_path, replace(QUICK, mode=mode, files=120, file_size=500))
    written, found = read_ledger(ledger), read_directory(folder)
    assert judge(Evidence(written, found)).holds, judge(Evidence(written, found))
    assert len(found) >= 19


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """Two runs of a plan differ in nothing; another seed differs."""
    first, second = (read_directory(write(tmp_path, QUICK, name)[0]) for name in ("first", "second"))
    other = read_directory(write(tmp_path, replace(QUICK, seed=2), "other")[0])
    assert first == second
    assert first != other


def test_a_scan_is_a_nexus_file_that_h5py_opens(tmp_path: Path) -> None:
    """The entry says what, when, by whom, of what, and links to the detector's frames."""
    folder, _ = write(tmp_path, QUICK)
    paths = sorted(folder.rglob("*.nxs"))
    assert len(paths) == 3
    with h5py.File(paths[0]) as file:
        entry = file[file.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry["definition"].asstr()[()] == "NXtomo"
        assert entry["title"].asstr()[()].startswith("Tomography of")
        assert entry["start_time"].asstr()[()] < entry["end_time"].asstr()[()]
        assert entry["instrument/name"].asstr()[()] == "SYRMEP"
        assert {entry[name].attrs["NX_class"] for name in ("user", "sample")} == {"NXuser", "NXsample"}
        assert entry["data/data"].shape == (3, 16, 16)
        assert entry["data/data"] == entry["instrument/detector/data"]
        assert entry["data/data"].chunks == (1, 16, 16)


def test_names_versions_and_resting_states_are_recorded(tmp_path: Path) -> None:
    """Rewritten and rotated files have several versions, growing ones resting states, temporary names none."""
    _, ledger = write(tmp_path, replace(QUICK, scans=9))
    written = read_ledger(ledger)
    names = [path.decode() for path in written]
    assert any("Ωμέγα" in name and " " in name for name in names)
    assert not any(name.endswith(".tmp") for name in names)
    assert len(written[b"Lysozyme crystal 7/scan_0001/preview.tif"].versions) == 3
    assert len(written[b"Lysozyme crystal 7/scan_0001/scan_0001.nxs"].versions) == 4
    assert b"acquisition.log.1" in written


def test_hostile_things_are_there_and_marked(tmp_path: Path) -> None:
    """A FIFO, a socket, links in and out, names that are not UTF-8, and an unreadable file."""
    folder, ledger = write(tmp_path, Plan(mode="hostile"))
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    hostile = folder / "hostile"
    assert stat.S_ISFIFO((hostile / "fifo").stat().st_mode)
    assert stat.S_ISSOCK((hostile / "socket").stat().st_mode)
    assert (hostile / "folder outside").resolve() == Path("/etc")
    assert stat.S_IMODE((hostile / "unreadable.dat").stat().st_mode) == 0
    assert any(name.startswith(b"\xff") for name in map(os.fsencode, (path.name for path in hostile.iterdir())))
    assert {line["left_out"] for line in lines if "left_out" in line} >= {"fifo", "socket", "link to a folder outside"}


def test_a_stopped_detector_closes_its_files(tmp_path: Path) -> None:
    """Stopped in the middle of a slow scan, what it leaves is whole and in the ledger."""
    folder, ledger = tmp_path / "watched", tmp_path / "ledger.jsonl"
    with Detector(folder, ledger, replace(QUICK, scans=0, seconds_per_frame=60.0)) as detector:
        while not list(folder.rglob("*.tif")):
            assert detector.writing
    assert judge(Evidence(read_ledger(ledger), read_directory(folder))).holds
    with h5py.File(next(folder.rglob("*.nxs"))) as file:
        assert file["entry/data/data"].shape[0] == 1


def test_total_bytes_ends_an_endless_plan(tmp_path: Path) -> None:
    """No scan begins after so many bytes."""
    folder, _ = write(tmp_path, replace(QUICK, scans=0, total_bytes=40_000))
    assert 2 <= len(list(folder.rglob("*.nxs"))) < 9


def test_a_ledger_inside_the_watched_folder_is_refused(tmp_path: Path) -> None:
    """Otherwise it would be uploaded itself."""
    with pytest.raises(ValueError, match="must lie outside the watched folder"):
        Detector(tmp_path, tmp_path / "ledger.jsonl", QUICK)


def test_the_command_line_writes_beside_the_folder(tmp_path: Path) -> None:
    """`python -m datauploader_sandbox.detector FOLDER` needs nothing else."""
    command = [
        sys.executable,
        "-m",
        "datauploader_sandbox.detector",
        str(tmp_path / "w"),
        "--mode",
        "burst",
        "--files",
        "10",
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert len(read_ledger(tmp_path / "w.ledger.jsonl")) == 10
