"""Values that no column, format or clock can hold: one odd file is kept in bounds or named, and stops no other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from datauploader.contracts import FileReady, UploadScanned, UploadSealed
from datauploader.contracts.model import LATEST_NS
from datauploader_watcher.adapters.disk import LocalDisk

OTHER = "upload-0002"
IN_2300 = 10_413_792_000 * 10**9
"""Nanoseconds; ext4 keeps 1901 to 2446, tmpfs and file servers any year."""


def scanned(world, upload_id: str) -> UploadScanned | None:
    """Return the latest counts of an upload."""
    said = [counts for counts in world.events(UploadScanned) if counts.upload_id == upload_id]
    return said[-1] if said else None


@pytest.mark.fault("F58")
def test_a_file_of_the_year_2300_is_stored_with_a_date_in_bounds_and_keeps_no_other_waiting(world):
    """Beside it in its own upload and in another one, all files are announced; the seal tells of its date."""
    (world.root / "b").mkdir()
    odd = world.write("a/odd.dat")
    for number in range(20):
        world.write(f"a/{number}.dat")
        world.write(f"b/{number}.dat")
    os.utime(odd, ns=(0, IN_2300))
    assert odd.stat().st_mtime_ns == IN_2300, "this disk cannot keep the date"
    world.start()
    world.request(upload_id=OTHER, root=str(world.root / "b"), wait=False)
    world.request(root=str(world.root / "a"), wait=False)
    seals = {seal.upload_id: seal for seal in world.wait_for(UploadSealed, 2)}
    assert sorted(seal.files for seal in seals.values()) == [20, 21]
    assert world.announced()[b"odd.dat"].mtime_ns == LATEST_NS
    assert [seal.notes for seal in seals.values() if seal.files == 20] == [()]
    assert [seal.notes for seal in seals.values() if seal.files == 21] == [
        ("With a date outside the supported range: odd.dat; 2262-04-11 is recorded instead.",)
    ]


@pytest.mark.fault("F58")
def test_a_file_with_a_date_in_bounds_is_not_read_anew_by_every_scan(world):
    """What was brought into bounds counts as known."""
    odd = world.write("odd.dat")
    os.utime(odd, ns=(0, IN_2300))
    world.start(scan_interval_s=0.1)
    world.request("sync")
    world.wait_announced("odd.dat")
    before = world.watcher.status.entries
    world.wait_until(lambda: world.watcher.status.entries > before + 3, "scans")
    assert world.files_announced == 1
    world.wait_until(lambda: (said := scanned(world, "upload-0001")) is not None and not said.settling)


class OddDisk(LocalDisk):
    """A disk that says of some files that their size is no number."""

    size: int | None = None
    odd = b"odd"

    @contextmanager
    def folder(self, path: bytes) -> Iterator[object]:
        """Open a folder as it is, but for what a look at those files says."""
        with super().folder(path) as opened:
            yield OddFolder(opened, self.odd, self.size)


class OddFolder:
    """See `OddDisk`."""

    def __init__(self, opened, odd: bytes, size: int | None) -> None:
        """Take the folder as it is, and what is said of files with that in their name."""
        self._opened, self._odd, self._size = opened, odd, size

    def __getattr__(self, name: str) -> object:
        """Do all else as it does."""
        return getattr(self._opened, name)

    def stat(self, name: bytes) -> object:
        """Look at an entry."""
        seen = self._opened.stat(name)
        if self._odd not in name:
            return seen
        times = {"st_mtime_ns": seen.st_mtime_ns, "st_ctime_ns": seen.st_ctime_ns}
        return SimpleNamespace(st_mode=seen.st_mode, st_size=self._size, st_ino=1, **times)


@pytest.mark.fault("F58")
def test_a_look_that_nobody_understands_leaves_out_that_file_with_its_name_and_goes_on(world):
    """The walk comes to its end, and the record says which file and why."""
    for name in ("a.dat", "odd.dat", "z.dat"):
        world.write(name)
    world.start(disks=OddDisk)
    world.request()
    seal = world.wait_for(UploadSealed)[0]
    assert (seal.files, seal.left_out) == (2, 1)
    assert world.left_out() == {b"odd.dat": "not-recorded"}


@pytest.mark.fault("F58")
def test_a_file_that_the_ledger_cannot_take_is_left_out_and_the_others_of_its_transaction_are_announced(world):
    """The transaction of all is repeated file by file, and only the odd one fails."""
    world.start()
    with world.watcher.store.transaction() as db:
        db.execute(
            """CREATE TRIGGER odd BEFORE INSERT ON files WHEN NEW.name = CAST('odd.dat' AS BLOB)
            AND NEW.state <> 'left-out' BEGIN SELECT RAISE(ABORT, 'no such value'); END"""
        )
    (world.root / "b").mkdir()
    for name in ("a/1.dat", "a/odd.dat", "a/2.dat", "b/3.dat"):
        world.write(name)
    world.request(root=str(world.root / "a"), wait=False)
    world.request(upload_id=OTHER, root=str(world.root / "b"), wait=False)
    seals = {seal.upload_id: seal for seal in world.wait_for(UploadSealed, 2)}
    assert {key: seal.files for key, seal in seals.items()} == {"upload-0001": 2, OTHER: 1}
    assert seals["upload-0001"].left_out == 1
    assert {file.path for event in world.events(FileReady) for file in event.files} == {"1.dat", "2.dat", "3.dat"}
    assert world.left_out() == {b"odd.dat": "not-recorded"}
    assert world.watcher.status.troubles == ()


@pytest.mark.posix  # names of any bytes
@pytest.mark.fault("F58")
def test_what_no_storage_or_system_takes_is_left_out_with_its_reason(world):
    """A file that says that it has exbibytes, and one whose path is longer than any system takes."""
    (world.root / "a.dat").write_bytes(b"1")
    folder = os.open(world.root, os.O_RDONLY)
    for _ in range(128):
        os.mkdir("d" * 255, dir_fd=folder)
        below = os.open("d" * 255, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("deep.dat", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    world.start(disks=HugeDisk)
    (world.root / "huge.dat").write_bytes(b"2")
    world.request()
    seal = world.wait_for(UploadSealed)[0]
    assert (seal.files, seal.left_out) == (1, 2)
    assert sorted(world.left_out().values()) == ["path-too-long", "too-large"]


class HugeDisk(OddDisk):
    """A disk on which one file is larger than any."""

    size = 2**62
    odd = b"huge"
