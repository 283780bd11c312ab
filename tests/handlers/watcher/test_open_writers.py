"""Files that a program still has open when their dataset is closed: waited for, taken, named, never passed over."""

import hashlib
import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from datauploader.contracts import UploadScanned, UploadSealed
from datauploader.contracts.uploads import manifest_digest


def sha256(data: bytes) -> str:
    """Return the digest that must be announced."""
    return hashlib.sha256(data).hexdigest()


def told(world, *words: str) -> bool:
    """Tell whether the latest counts have a sentence with these words."""
    sentences = world.events(UploadScanned)[-1].troubles if world.events(UploadScanned) else ()
    return any(all(word in sentence for word in words) for sentence in sentences)


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
        assert "log.txt; it was taken as it was then." in seal.notes[0]


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


@pytest.mark.fault("F56")
def test_a_file_that_never_rests_is_named(world):
    """It keeps the dataset open, so people must know its name and what to do."""
    path = world.write("instrument.log", b"")
    world.start(restless_after_s=1.0)
    world.request("sync", quiet_period_s=0.5)
    stop = threading.Event()

    def scribble() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.wait(0.1):
                file.write(b"x" * 10)

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        world.control("close")
        world.wait_until(lambda: told(world, "Still being written: instrument.log;", "cancel"))
        assert not world.events(UploadSealed)
    finally:
        stop.set()
        writer.join()
    assert world.wait_for(UploadSealed)[0].files == 1


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


@contextmanager
def writing(path) -> Iterator[mmap.mmap]:
    """Hold a file in a memory map that may be written to."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        yield view
