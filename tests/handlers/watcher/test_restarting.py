"""Restarts: nothing known is read again, nothing unfinished is forgotten, a damaged state is rebuilt."""

import os
import threading
import time

import pytest

from datauploader.contracts import StationReported, UploadScanned, UploadSealed
from datauploader_watcher.adapters.disk import LocalDisk
from datauploader_watcher.uploads.rescan_queue import LOOK_AGAIN_S


class CountingDisk(LocalDisk):
    """The real disk, counting how often a folder is opened."""

    opened = 0

    def folder(self, path):
        """Open a folder."""
        type(self).opened += 1
        return super().folder(path)


@pytest.mark.posix  # the time of change: without it an event costs a second reading
def test_a_restart_with_everything_known_announces_and_reads_nothing(world, monkeypatch):
    """Size, times and inode are as the ledger has them."""
    for number in range(300):
        world.write(f"{number % 10}/{number}.dat")
    world.start()
    world.request("sync")
    world.wait_until(lambda: len(world.announced()) == 300)
    announced = world.files_announced
    world.stop()
    read: list[int] = []
    monkeypatch.setattr("datauploader_watcher.adapters.hashing.has_writer", read.append)
    world.start()
    world.write("one-more.dat")
    world.wait_until(lambda: len(world.announced()) == 301)
    assert world.files_announced == announced + 1
    assert len(read) == 1


@pytest.mark.posix  # elsewhere a look at a folder may be an event in it
def test_a_restart_looks_at_everything_once(world):
    """First the folders are watched, then all is looked at; no folder counts as a new one, which is looked at again."""
    for number in range(40):
        world.write(f"scan/{number % 10}/{number}.dat")
    world.start()
    world.request("sync")
    world.wait_until(lambda: len(world.announced()) == 40)
    world.stop()
    world.start(scan_interval_s=3600)
    world.wait_until(lambda: world.watcher.status.entries >= 1 + 10 + 40)
    looked = world.watcher.status.at
    world.wait_until(lambda: world.watcher.status.at > looked + LOOK_AGAIN_S[0] + 0.5)
    assert world.watcher.status.entries == 1 + 10 + 40


def test_what_was_closed_before_a_restart_is_sealed_after_it(world):
    """The intent is in the state file."""
    world.start(poll=True, poll_interval_s=0.2)
    world.request("sync", quiet_period_s=3)
    world.write("a.dat")
    world.wait_until(lambda: any(e.settling for e in world.events(UploadScanned)))
    world.control("close")
    world.wait_until(lambda: closing(world) == "asked")
    world.stop()
    world.start()
    assert world.wait_for(UploadSealed)[0].files == 1


def closing(world) -> str:
    """Return why the upload closes."""
    with world.watcher.store.reading() as db:
        return db.execute("SELECT closing FROM uploads").fetchone()[0]


@pytest.mark.fault("F28")
@pytest.mark.parametrize("damage", [b"\0" * 8192, b""], ids=["overwritten", "empty"])
def test_a_damaged_state_file_is_rebuilt_by_a_scan_when_the_request_is_said_again(world, damage):
    """The folder is the truth; the station says that it has forgotten, and the gateway who asked for what."""
    world.write("a.dat")
    world.start()
    world.request("sync")
    world.wait_announced("a.dat")
    world.stop()
    world.forget()
    state = world.state / "watcher.sqlite3"
    state.write_bytes(damage)
    world.write("b.dat")
    world.start()
    world.wait_until(lambda: any(report.forgetful for report in world.events(StationReported)))
    world.request("sync")
    world.wait_announced("a.dat", "b.dat")
    assert bool(list(world.state.glob("watcher.sqlite3.damaged-*"))) == bool(damage)
    world.control("close")
    assert world.wait_for(UploadSealed)[0].files == 2


def test_stopping_while_a_huge_file_is_hashed_takes_no_time_and_loses_nothing(world):
    """A sparse file of 200 GiB takes minutes to read."""
    path = world.root / "huge.dat"
    with path.open("wb") as file:
        file.truncate(200 * 2**30)
    world.start()
    world.request("sync")
    world.wait_until(lambda: any(t.name.startswith("hash") for t in threading.enumerate()))
    world.write("small.dat")
    world.wait_announced("small.dat")
    began = time.monotonic()
    world.stop()
    assert time.monotonic() - began < 5
    world.start()
    world.wait_until(lambda: any(event.settling for event in world.events(UploadScanned)))


def test_a_batch_is_not_sealed_before_its_slowest_file_is_finished(world):
    """The seal waits for what is still being read."""
    world.write("a.dat", os.urandom(30 * 2**20))
    world.write("b.dat")
    world.start()
    world.request()
    seal = world.wait_for(UploadSealed)[0]
    assert seal.files == 2
    assert set(world.announced()) == {b"a.dat", b"b.dat"}


def test_files_of_uploads_that_are_long_over_are_forgotten(world):
    """The state file does not grow for ever; the upload itself stays known."""
    world.write("deep/a.dat")
    world.start()
    world.request()
    files = world.wait_announced("deep/a.dat")
    seal = world.wait_for(UploadSealed)[0]
    world.store(*files.values())
    world.catalogue(*files.values())
    world.complete(seal)
    world.wait_until(lambda: world.upload_state() == "completed")
    with world.watcher.store.transaction() as db:
        db.execute("UPDATE uploads SET heard_at = heard_at - 40 * 86400")
    world.stop()
    world.start()
    world.wait_until(lambda: not world.states(), "no file is remembered")
    assert world.upload_state() == "completed"
