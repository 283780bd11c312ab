"""Receipts: late, twice, out of order, or never."""

import random

import pytest

from datauploader.contracts import FileReady, StationReported, UploadSealed


@pytest.mark.fault("F22")
def test_without_a_receipt_a_version_is_announced_again_with_another_id(world):
    """The broker carries, it does not keep; and the station says that nobody answers."""
    world.write("a.dat")
    world.start(receipt_patience_s=0.3)
    world.request("sync")
    world.wait_for(FileReady, 3)
    ready = [event for event in world.heard if isinstance(event.data, FileReady)]
    assert len({event.id for event in ready}) == len(ready)
    assert len({event.data.files[0].key for event in ready}) == 1
    assert len({event.data.files[0].revision for event in ready}) == 1
    world.wait_until(lambda: any("no confirmation" in t for r in world.events(StationReported) for t in r.troubles))
    world.store(*world.announced().values())
    world.catalogue(*world.announced().values())
    world.wait_until(lambda: not world.events(StationReported)[-1].troubles, "the trouble is over")


def test_a_stored_version_whose_cataloguing_is_not_heard_of_is_announced_again(world):
    """The transfer answers with its receipt once more, and the catalogue with its own."""
    world.write("a.dat")
    world.start(receipt_patience_s=0.5)
    world.request("sync")
    file = world.wait_announced("a.dat")[b"a.dat"]
    world.store(file)
    world.wait_for(FileReady, 2)
    assert world.states() == {"stored": 1}
    world.catalogue(file)
    world.wait_until(lambda: world.states() == {"catalogued": 1})


@pytest.mark.fault("F26")
def test_receipts_in_any_order_and_number_end_catalogued(world):
    """States only move forward."""
    names = [f"{n}.dat" for n in range(20)]
    for name in names:
        world.write(name, name.encode())
    world.start()
    world.request()
    files = list(world.wait_announced(*names).values())
    said = [(say, file) for file in files for say in (world.store, world.catalogue, world.store, world.catalogue)]
    said += [(lambda file: world.fail(file, "unreachable", final=False), file) for file in files]
    said += [(lambda file: world.fail(file, "conflict"), file) for file in files]
    random.Random(7).shuffle(said)
    for say, file in said:
        say(file)
    world.wait_until(lambda: world.states() == {"catalogued": 20})


def test_a_failure_that_is_tried_again_by_itself_is_waited_for(world):
    """The transfer is at it; the version stays announced."""
    world.write("a.dat")
    world.start()
    world.request()
    file = world.wait_announced("a.dat")[b"a.dat"]
    world.fail(file, "unreachable", final=False)
    world.store(file)
    world.wait_until(lambda: world.states() == {"stored": 1})


def test_a_new_version_of_a_failed_file_needs_no_retry(world):
    """Writing it again is as good as asking."""
    path = world.write("a.dat")
    world.start()
    world.request("sync")
    file = world.wait_announced("a.dat")[b"a.dat"]
    world.fail(file, "conflict")
    world.wait_until(lambda: world.states() == {"failed": 1})
    path.write_bytes(b"something else")
    world.wait_until(lambda: world.announced()[b"a.dat"].revision > file.revision)


def test_a_seal_without_an_answer_is_said_again_once_all_files_are_catalogued(world):
    """A lost seal must not leave a dataset open for ever."""
    world.write("a.dat")
    world.start(receipt_patience_s=0.5)
    world.request()
    file = world.wait_announced("a.dat")[b"a.dat"]
    world.store(file)
    world.catalogue(file)
    first, second = world.wait_for(UploadSealed, 2)[:2]
    assert first == second
    world.complete(first)
    world.wait_until(lambda: world.upload_state() == "completed")
