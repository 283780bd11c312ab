"""What comes after a dataset is complete is told: once a minute later, and once more some minutes after that."""

import os

import pytest

from datauploader.contracts import UploadOutgrown, UploadSealed


def completed(world, *, looks: tuple[float, ...] = (0.5,), **files: bytes) -> UploadSealed:
    """Bring an upload of some files to its complete dataset."""
    for name, content in (files or {"a.dat": b"one", "b.dat": b"two"}).items():
        world.write(name, content)
    world.start(look_again_s=looks)
    world.request()
    seal = world.wait_for(UploadSealed)[0]
    world.wait_until(lambda: len(world.announced()) == seal.files)
    world.store(*world.announced().values())
    world.catalogue(*world.announced().values())
    world.wait_until(lambda: world.states() == {"catalogued": seal.files})
    return seal


def looks(world) -> int:
    """Count the looks that were taken."""
    with world.watcher.store.reading() as db:
        return int(db.execute("SELECT looks FROM uploads").fetchone()[0])


@pytest.mark.fault("F56")
def test_what_comes_after_completion_is_told_with_its_names(world):
    """A new file and one that was written to, with their sizes."""
    seal = completed(world)
    world.complete(seal)
    world.write("scan/log.txt", b"written later")
    world.write("b.dat", b"two and more")
    told = world.wait_for(UploadOutgrown)[0]
    assert (told.files, told.bytes) == (2, len(b"written later") + len(b"two and more"))
    assert [file.path for file in told.first] == ["b.dat", "scan/log.txt"]


@pytest.mark.fault("F56")
def test_where_nothing_came_nothing_is_told(world):
    """Temporary files, a change of permissions and a time put forward are no change of the dataset."""
    seal = completed(world)
    world.complete(seal)
    (world.root / "a.dat").chmod(0o440)
    os.utime(world.root / "b.dat")
    world.write("later.tmp~", b"rubbish")
    world.wait_until(lambda: looks(world) == 1)
    assert not world.events(UploadOutgrown)


@pytest.mark.posix  # the time of change
@pytest.mark.fault("F56")
def test_bytes_that_changed_behind_size_and_time_are_told(world):
    """The time of the last change has them read again."""
    seal = completed(world)
    path = world.root / "a.dat"
    before = path.stat()
    path.write_bytes(b"TWO")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    world.complete(seal)
    assert [file.path for file in world.wait_for(UploadOutgrown)[0].first] == ["a.dat"]


@pytest.mark.fault("F56")
def test_the_second_look_takes_back_what_the_first_one_said(world):
    """The file was removed again: the latest word counts, and says that there is none."""
    seal = completed(world, looks=(0.3, 2.0))
    late = world.write("late.dat", b"late")
    world.complete(seal)
    assert world.wait_for(UploadOutgrown)[0].files == 1
    late.unlink()
    assert world.wait_for(UploadOutgrown, 2)[1].files == 0
    world.wait_until(lambda: looks(world) == 2)


@pytest.mark.fault("F56")
def test_a_look_that_is_due_is_taken_after_a_restart(world):
    """When it is due stands in the ledger."""
    seal = completed(world, looks=(2.0,))
    world.complete(seal)
    world.wait_until(lambda: world.upload_state() == "completed")
    world.stop()
    world.write("late.dat", b"late")
    world.start(look_again_s=(2.0,))
    assert world.wait_for(UploadOutgrown)[0].files == 1


def test_files_that_are_removed_after_their_upload_are_no_news(world):
    """A folder that was emptied on purpose has nothing that came later."""
    seal = completed(world)
    world.complete(seal)
    (world.root / "a.dat").unlink()
    world.wait_until(lambda: looks(world) == 1)
    assert not world.events(UploadOutgrown)
