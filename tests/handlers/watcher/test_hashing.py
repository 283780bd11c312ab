"""Reading and hashing: fair between uploads, never fooled by a file that changes, ended at any moment."""

import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from datauploader_testing.waiting import eventually
from datauploader_watcher.adapters.disk import LocalDisk, OpenFolder, stamp_of
from datauploader_watcher.adapters.hashing import SMALL, HashPool, HashResult
from datauploader_watcher.domain.stability import HashRequest
from datauploader_watcher.domain.versions import Digests, Stamp
from datauploader_watcher.errors import PathMissing


class Bench:
    """Hashing threads over a folder, and what came of them."""

    def __init__(self, folder: Path, workers: int = 1, *, sha1: bool = False) -> None:
        self.folder, self.disk = folder, LocalDisk(os.fsencode(folder))
        self.outcomes: list[HashResult] = []
        self.hashers = HashPool(workers, self.outcomes.extend, sha1=sha1)
        self.hashers.start()

    def hash(self, *names: str, upload: int = 1) -> None:
        """Have files read as they are now."""
        self.hashers.hash(upload, self.disk, [HashRequest(name.encode(), self.stamp(name)) for name in names])

    def stamp(self, name: str) -> Stamp:
        """Look at a file."""
        return stamp_of((self.folder / name).stat())

    def of(self, name: str) -> HashResult | None:
        """Return what came of a file."""
        return next((outcome for outcome in self.outcomes if outcome.path == name.encode()), None)

    def wait(self, name: str, within_s: float = 60) -> HashResult:
        """Wait for what comes of a file."""
        return eventually(lambda: self.of(name), within_s=within_s, what=name)


@pytest.fixture
def bench(tmp_path):
    """Give one hashing thread."""
    made = Bench(tmp_path)
    yield made
    made.hashers.stop(5)


@pytest.mark.parametrize("size", [0, 1, 1_000_000, SMALL, SMALL + 1, 80 * 2**20])
def test_digests_are_right_at_every_size(tmp_path, size):
    """Empty, small, at the border, and in several slices."""
    bench = Bench(tmp_path, sha1=True)
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    bench.hash("file")
    digests = bench.wait("file").digests
    assert digests.sha256 == hashlib.sha256(data).digest()
    assert digests.md5 == hashlib.md5(data).digest()
    assert digests.sha1 == hashlib.sha1(data).digest()
    bench.hashers.stop(5)


@pytest.mark.fault("F58")
def test_a_file_that_the_system_cannot_even_be_asked_for_ends_no_thread(bench):
    """It has a problem with its name in it; the next file is read by the same thread."""
    (bench.folder / "file").write_bytes(b"x")
    bench.hashers.hash(1, bench.disk, [HashRequest(b"nul\0", bench.stamp("file"))])
    bench.hash("file", upload=2)
    assert "ValueError" in str(bench.wait("nul\0").problem)
    assert bench.wait("file").digests is not None


def test_it_is_told_whether_a_program_has_the_file_open_for_writing(bench):
    """Of a file that nobody has open as much is known as of one that was closed; of any other that is not said."""
    for name in ("open", "closed"):
        (bench.folder / name).write_bytes(b"content")
    with (bench.folder / "open").open("ab"):
        bench.hash("open", "closed")
        told = [bench.wait(name) for name in ("open", "closed")]
    assert [(one.writer, one.alone) for one in told] == [(True, False), (False, True)]


def test_of_a_drive_that_does_not_tell_who_writes_nobody_is_said_to_be_alone(bench, monkeypatch):
    """A share has writers on other machines, of which this one hears nothing."""
    monkeypatch.setattr("datauploader_watcher.adapters.sharing.is_network", lambda _kind: True)
    (bench.folder / "file").write_bytes(b"content")
    bench.hash("file")
    told = bench.wait("file")
    assert (told.writer, told.alone) == (False, False)


def test_md5_is_hashed_only_where_it_is_asked_for(bench, tmp_path):
    """It takes twice as long as SHA-256, and no folder is ever asked for it."""
    (tmp_path / "file").write_bytes(b"content")
    bench.hashers.hash(1, bench.disk, [HashRequest(b"file", bench.stamp("file"))], md5=False)
    digests = bench.wait("file").digests
    assert digests.sha256 == hashlib.sha256(b"content").digest()
    assert digests.md5 is None


def test_many_huge_files_of_one_upload_do_not_keep_another_waiting(bench):
    """One thread, three sparse files of 100 GiB, and a small file of another upload."""
    for number in range(3):
        with (bench.folder / f"huge{number}").open("wb") as file:
            file.truncate(100 * 2**30)
    bench.hash("huge0", "huge1", "huge2", upload=1)
    (bench.folder / "small").write_bytes(b"x")
    bench.hash("small", upload=2)
    assert bench.wait("small").digests
    (bench.folder / "own").write_bytes(b"x")
    bench.hash("own", upload=1)
    assert bench.wait("own").digests


@pytest.mark.fault("F10")
def test_a_file_that_grows_while_it_is_read_is_told_as_changed(bench):
    """What was read belongs to no version."""
    path = bench.folder / "growing"
    with path.open("wb") as file:
        file.truncate(4 * 2**30)
    bench.hash("growing")
    with path.open("ab") as file:
        file.write(b"more")
    outcome = bench.wait("growing", 30)
    assert outcome.digests is None
    assert outcome.changed == bench.stamp("growing")


@pytest.mark.fault("F12")
def test_a_file_that_is_replaced_under_its_name_is_told_as_changed(bench):
    """The descriptor still shows the old one; the name does not."""
    path = bench.folder / "a"
    path.write_bytes(b"old")
    seen = bench.stamp("a")
    os.utime(bench.folder, None)
    (bench.folder / "b").write_bytes(b"new")
    os.utime(bench.folder / "b", ns=(seen.mtime_ns, seen.mtime_ns))
    (bench.folder / "b").replace(path)
    bench.hashers.hash(1, bench.disk, [HashRequest(b"a", seen)])
    assert bench.wait("a").changed == bench.stamp("a")


def test_a_file_that_is_gone_and_a_folder_that_is_gone_are_told(bench):
    """Each with the same problem, none without an outcome."""
    bench.hashers.hash(1, bench.disk, [HashRequest(b"gone", Stamp(1, 1, 1)), HashRequest(b"no/folder", Stamp(1, 1, 1))])
    assert isinstance(bench.wait("gone").problem, PathMissing)
    assert isinstance(bench.wait("no/folder").problem, PathMissing)


@pytest.mark.posix  # /proc
def test_an_upload_that_is_over_is_forgotten(bench):
    """A cancelled upload's huge file is left at the next slice, and its descriptor closed."""
    with (bench.folder / "huge").open("wb") as file:
        file.truncate(100 * 2**30)
    bench.hash("huge", upload=1)
    eventually(lambda: open_files(bench.folder), what="the file is open")
    bench.hashers.forget(1)
    eventually(lambda: not open_files(bench.folder), what="the file is closed")


def open_files(folder: Path) -> list[str]:
    """List this process's open files in a folder."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(descriptor.readlink()))
    return [name for name in found if name.startswith(f"{folder}/")]


@pytest.mark.posix  # /proc
def test_stopping_takes_less_than_a_second_while_a_huge_file_is_read(bench):
    """The next block is the last one."""
    with (bench.folder / "huge").open("wb") as file:
        file.truncate(100 * 2**30)
    bench.hash("huge")
    eventually(lambda: open_files(bench.folder))
    began = time.monotonic()
    bench.hashers.stop(5)
    assert time.monotonic() - began < 2
    assert not [thread for thread in threading.enumerate() if thread in bench.hashers._threads]


def test_a_look_at_what_was_read_does_not_wait_for_all_reading(tmp_path):
    """Files that have rested are told at once, however many others of the upload are still to be read."""
    bench = Bench(tmp_path)
    for name in ("read", *(f"new{number}" for number in range(300))):
        (tmp_path / name).write_bytes(b"content" * 10_000)
    digests = Digests(hashlib.sha256(b"content" * 10_000).digest())
    new = [HashRequest(f"new{number}".encode(), bench.stamp(f"new{number}")) for number in range(300)]
    with bench.hashers._change:  # the thread takes nothing before all is there
        bench.hashers.hash(1, bench.disk, new)
        bench.hashers.hash(1, bench.disk, [HashRequest(b"read", bench.stamp("read"), digests)])
    assert bench.wait("new299").digests == digests._replace(md5=bench.of("new299").digests.md5)
    bench.hashers.stop(5)
    assert bench.outcomes[0].path == b"read"


class SlowDisk(LocalDisk):
    """A disk that lets nobody into the folder `slow` before it is allowed."""

    def __init__(self, root: bytes) -> None:
        super().__init__(root)
        self.allowed = threading.Event()

    def folder(self, path: bytes) -> contextlib.AbstractContextManager[OpenFolder]:
        """Open a folder."""
        assert path != b"slow" or self.allowed.wait(30)
        return super().folder(path)


def test_where_the_drive_makes_one_thread_wait_another_takes_the_other_small_files(tmp_path):
    """As long as nothing makes it wait, one thread reads them alone."""
    bench = Bench(tmp_path, workers=2)
    for name in ("slow/a", "b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"content")
    disk = SlowDisk(os.fsencode(tmp_path))
    requests = [HashRequest(name.encode(), bench.stamp(name)) for name in ("slow/a", "b")]
    bench.hashers.hash(1, disk, requests)
    assert bench.wait("b", 30).digests
    assert bench.of("slow/a") is None
    disk.allowed.set()
    assert bench.wait("slow/a", 30).digests
    bench.hashers.stop(5)
