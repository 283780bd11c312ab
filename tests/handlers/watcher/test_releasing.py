"""Local copies go only after their stored copies were hashed again, and whatever stays says why."""

import os
import threading
import time

import pytest

from datauploader.contracts import FileReleased, UploadScanned, UploadSealed
from datauploader.contracts.questions import StoredHash
from datauploader.errors import QuestionRefused
from datauploader_testing.waiting import eventually
from datauploader_watcher.adapters.disk import LocalDisk
from datauploader_watcher.adapters.removal import rename_new
from datauploader_watcher.adapters.sharing import holds_lease
from datauploader_watcher.background.local_cleanup import Removal
from datauploader_watcher.ledger.files import FileTable

from .conftest import HERE


class Storage:
    """Answers for the transfer service what the storage holds."""

    def __init__(self, world) -> None:
        self.asked: list[str] = []
        self.change: dict[str, object] = {}
        self.world = world
        world.outside.answer("transfer", self, station=HERE)

    def __call__(self, question) -> StoredHash:
        """Answer a question."""
        self.asked.append(question.object)
        if "refuse" in self.change:
            raise QuestionRefused("unreachable", "the storage is away")
        file = next(f for f in self.world.announced().values() if question.object.endswith(f.path))
        usual = {"found": True, "size": file.size, "digests": {"sha256": file.sha256}}
        return StoredHash(**{**usual, **self.change})


def completed(world, *, delete_after: bool = True, allow: bool = True) -> Storage:
    """Bring an upload of two files to its completed dataset."""
    world.write("a.dat", b"one")
    world.write("deep/b.dat", b"two")
    storage = Storage(world)
    world.start(allow_delete=allow)
    world.request(delete_after=delete_after)
    files = world.wait_announced("a.dat", "deep/b.dat")
    seal = world.wait_for(UploadSealed)[0]
    world.store(*files.values())
    world.catalogue(*files.values())
    world.wait_until(lambda: world.states() == {"catalogued": 2})
    storage.seal = seal
    return storage


def test_after_completion_each_copy_is_hashed_again_and_removed(world):
    """Both files go, each with its event."""
    storage = completed(world)
    assert (world.root / "a.dat").exists()
    world.complete(storage.seal)
    world.wait_until(lambda: world.states() == {"released": 2})
    assert sorted(storage.asked) == ["run1/a.dat", "run1/deep/b.dat"]
    assert not (world.root / "a.dat").exists()
    assert not (world.root / "deep/b.dat").exists()
    assert (world.root / "deep").is_dir()
    world.wait_until(lambda: sum(len(event.files) for event in world.events(FileReleased)) == 2)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"found": False}, "no longer on the storage"),
        ({"digests": {"sha256": "0" * 64}}, "different sha256"),
        ({"digests": {}}, "could not hash"),
        ({"size": 99}, "99 bytes"),
    ],
)
def test_a_stored_copy_that_is_not_the_same_keeps_the_local_one(world, change, why):
    """The file stays, and the reason is told."""
    storage = completed(world)
    storage.change = change
    world.complete(storage.seal)
    world.wait_until(lambda: any(why in text for event in world.events(UploadScanned) for text in event.troubles))
    assert (world.root / "a.dat").exists()
    assert (world.root / "deep/b.dat").exists()
    assert world.states() == {"catalogued": 2}
    assert not world.events(FileReleased)


def test_a_local_file_that_has_changed_is_kept(world):
    """What was uploaded is not what would be removed."""
    storage = completed(world)
    (world.root / "a.dat").write_bytes(b"edited since")
    world.complete(storage.seal)
    world.wait_until(lambda: world.states() == {"catalogued": 1, "released": 1})
    assert (world.root / "a.dat").read_bytes() == b"edited since"
    assert storage.asked == ["run1/deep/b.dat"]


def test_a_storage_that_does_not_answer_keeps_everything_and_is_asked_later(world):
    """The rows wait; a restart goes on with them."""
    storage = completed(world)
    storage.change = {"refuse": True}
    world.complete(storage.seal)
    world.wait_until(lambda: storage.asked)
    assert (world.root / "a.dat").exists()
    world.stop()
    storage.change = {}
    world.start(allow_delete=True)
    world.wait_until(lambda: world.states() == {"released": 2})


@pytest.mark.fault("F40")
def test_a_crash_between_removal_and_record_is_understood(world):
    """The row says that the file was being removed, and it is not there."""
    storage = completed(world)
    storage.change = {"refuse": True}
    world.complete(storage.seal)
    world.wait_until(lambda: world.states() == {"releasing": 2})
    world.stop()
    world.start(allow_delete=False)
    with world.watcher.store.transaction() as db:
        db.execute("UPDATE files SET reason = 'unlinking' WHERE name = ?", (b"a.dat",))
    world.stop()
    (world.root / "a.dat").unlink()
    storage.change = {"found": False}
    world.start(allow_delete=True)
    world.wait_until(lambda: world.states() == {"released": 1, "catalogued": 1})
    world.wait_for(FileReleased)
    assert [file.path for event in world.events(FileReleased) for file in event.files] == ["a.dat"]


def test_without_being_asked_nothing_is_removed(world):
    """The station allows it, the upload does not want it."""
    storage = completed(world, delete_after=False)
    world.complete(storage.seal)
    world.wait_until(lambda: world.upload_state() == "completed")
    world.stop()
    world.start(allow_delete=True)
    assert (world.root / "a.dat").exists()
    assert not storage.asked


def kept(world, name: str, why: str) -> bool:
    """Tell whether it was said that a file was kept, and why."""
    texts = [text for event in world.events(UploadScanned) for text in event.troubles]
    return any(text.startswith(name) and why in text for text in texts)


@pytest.mark.fault("F49")
def test_a_file_that_a_program_has_open_for_writing_stays(world):
    """Its next line would be written into a file that is not there any more, without an error."""
    storage = completed(world)
    with (world.root / "a.dat").open("ab", buffering=0) as log:
        world.complete(storage.seal)
        world.wait_until(lambda: world.states() == {"catalogued": 1, "released": 1})
        log.write(b"the next line")
    assert (world.root / "a.dat").read_bytes() == b"onethe next line"
    world.wait_until(lambda: kept(world, "a.dat", "another program has it open for writing"))


@pytest.mark.fault("F49")
def test_a_file_whose_bytes_changed_behind_its_stamp_stays(world, monkeypatch):
    """Its own bytes are read again before it goes: on a drive that keeps no time of change, nothing else tells."""
    monkeypatch.setattr("datauploader_watcher.adapters.disk.changed_ns", lambda _: 0)
    storage = completed(world)
    path = world.root / "a.dat"
    before = path.stat()
    path.write_bytes(b"TWO")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    world.complete(storage.seal)
    world.wait_until(lambda: world.states() == {"catalogued": 1, "released": 1})
    assert path.read_bytes() == b"TWO"
    world.wait_until(lambda: kept(world, "a.dat", "changed"))


@pytest.mark.posix  # leases
@pytest.mark.fault("F49")
def test_where_nobody_can_tell_who_writes_nothing_is_removed(world, monkeypatch):
    """A network drive has writers elsewhere, and an account that may take no lease sees none."""
    monkeypatch.setattr("datauploader_watcher.adapters.removal.take_lease", lambda _: None)
    storage = completed(world)
    world.complete(storage.seal)
    world.wait_until(lambda: kept(world, "deep/b.dat", "nobody can tell") and kept(world, "a.dat", "nobody can tell"))
    assert (world.root / "a.dat").exists()
    assert world.states() == {"catalogued": 2}


@pytest.mark.posix  # hidden names: Windows needs none
@pytest.mark.fault("F49")
@pytest.mark.parametrize("swapped", ["before it is hidden", "after it is hidden"])
def test_a_file_that_takes_the_place_of_the_one_that_was_proven_stays(world, monkeypatch, swapped):
    """What is removed is the file that is open; whatever lies under its name instead is put back."""
    path = world.root / "a.dat"

    def rename(folder: int, old: bytes, new: bytes) -> None:
        if old == b"a.dat" and swapped.startswith("before"):
            world.write("newer", b"newer").replace(path)
        rename_new(folder, old, new)
        if old == b"a.dat" and swapped.startswith("after"):
            world.write("newer", b"newer")
            os.replace("newer", new, src_dir_fd=os.open(world.root, os.O_RDONLY), dst_dir_fd=folder)

    storage = completed(world)
    monkeypatch.setattr("datauploader_watcher.adapters.removal.rename_new", rename)
    world.complete(storage.seal)
    world.wait_until(lambda: world.states() == {"catalogued": 1, "released": 1})
    assert path.read_bytes() == b"newer"
    assert not [one.name for one in world.root.iterdir() if one.name.startswith(".du-release-")]
    world.wait_until(lambda: kept(world, "a.dat", "another file has taken its place"))


@pytest.mark.fault("F49")
def test_who_wants_to_write_while_a_file_is_proven_gets_it(world, monkeypatch):
    """A program that opens the file meanwhile has to wait for a moment only, and the file stays."""
    storage = completed(world)
    path, opened = world.root / "a.dat", threading.Event()

    def write() -> None:
        with path.open("ab", buffering=0) as log:
            opened.set()
            log.write(b" and more")

    writer = threading.Thread(target=write)

    def read(descriptor: int, most: int) -> bytes:
        if os.path.samestat(os.fstat(descriptor), path.stat()) and not writer.is_alive() and not opened.is_set():
            writer.start()
            eventually(lambda: not holds_lease(descriptor), what="the writer asks")
        return os.read(descriptor, most)

    monkeypatch.setattr("datauploader_watcher.background.local_cleanup.read", read)
    world.complete(storage.seal)
    world.wait_until(lambda: world.states() == {"catalogued": 1, "released": 1})
    writer.join()
    assert path.read_bytes() == b"one and more"


@pytest.mark.posix  # hidden names: Windows needs none
@pytest.mark.fault("F49")
@pytest.mark.parametrize("changed", [False, True], ids=["as it was", "written to meanwhile"])
def test_a_crash_after_a_file_was_hidden_is_understood(world, changed):
    """It is the proven file, and goes; or it is not, and has its name again."""
    storage = completed(world)
    storage.change = {"refuse": True}
    world.complete(storage.seal)
    world.wait_until(lambda: world.states() == {"releasing": 2})
    with world.watcher.store.transaction() as db:
        db.execute("UPDATE files SET reason = 'unlinking' WHERE name = ?", (b"a.dat",))
        row = next(row for row in FileTable(db).in_state(1, "releasing", 9) if row.name == b"a.dat")
    world.stop()
    hidden = world.root / Removal(LocalDisk(bytes(world.root)), row, lambda: False).hidden.decode()
    (world.root / "a.dat").rename(hidden)
    if changed:
        hidden.write_bytes(b"TWO")
    storage.change = {"found": False}
    world.start(allow_delete=True)
    world.wait_until(lambda: world.states() == ({"catalogued": 2} if changed else {"catalogued": 1, "released": 1}))
    assert not hidden.exists()
    assert (world.root / "a.dat").exists() == changed


@pytest.mark.fault("F49")
def test_stopping_does_not_wait_until_a_large_file_is_read(world, monkeypatch):
    """The row waits as it is; the next start goes on with it."""
    storage, reading, stopped = completed(world), threading.Event(), threading.Event()

    def read(descriptor: int, most: int) -> bytes:
        reading.set()
        return b"x" if not stopped.is_set() else os.read(descriptor, most)

    monkeypatch.setattr("datauploader_watcher.background.local_cleanup.read", read)
    world.complete(storage.seal)
    world.wait_until(reading.is_set)
    began = time.monotonic()
    world.stop()
    assert time.monotonic() - began < 6
    stopped.set()
    world.start(allow_delete=True)
    world.wait_until(lambda: world.states() == {"released": 2})
    assert not (world.root / "a.dat").exists()
