"""rclone or the whole transfer service ends in the middle of a copy, or its answer is fetched late."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.waiting import eventually

SLOWLY = {"transfer": {"bandwidth_bytes_per_s": 3 * 1024**2}}
BIG = Plan(mode="burst", files=3, file_size=6 * 1024**2)


def rclone_of(run) -> int:
    """Return the process id of the rclone that transfer started last."""
    lines = [json.loads(line) for line in run.services.log("transfer").splitlines() if line.startswith("{")]
    return next(line["pid"] for line in reversed(lines) if line["event"] == "rclone_started")


def under_way(run) -> list[Path]:
    """Return what is being written at the storage now."""
    return [path for path in run.facility.storage.rglob("*.partial") if path.stat().st_size > 0]


@pytest.mark.fault("F34")
@pytest.mark.campaign
def test_rclone_killed_three_times_during_copies_claims_nothing_that_is_not_there(case) -> None:
    """Other files went before, so that job numbers begin again at what they had; the killed copies are sent again."""
    run = case(settings=SLOWLY)
    upload = run.request()
    (run.facility.watched / "before.dat").write_bytes(b"before")
    run.wrote("before.dat")
    eventually(lambda: list(run.facility.storage.rglob("before.dat")), within_s=60, what="the first file is stored")
    Detector(run.facility.watched, run.ledger, BIG).run()
    for _ in range(3):
        eventually(lambda: under_way(run), within_s=60, what="a copy is under way")
        killed = rclone_of(run)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda killed=killed: rclone_of(run) != killed, within_s=30, what="rclone is back")
    run.heal()
    run.recover(upload)
    assert not list(run.facility.storage.rglob("*.partial"))


@pytest.mark.fault("F35")
@pytest.mark.campaign
def test_an_answer_of_rclone_that_is_fetched_late_is_still_the_truth(case) -> None:
    """Transfer is frozen while rclone ends its work and longer than rclone keeps finished jobs (15 s)."""
    run = case(settings=SLOWLY)
    upload = run.request()
    Detector(run.facility.watched, run.ledger, BIG).run()
    eventually(lambda: under_way(run), within_s=60, what="a copy is under way")
    run.services.pause("transfer")
    eventually(lambda: not under_way(run), within_s=60, what="rclone has ended its work")
    ended = time.monotonic()
    more = Detector(run.facility.watched, run.ledger, Plan(scans=0, frames=4, seconds_per_frame=0.5))
    with more:
        more.join(20)
    assert time.monotonic() - ended > 15
    run.services.resume("transfer")
    run.heal()
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F36")
def test_transfer_killed_during_a_copy_is_back_within_ten_seconds_and_sweeps_up(case) -> None:
    """The file changes while transfer is down, so what was half sent would stay for ever if nobody looked for it."""
    run = case(settings=SLOWLY)
    upload = run.request()
    big = run.facility.watched / "big.dat"
    big.write_bytes(os.urandom(8 * 1024**2))
    run.wrote("big.dat")
    (left,) = eventually(lambda: under_way(run), within_s=60, what="a copy is under way")
    before = rclone_of(run)
    private = private_folder(before)
    run.services.kill("transfer")
    assert left.exists()
    assert private.exists()
    big.write_bytes(b"a new and shorter version")
    run.wrote("big.dat")
    run.heal()
    run.services.start("transfer")
    eventually(lambda: rclone_of(run) != before, within_s=10, what="rclone is back")
    run.recover(upload)
    assert not left.exists()
    assert not private.exists()


def private_folder(rclone: int) -> Path:
    """Return the folder that holds the socket of a running rclone."""
    arguments = Path(f"/proc/{rclone}/cmdline").read_text().split("\0")
    return Path(next(word for word in arguments if word.startswith("--rc-addr=")).partition("unix://")[2]).parent


@pytest.fixture
def tiny_storage(tmp_path: Path) -> Iterator[Path]:
    """Mount 4 MiB where the facility will have its storage."""
    assert os.geteuid() == 0, "mounting a small disk needs root: run this test as root"
    storage = tmp_path / "facility" / "storage"
    storage.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", storage], check=True)
    yield storage
    subprocess.run(["umount", "-l", storage], check=True)


@pytest.mark.fault("F33")
@pytest.mark.campaign
def test_a_full_storage_is_told_shows_nothing_half_and_goes_on_when_there_is_room(tiny_storage, case) -> None:
    """Ten files of 1 MB on 4 MiB: some are stored whole, people read that the storage is full, then it grows."""
    run = case()
    upload = run.request()
    Detector(run.facility.watched, run.ledger, Plan(mode="burst", files=10, file_size=1_000_000)).run()
    told = run.troubled(upload, "storage-full")
    assert "full" in told["detail"]
    eventually(lambda: not list(tiny_storage.rglob("*.partial")), within_s=30, what="nothing half is to be seen")
    assert {path.stat().st_size for path in tiny_storage.rglob("*.cbf")} <= {1_000_000}
    subprocess.run(["mount", "-o", "remount,size=32m", tiny_storage], check=True)
    run.heal()
    run.recover(upload)
