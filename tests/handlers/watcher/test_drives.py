"""Drives that hang: whoever touches them waits, and nobody else does."""

import os
import threading
import time
from pathlib import Path

import pytest

from datauploader.contracts import StationReported, UploadScanned, UploadSealed
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard
from datauploader_testing.waiting import eventually
from datauploader_watcher.adapters.disk import LocalDisk, lstat, stamp_of
from datauploader_watcher.adapters.drives import HangGuardedDisk, disk_of
from datauploader_watcher.adapters.hashing import DriveHashPools, HashResult
from datauploader_watcher.domain.stability import HashRequest


class HangingDisk(LocalDisk):
    """The real disk, which hangs while its gate is closed."""

    gate = threading.Event()

    def verify_root(self):
        """Check, as soon as the gate opens."""
        self.gate.wait()
        super().verify_root()

    def folder(self, path):
        """Open a folder, as soon as the gate opens."""
        self.gate.wait()
        return super().folder(path)


def drives(root: bytes, mount: bytes):
    """Let `net` be a drive that can hang; everything else is local."""
    return HangGuardedDisk(HangingDisk(root, mount), root) if root.endswith(b"net") else LocalDisk(root, mount)


@pytest.fixture
def gate():
    """Give the gate of the hanging drive, which opens at the end so that no thread stays."""
    HangingDisk.gate.set()
    yield HangingDisk.gate
    HangingDisk.gate.set()


@pytest.mark.fault("F8")
def test_a_drive_that_hangs_is_told_and_holds_up_no_other_upload(world, gate):
    """Files of other disks are announced meanwhile, and when the drive is back its files are as well."""
    world.write("net/first.dat")
    world.start(disks=drives, poll=True, poll_interval_s=0.2)
    world.request("sync", root=str(world.root / "net"))
    world.wait_announced("first.dat")
    gate.clear()
    world.write("net/behind.dat")
    world.wait_until(lambda: world.watcher.status.troubles, "the loop has met the drive")
    world.write("local/beside.dat")
    world.request("batch", upload_id="upload-0002", root=str(world.root / "local"))
    began = time.monotonic()
    world.wait_announced("first.dat", "beside.dat")
    assert world.wait_for(UploadSealed)[0].upload_id == "upload-0002"
    assert time.monotonic() - began < 5
    for kind in (UploadScanned, StationReported):
        world.wait_until(lambda k=kind: any("answer" in t for e in world.events(k) for t in e.troubles), "it is told")
    gate.set()
    world.wait_announced("first.dat", "behind.dat", "beside.dat")
    world.wait_until(lambda: not world.watcher.status.troubles, "the trouble is over")
    assert world.files_announced == 3


@pytest.mark.fault("F8")
def test_files_on_a_drive_that_hangs_keep_no_other_from_being_read(tmp_path, gate):
    """Each drive has hashing threads of its own."""
    (tmp_path / "a").write_bytes(b"a")
    outcomes: list[HashResult] = []
    local = LocalDisk(os.fsencode(tmp_path))
    wanted = [HashRequest(b"a", stamp_of(lstat(local, b"a")))]
    pools = DriveHashPools(1, outcomes.extend, sha1=False)
    gate.clear()
    pools.hash(1, HangGuardedDisk(HangingDisk(local.root), b"net"), wanted)
    pools.hash(2, local, wanted)
    eventually(lambda: outcomes)
    assert [outcome.upload for outcome in outcomes] == [2]
    gate.set()
    eventually(lambda: len(outcomes) == 2)
    pools.stop(5)


def test_a_page_of_a_drive_is_waited_for_by_nobody_and_comes_when_it_comes(tmp_path, gate):
    """The walk says "not yet" at once; a slow answer is not thrown away."""
    (tmp_path / "a").write_bytes(b"")
    disk = HangGuardedDisk(HangingDisk(os.fsencode(tmp_path)), b"net")
    gate.clear()
    pages = disk.pages(b"", None)
    assert [next(pages), next(pages)] == [None, None]
    gate.set()
    assert eventually(lambda: next(pages)).names == [b"a"]
    assert [page for page in pages if page is not None] == []


@pytest.mark.posix  # /proc
def test_a_walk_that_is_left_while_its_drive_hangs_closes_the_folder_when_it_can(tmp_path, gate):
    """No descriptor is left behind, and none is closed under the feet of the thread that uses it."""
    (tmp_path / "a").write_bytes(b"")
    disk = HangGuardedDisk(HangingDisk(os.fsencode(tmp_path)), b"net")
    gate.clear()
    pages = disk.pages(b"", None)
    next(pages)
    pages.close()
    gate.set()
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "ask-drive"], what="the thread has ended")
    assert not [one for one in Path("/proc/self/fd").iterdir() if one.exists() and one.samefile(tmp_path)]


def test_a_place_is_waited_for_once_and_its_late_answer_is_not_lost():
    """While it owes an answer everybody else hears at once that there is none."""
    gate, guard = threading.Event(), HangGuard(0.05)
    with pytest.raises(DriveTimeout):
        guard.call_with_deadline("drive", lambda: gate.wait() and "late", "question")
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(DriveTimeout):
            guard.call_with_deadline("drive", lambda: "other")
    assert time.monotonic() - began < 1
    assert guard.call_with_deadline("elsewhere", lambda: "at once") == "at once"
    gate.set()
    eventually(lambda: not guard.silent("drive"))
    assert guard.call_with_deadline("drive", lambda: "anew", "question") == "late"
    assert guard.call_with_deadline("drive", lambda: "anew", "question") == "anew"


def test_a_drive_is_known_by_its_mount_and_one_that_is_away_counts_as_one(tmp_path):
    """What is mounted nowhere now may be anything when it comes back."""
    root = os.fsencode(tmp_path)
    assert isinstance(disk_of(root, b""), LocalDisk)
    assert isinstance(disk_of(root, root), HangGuardedDisk)
    assert isinstance(disk_of(b"/proc/self", b"/proc"), LocalDisk)
