"""Files that a program still has open when their dataset is closed: waited for, taken, named, never passed over."""

import hashlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datauploader.contracts import FileVersion, UploadScanned, UploadSealed
from datauploader.contracts.uploads import RestlessFile, manifest_digest
from datauploader_testing.growing import growing
from datauploader_watcher.ledger.choices import RestlessChoice, RestlessChoiceTable


def sha256(data: bytes) -> str:
    """Return the digest that must be announced."""
    return hashlib.sha256(data).hexdigest()


def told(world, *words: str) -> bool:
    """Tell whether the latest counts have a sentence with these words."""
    sentences = world.events(UploadScanned)[-1].troubles if world.events(UploadScanned) else ()
    return any(all(word in sentence for word in words) for sentence in sentences)


@pytest.mark.posix  # leases: on Windows what is open is not read
@pytest.mark.fault("F56")
def test_a_file_that_is_open_for_writing_holds_the_seal_and_is_named_until_it_is_closed(world):
    """What is written after the close belongs to the dataset, because the seal waits for the writer."""
    path = world.write("scan.h5", b"")
    with path.open("r+b", buffering=0) as file:
        file.write(b"first half")
        world.start()
        world.request("sync")
        world.wait_announced("scan.h5")
        world.control("close")
        world.wait_until(lambda: told(world, "Still open in another program: scan.h5;", "at the latest at"))
        assert not world.events(UploadSealed)
        file.write(b" and the rest")
    seal = world.wait_for(UploadSealed)[0]
    assert seal.manifest_sha256 == manifest_digest([(b"scan.h5", sha256(b"first half and the rest"))])
    assert not seal.notes
    assert not world.events(UploadScanned)[-1].troubles


@pytest.mark.posix  # leases: on Windows what is open is not read
@pytest.mark.fault("F56")
def test_when_the_patience_ends_an_open_file_is_taken_as_it_is_and_the_seal_says_so(world):
    """A program that never closes its file does not keep the dataset open for ever."""
    path = world.write("log.txt", b"one\n")
    with path.open("ab", buffering=0) as file:
        world.start(seal_patience_s=1.5)
        world.request("sync")
        world.wait_announced("log.txt")
        world.control("close")
        world.wait_until(lambda: told(world, "Still open", "log.txt"))
        file.write(b"two\n")
        seal = world.wait_for(UploadSealed)[0]
        assert seal.manifest_sha256 == manifest_digest([(b"log.txt", sha256(b"one\ntwo\n"))])
        assert "log.txt; it was uploaded as it was then." in seal.notes[0]


@pytest.mark.posix  # leases: on Windows what is open is not read
@pytest.mark.fault("F48")
def test_a_memory_map_without_any_event_is_read_again_before_the_seal(world):
    """Nothing tells of the change: no event, no stamp. That it was open for writing when it was read is remembered."""
    world.settings |= {"poll": True, "poll_interval_s": 0.2}
    path = world.write("map.dat", bytes(8192))
    with writing(path) as view:
        view[0:4] = b"AAAA"
        world.start(seal_patience_s=1.0)
        world.request("sync")
        version = world.wait_announced("map.dat")[b"map.dat"]
        world.store(version)
        world.catalogue(version)
        world.wait_until(lambda: world.states() == {"catalogued": 1})
        before = path.stat()
        view[0:4] = b"BBBB"
        now = bytes(view)
        assert path.stat().st_ctime_ns == before.st_ctime_ns
    world.control("close")
    seal = world.wait_for(UploadSealed)[0]
    assert seal.manifest_sha256 == manifest_digest([(b"map.dat", sha256(now))])


@pytest.mark.posix  # leases: on Windows what is open is not read
@pytest.mark.fault("F48")
def test_that_a_file_was_open_when_it_was_read_survives_a_restart(world):
    """The mark is in the ledger, not in memory."""
    world.settings |= {"poll": True, "poll_interval_s": 0.2}
    path = world.write("map.dat", bytes(8192))
    with writing(path) as view:
        view[0:4] = b"AAAA"
        world.start()
        world.request("sync")
        world.wait_announced("map.dat")
        world.stop()
        view[0:4] = b"BBBB"
        now = bytes(view)
    world.start()
    world.control("close")
    seal = world.wait_for(UploadSealed)[0]
    assert seal.manifest_sha256 == manifest_digest([(b"map.dat", sha256(now))])


@pytest.mark.fault("F64")
def test_a_file_that_never_rests_is_named(world):
    """It keeps the dataset open, so people must know its name and what to do."""
    restless(world)
    with growing(world.root / "instrument.log"):
        world.control("close")
        world.wait_until(lambda: told(world, "Still being written: instrument.log;", "upload it", "leave it out"))
        (named,) = world.events(UploadScanned)[-1].restless
        assert named.path == "instrument.log"
        assert not world.events(UploadSealed)
    assert world.wait_for(UploadSealed)[0].files == 1
    assert not world.events(UploadScanned)[-1].restless


@pytest.mark.fault("F64")
def test_a_file_that_never_rests_is_taken_as_it_is_when_a_person_says_so(world):
    """Its bytes of one moment are a version; what is written after that is not uploaded."""
    path = restless(world)
    with growing(path):
        world.control("close")
        (named,) = world.wait_until(lambda: named_restless(world))
        world.control("take", named)
        seal = world.wait_for(UploadSealed)[0]
        taken = world.announced()[b"instrument.log"]
        assert taken.as_is
        world.wait_until(lambda: path.stat().st_size > taken.size)
    assert taken.sha256 == sha256(path.read_bytes()[: taken.size])
    assert seal.manifest_sha256 == manifest_digest([(b"instrument.log", taken.sha256)])
    assert seal.notes == ("Uploaded while a program was still writing, as Anna chose: instrument.log.",)


@pytest.mark.fault("F64")
def test_a_file_that_never_rests_is_left_out_when_a_person_says_so(world):
    """It is on the record, with who chose that; the rest is sealed."""
    path = restless(world)
    world.write("other.dat")
    with growing(path):
        world.control("close")
        (named,) = world.wait_until(lambda: named_restless(world))
        world.control("leave-out", named)
        seal = world.wait_for(UploadSealed)[0]
    assert world.left_out()[b"instrument.log"] == "chosen"
    assert (seal.files, seal.left_out) == (1, 1)
    assert seal.notes == ("Left out while a program was still writing, as Anna chose: instrument.log.",)


@pytest.mark.fault("F64")
@pytest.mark.parametrize("choice", ["take", pytest.param("leave-out", marks=pytest.mark.campaign)])
def test_a_choice_survives_a_restart(world, choice):
    """It is in the ledger: nobody is asked twice, and the file is not looked at again."""
    path = restless(world)
    with growing(path):
        with growing(world.root / "other.log"):
            world.control("close")
            world.wait_until(lambda: len(named_restless(world)) == 2)
            world.control(choice, next(file for file in named_restless(world) if file.path == path.name))
            world.wait_until(lambda: all(one.done for one in chosen(world).values()) and chosen(world))
            world.stop()
            world.start(restless_after_s=1.0)
        assert world.wait_for(UploadSealed)[0].files == 1 + (choice == "take")


@pytest.mark.fault("F64")
@pytest.mark.parametrize(("choice", "files"), [pytest.param("take", 1, marks=pytest.mark.campaign), ("leave-out", 0)])
def test_what_was_chosen_beforehand_needs_nobody(world, choice, files):
    """A standing rule says once what becomes of such files."""
    path = restless(world, when_restless=choice)
    with growing(path):
        world.control("close")
        seal = world.wait_for(UploadSealed)[0]
    assert (seal.files, seal.left_out) == (files, 1 - files)


@pytest.mark.campaign
@pytest.mark.fault("F64")
def test_a_taken_file_that_is_written_over_before_it_is_sent_is_taken_again_and_then_shown(world):
    """Transfer sends only what was announced; what cannot be held long enough for that is left to a person."""
    path = restless(world)
    with growing(path):
        world.control("close")
        (named,) = world.wait_until(lambda: named_restless(world))
        world.control("take", named)
        refused: set[str] = set()
        for _ in range(3):
            taken = world.wait_until(lambda: newly_taken(world, refused))
            refused.add(taken.key)
            world.fail(taken, "source-changed")
        world.wait_until(lambda: told(world, "Not uploaded as chosen: instrument.log"))
        assert named_restless(world)


@pytest.mark.fault("F64")
def test_a_choice_for_an_open_upload_changes_nothing(world):
    """As long as files come, every version of each is uploaded."""
    path = world.write("instrument.log", b"one")
    world.start()
    world.request("sync", quiet_period_s=0.2)
    first = world.wait_announced("instrument.log")[b"instrument.log"]
    world.control("take", first)
    for content in (b"one and two", b"one, two, three"):
        path.write_bytes(content)
        world.wait_until(lambda content=content: world.announced()[b"instrument.log"].size == len(content))


@pytest.mark.fault("F48")
def test_an_ordinary_file_is_read_once(world, monkeypatch):
    """The events of a write that was just read do not cost a second reading."""
    read: list[int] = []
    monkeypatch.setattr("datauploader_watcher.adapters.hashing.has_writer", read.append)
    world.start()
    world.request("sync", quiet_period_s=0.5)
    names = [f"{number:04}.dat" for number in range(300)]
    for name in names:
        world.write(name, name.encode())
    world.wait_announced(*names)
    world.control("close")
    world.wait_for(UploadSealed)
    assert len(read) <= 1.02 * len(names)


def restless(world, **fields) -> Path:
    """Begin an upload with a file that will be written all the time, at a station that says so soon."""
    path = world.write("instrument.log", b"")
    world.start(restless_after_s=1.0)
    world.request("sync", quiet_period_s=0.5, **fields)
    return path


def named_restless(world) -> list[RestlessFile]:
    """Return the files that are named as going on to change."""
    said = world.events(UploadScanned)
    return list(said[-1].restless) if said else []


def newly_taken(world, before: set[str]) -> FileVersion | None:
    """Return a version that was taken as it was, and is none of those from before."""
    newest = world.announced().get(b"instrument.log")
    return newest if newest and newest.as_is and newest.key not in before else None


def chosen(world) -> dict[bytes, RestlessChoice]:
    """Return what is kept of people's choices."""
    with world.watcher.store.reading() as db:
        return RestlessChoiceTable(db).of(1)


@contextmanager
def writing(path) -> Iterator[mmap.mmap]:
    """Hold a file in a memory map that may be written to."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        yield view
