"""Disks that go away, do not answer or may not be read: nothing is concluded, nothing is sent twice."""

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from datauploader.contracts import FileReady, StationReported, UploadScanned, UploadSealed
from datauploader_sandbox.drives import MemoryDrive, RemovableDrive
from datauploader_watcher.adapters.disk import LocalDisk, lstat, stamp_of
from datauploader_watcher.adapters.hashing import HashPool
from datauploader_watcher.domain.stability import HashRequest
from datauploader_watcher.errors import Unreadable
from datauploader_watcher.uploads import session


class FaultyDisk(LocalDisk):
    """The real disk, with errors where a test wants them."""

    faults: dict[bytes, int] = {}  # noqa: RUF012 - set by each test

    def folder(self, path):
        """Open a folder, or fail as told."""
        if path in self.faults:
            raise OSError(self.faults[path], os.strerror(self.faults[path]))
        return super().folder(path)


@pytest.mark.fault("F7")
def test_a_root_that_vanishes_is_shown_and_nothing_is_deleted_or_sent_again(world):
    """The folder is renamed away and back, as an unplugged drive."""
    world.write("a.dat")
    world.start()
    world.request("sync")
    world.wait_announced("a.dat")
    away = world.root.with_name("away")
    world.root.rename(away)
    world.wait_until(lambda: any(event.troubles for event in world.events(UploadScanned)), "the trouble is told")
    world.wait_until(
        lambda: any("is called away now" in text for e in world.events(StationReported) for text in e.troubles)
    )
    assert world.states() == {"announced": 1}
    away.rename(world.root)
    world.write("b.dat")
    world.wait_announced("a.dat", "b.dat")
    assert world.files_announced == 2
    world.wait_until(lambda: not world.events(UploadScanned)[-1].troubles, "the trouble is over")


@pytest.mark.fault("F7")
@pytest.mark.parametrize("how", ["renamed", pytest.param("removed", marks=pytest.mark.posix)])  # Wine keeps its name
def test_an_upload_whose_folder_is_gone_can_be_closed_with_what_is_stored(world, monkeypatch, how):
    """What was never stored is on record as gone; before the close nothing is concluded."""
    monkeypatch.setattr(session, "GONE_S", 0.5)
    world.write("stored.dat")
    world.start()
    world.request("sync")
    world.store(world.wait_announced("stored.dat")[b"stored.dat"])
    world.write("never.dat")
    world.wait_announced("stored.dat", "never.dat")
    shutil.rmtree(world.root) if how == "removed" else world.root.rename(world.root.with_name("sample7"))
    told = "is called sample7 now; rename it back" if how == "renamed" else "was renamed or removed"
    world.wait_until(lambda: any(told in t for e in world.events(UploadScanned) for t in e.troubles))
    assert not world.events(UploadSealed)
    world.control("close")
    world.fail(world.announced()[b"never.dat"], "source-gone")
    seal = world.wait_for(UploadSealed)[-1]
    assert seal.files == 1
    assert world.left_out() == {b"never.dat": "gone"}


@pytest.mark.fault("F7")
def test_a_folder_that_is_named_back_after_the_close_is_uploaded_whole(world):
    """It is waited for a while."""
    world.write("a.dat")
    world.start()
    world.request("sync")
    world.wait_announced("a.dat")
    away = world.root.with_name("sample7")
    world.root.rename(away)
    world.wait_until(lambda: any(event.troubles for event in world.events(UploadScanned)), "the trouble is told")
    world.control("close")
    (away / "b.dat").write_bytes(b"two")
    away.rename(world.root)
    assert world.wait_for(UploadSealed)[0].files == 2


@pytest.mark.posix  # mounts
@pytest.mark.fault("F7")
def test_a_mount_that_vanishes_leaves_an_empty_folder_that_is_not_believed(world, tmp_path):
    """A real drive is unplugged, closed by its user in the meantime, and comes back with a file more."""
    content = tmp_path / "content"
    with MemoryDrive(content, mib=1), RemovableDrive(world.root / "drive", content) as drive:
        (content / "a.dat").write_bytes(b"one")
        world.start()
        world.request("sync", root=str(drive.folder))
        world.wait_announced("a.dat")
        drive.unplug()
        world.wait_until(lambda: any("mounted" in t for e in world.events(UploadScanned) for t in e.troubles))
        world.control("close")
        (content / "b.dat").write_bytes(b"two")
        assert not world.events(UploadSealed)
        drive.plug()
        world.wait_announced("a.dat", "b.dat")
        assert world.wait_for(UploadSealed)[0].files == 2
        assert world.files_announced == 2
        world.stop()


@pytest.mark.fault("F8")
@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EBUSY])
def test_a_folder_that_does_not_answer_is_recorded_and_recovers(world, code):
    """The watcher lives, says so, and goes on by itself."""
    FaultyDisk.faults = {b"bad": code}
    world.write("bad/a.dat")
    world.write("good/b.dat")
    world.start(disks=FaultyDisk)
    world.request("sync")
    world.wait_announced("good/b.dat")
    world.wait_until(lambda: world.left_out() == {b"bad": "unreadable"})
    FaultyDisk.faults = {}
    world.wait_announced("bad/a.dat", "good/b.dat")
    world.wait_until(lambda: not world.left_out())
    world.control("close")
    assert world.wait_for(UploadSealed)[0].left_out == 0


def test_a_folder_that_stays_unreadable_does_not_keep_the_dataset_open(world):
    """It is on the record, and the seal counts it as left out."""
    FaultyDisk.faults = {b"bad": errno.EACCES}
    world.write("bad/a.dat")
    world.write("good/b.dat")
    world.start(disks=FaultyDisk)
    world.request()
    seal = world.wait_for(UploadSealed)[0]
    assert (seal.files, seal.left_out) == (1, 1)
    assert world.left_out() == {b"bad": "unreadable"}
    FaultyDisk.faults = {}


@pytest.fixture
def unprivileged():
    """Give a folder of another user, and become nobody while the test runs."""
    folder = Path(tempfile.mkdtemp(prefix="datauploader-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "secret.dat").write_bytes(b"secret")
    (folder / "secret.dat").chmod(0o600)
    (folder / "closed").mkdir(mode=0o700)
    (folder / "closed" / "inner.dat").write_bytes(b"inner")
    os.seteuid(65534)
    yield folder
    os.seteuid(0)
    shutil.rmtree(folder)


@pytest.mark.posix  # rights of another user
def test_the_system_s_permissions_hold(unprivileged):
    """As another user: a file and a folder that may not be read are unreadable, and nothing else."""
    disk = LocalDisk(os.fsencode(unprivileged))
    seen = lstat(disk, b"secret.dat")
    with pytest.raises(Unreadable):
        lstat(disk, b"closed/inner.dat")
    outcomes = []
    hashers = HashPool(1, outcomes.extend)
    hashers.start()
    hashers.hash(1, disk, [HashRequest(b"secret.dat", stamp_of(seen))])
    while not outcomes:
        os.sched_yield()
    hashers.stop(5)
    assert isinstance(outcomes[0].problem, Unreadable)


@pytest.mark.posix  # mounts
@pytest.mark.fault("F27")
def test_a_full_state_disk_is_told_and_overcome(world):
    """A state file on a tmpfs of 1 MiB that somebody else fills."""
    with MemoryDrive(world.state, mib=1) as disk:
        world.start()
        world.request("sync")
        filler = world.state / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        for number in range(3000):
            world.write(f"{number % 30}/{number}.dat")
        world.wait_until(
            lambda: any("state" in t for e in world.events(StationReported) for t in e.troubles), "the alert"
        )
        filler.unlink()
        assert len(world.events(FileReady)) < 3000
        disk.grow(64)
        world.wait_until(lambda: len(world.announced()) == 3000, "everything is announced", within_s=30)
        world.stop()


class Unfinding(LocalDisk):
    """A disk that lists a name and does not find it, as Windows does with one that ends in a dot."""

    @contextmanager
    def folder(self, path):
        """Open a folder in which one name cannot be looked at."""
        with super().folder(path) as opened:
            yield UnfindingFolder(opened)


class UnfindingFolder:
    """See `Unfinding`."""

    def __init__(self, opened):
        self._opened = opened

    def __getattr__(self, name):
        return getattr(self._opened, name)

    @property
    def stat(self):
        """Look, but for that name."""

        def look(name):
            if name == b"trail.":
                raise FileNotFoundError(errno.ENOENT, "not found")
            return self._opened.stat(name)

        return look


@pytest.mark.posix  # its way of opening folders
@pytest.mark.fault("F2")
def test_a_name_that_is_listed_and_not_found_is_left_out_with_its_reason(world):
    """Nothing is dropped in silence because a system cannot look at what it lists."""
    world.write("good.dat")
    world.write("trail.")
    world.start(disks=Unfinding)
    world.request("batch")
    seal = world.wait_for(UploadSealed)[0]
    assert (seal.files, seal.left_out) == (1, 1)
    assert world.left_out() == {b"trail.": "unfound"}
