"""Local copies go only after their stored copies were hashed again, and whatever stays says why."""

import pytest

from datauploader.contracts import FileReleased, UploadScanned, UploadSealed
from datauploader.contracts.questions import StoredHash
from datauploader.errors import QuestionRefused

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
        ({"found": False}, "no such object"),
        ({"digests": {"sha256": "0" * 64}}, "another sha256"),
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
