"""The version before one that never arrived counts only where the storage was looked at, or nothing was begun."""

import hashlib

import pytest

from datauploader.contracts import FileFailed, FileLeftOut, FileVersion, UploadSealed
from datauploader.contracts.files import FailedFile
from datauploader.contracts.uploads import manifest_digest
from datauploader_watcher.outgoing.recorder import NEITHER_HELD, NEVER_HELD, OLDER_HELD

from .conftest import UPLOAD, World


def rewritten_and_removed(world: World) -> tuple[FileVersion, FileVersion]:
    """Have a version catalogued and a second one announced; remove the file, and return both."""
    path = world.write("a.dat", b"one")
    world.write("b.dat", b"stays")
    world.start()
    world.request("sync")
    files = dict(world.wait_announced("a.dat", "b.dat"))
    for file in files.values():
        world.store(file)
        world.catalogue(file)
    path.write_bytes(b"second")
    second = hashlib.sha256(b"second").hexdigest()
    world.wait_until(lambda: world.announced()[b"a.dat"].sha256 == second, "the second version")
    path.unlink()
    return files[b"a.dat"], world.announced()[b"a.dat"]


def fail(world: World, file: FileVersion, **found: str) -> None:
    """Say that the file is gone, and what transfer found in its place."""
    failed = FailedFile.model_validate(
        {"file": file, "reason": "source-gone", "detail": "It is gone.", "final": True, **found}
    )
    world.say(FileFailed(upload_id=UPLOAD, files=(failed,)))


def record(world: World) -> str:
    """Wait for the record of the file that is gone, and return what it says."""
    world.wait_until(lambda: world.left_out() == {b"a.dat": "gone"}, "the record")
    return [file.detail for event in world.events(FileLeftOut) for file in event.files][-1]


def manifest(world: World) -> str:
    """Seal the upload and return the digest of its manifest."""
    world.control("close")
    return world.wait_for(UploadSealed)[-1].manifest_sha256


def digest(**files: bytes) -> str:
    """Return the digest of the manifest of these files."""
    return manifest_digest((f"{name}.dat".encode(), hashlib.sha256(data).hexdigest()) for name, data in files.items())


@pytest.mark.fault("F50")
def test_the_former_version_counts_when_it_was_found_on_the_storage(world: World) -> None:
    """By its own digest."""
    first, second = rewritten_and_removed(world)
    fail(world, second, holds="former", former=first.sha256)
    assert record(world) == OLDER_HELD
    assert manifest(world) == digest(a=b"one", b=b"stays")


@pytest.mark.fault("F50")
@pytest.mark.parametrize(
    "found", [{"holds": "nothing"}, {"holds": "other"}, {"holds": "former", "former": "ab" * 32}], ids=str
)
def test_the_former_version_does_not_count_when_it_was_not_found(world: World, found: dict[str, str]) -> None:
    """The dataset is sealed without the file, and the record says that neither version is there."""
    first, second = rewritten_and_removed(world)
    fail(world, second, **found)
    assert record(world) == NEITHER_HELD
    world.store(first)  # a receipt of before, that comes once more
    assert manifest(world) == digest(b=b"stays")
    assert world.states() == {"gone": 1, "catalogued": 1}


@pytest.mark.fault("F50")
def test_a_transfer_that_does_not_say_what_it_found_is_believed_as_before(world: World) -> None:
    """It is older than this watcher."""
    _, second = rewritten_and_removed(world)
    fail(world, second)
    assert record(world) == OLDER_HELD


@pytest.mark.fault("F50")
def test_of_a_file_that_was_never_stored_nothing_is_said_to_be_lost(world: World) -> None:
    """There was no version before it."""
    path = world.write("a.dat", b"one")
    world.start()
    world.request("sync")
    file = world.wait_announced("a.dat")[b"a.dat"]
    path.unlink()
    fail(world, file, holds="nothing")
    assert record(world) == NEVER_HELD
