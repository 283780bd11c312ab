"""The main job on real parts: what an instrument writes becomes verified datafiles of a complete dataset."""

import hashlib
import os
from pathlib import Path

import pytest

from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.waiting import eventually

NEXUS = "DATAUPLOADER_TEST_NEXUS"
"""Names the folder with real instrument files."""


@pytest.mark.parametrize("broker", ["memory", "rabbitmq"])
def test_what_a_detector_writes_becomes_a_complete_dataset(start, broker: str) -> None:
    """Slow HDF5 scans, renamed TIFFs and growing logs, uploaded while they are written, all arrive byte for byte."""
    run = start(broker=broker)
    upload = run.request()
    with Detector(run.facility.watched, run.ledger, Plan(scans=2, frames=5)) as detector:
        detector.finish(60)
    run.control(upload, "close")
    status = run.completed(upload)
    assert status.counts.verified.files == status.counts.catalogued.files == status.counts.found.files
    assert status.counts.failed.files == 0
    run.judge()
    assert {file["proof"] for file in run.files(upload)} == {"verified"}


def test_real_instrument_files_arrive_with_their_metadata(start) -> None:
    """Files of real instruments are uploaded, and what they say about themselves is in the catalogue."""
    folder = real_files()
    run = start(watched=folder)
    upload = run.request(mode="batch")
    status = run.completed(upload)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert status.counts.catalogued.files == len(files)
    (dataset,) = run.catalogue()["datasets"]
    stored = {(file["path"], file["sha256"]) for file in dataset["datafiles"]}
    assert stored == {(str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files}
    eventually(
        lambda: "vanadium at 6AA and 300K" in run.parameters("run", "title", at_least=4), within_s=30, what="its title"
    )


@pytest.mark.campaign
@pytest.mark.fault("F1", "F4")
def test_twenty_thousand_files_in_a_burst_are_all_found(start) -> None:
    """More files in new folders than the operating system reports events for; the scan finds every one."""
    run = start(broker="memory")
    upload = run.request()
    with Detector(run.facility.watched, run.ledger, Plan(mode="burst", files=20_000, file_size=200)) as detector:
        detector.finish(120)
    run.control(upload, "close")
    assert run.completed(upload, within_s=180).counts.catalogued.files == 20_000
    run.judge()


def real_files() -> Path:
    """Return the folder with real files; without it there is nothing to show, so the test fails and says how."""
    folder = os.environ.get(NEXUS, "")
    if not folder or not Path(folder).is_dir():
        pytest.fail(f"set {NEXUS} to a folder with NeXus files of real instruments (it is {folder!r})")
    return Path(folder).resolve()
