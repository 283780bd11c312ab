"""Steering an upload: close, pause, resume, cancel, retry; and what closes it by itself."""

import threading
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from datauploader.contracts import (
    Event,
    FileReady,
    Person,
    Station,
    UploadCancelled,
    UploadControlled,
    UploadScanned,
    UploadSealed,
)
from datauploader.contracts.model import microseconds
from datauploader.contracts.questions import Datafiles
from datauploader_watcher.adapters.disk import LocalDisk, Page

HERE = Station(facility="elettra", beamline="xrd1", station="ws01")
UPLOAD = "upload-0001"
ANNA = Person(id="1101", name="Anna")


def test_a_sync_upload_is_sealed_after_its_close_with_what_came_last(world):
    """The close has everything scanned once more, so that nothing written before it is missed."""
    world.start(poll=True, poll_interval_s=60)
    world.request("sync")
    world.write("late.dat")
    world.control("close")
    seal = world.wait_for(UploadSealed)[0]
    assert seal.files == 1
    assert set(world.announced()) == {b"late.dat"}


def test_a_sync_upload_stays_open_without_a_close(world):
    """New files are announced as they come, and no seal is said."""
    world.start()
    world.request("sync")
    for number in range(5):
        world.write(f"{number}.dat")
        world.wait_announced(*(f"{n}.dat" for n in range(number + 1)))
    assert not world.events(UploadSealed)


def test_a_marker_closes(world):
    """The writer's own word that it is done."""
    world.start()
    world.request("sync", marker="*.done")
    world.write("a.dat")
    world.wait_announced("a.dat")
    world.write("scan.done", b"")
    assert world.wait_for(UploadSealed)[0].files == 2


def test_idleness_closes_but_never_an_empty_folder(world):
    """So long without any change after the first file."""
    world.start()
    world.request("sync", idle_close_s=0.5)
    world.wait_for(UploadScanned)
    world.wait_until(lambda: world.watcher is not None and world.upload_state() == "open")
    world.write("a.dat")
    assert world.wait_for(UploadSealed)[0].files == 1


def test_a_pause_holds_back_and_resume_goes_on(world):
    """Nothing is announced in between, nothing is lost."""
    world.start()
    world.request("sync")
    world.control("pause")
    world.wait_until(lambda: paused(world) == 1)
    world.write("a.dat")
    world.wait_until(lambda: any(e.files == 1 for e in world.events(UploadScanned)), "the file is counted")
    assert not world.events(FileReady)
    world.control("resume")
    world.wait_announced("a.dat")


@pytest.mark.fault("F26")
def test_a_pause_that_comes_behind_a_later_resume_changes_nothing(world):
    """Who says so last is right, in whatever order it is heard."""
    world.start()
    world.request("sync")
    now = datetime.now(UTC)
    for action, at in (("resume", now), ("pause", now - timedelta(seconds=1))):
        data = UploadControlled(upload_id=UPLOAD, action=action, requested_by=ANNA)
        world.outside.publish(Event(data=data, station=HERE, service="test", time=at)).result(60)
    world.write("a.dat")
    world.wait_announced("a.dat")


@pytest.mark.fault("F54")
def test_a_resume_works_at_once_when_the_clock_of_the_pause_was_ahead(world):
    """The gateway's clock was put right in between: its numbers say what came later."""
    world.start()
    world.request("sync")
    now = datetime.now(UTC)
    for number, (action, at) in enumerate((("pause", now + timedelta(hours=2)), ("resume", now))):
        data = UploadControlled(upload_id=UPLOAD, action=action, requested_by=ANNA)
        event = Event(data=data, station=HERE, service="test", time=at, sequence=microseconds(now) + number)
        world.outside.publish(event).result(60)
    world.write("a.dat")
    world.wait_announced("a.dat")


@pytest.mark.fault("F54")
def test_a_watcher_that_lost_its_state_seals_above_what_the_catalog_has_heard(world):
    """Its clock was ahead when the lost state sealed: the catalog says how far the numbers had come."""
    far = microseconds(datetime.now(UTC) + timedelta(hours=2))
    world.recalled = lambda _question, _station: Datafiles(sealed=far)
    world.write("a.dat")
    world.start()
    world.request()
    world.wait_for(UploadSealed)
    orders = [event.order for event in world.heard if isinstance(event.data, UploadSealed)]
    assert min(orders) > far


def paused(world) -> int:
    """Return whether the ledger has the upload paused."""
    with world.watcher.store.reading() as db:
        return db.execute("SELECT paused FROM uploads").fetchone()[0]


def test_a_cancelled_upload_says_so_and_announces_nothing_more(world):
    """What is stored stays stored; the watcher lets go."""
    world.write("a.dat")
    world.start()
    world.request("sync")
    world.wait_announced("a.dat")
    world.control("cancel")
    world.wait_for(UploadCancelled)
    world.wait_until(lambda: world.watcher.status.uploads == 0)
    world.write("b.dat")
    world.control("close")
    world.wait_until(lambda: handled(world) == 3, "request, cancel and close are handled")
    assert set(world.announced()) == {b"a.dat"}
    assert not world.events(UploadSealed)


def handled(world) -> int:
    """Count the events that the watcher has dealt with."""
    with world.watcher.store.reading() as db:
        return db.execute("SELECT count(*) FROM inbox").fetchone()[0]


def test_retry_announces_what_failed_for_good(world):
    """A final failure waits for a person."""
    world.write("a.dat")
    world.start()
    world.request()
    file = world.wait_announced("a.dat")[b"a.dat"]
    world.fail(file, "not-allowed")
    world.wait_until(lambda: world.states() == {"failed": 1})
    world.control("retry")
    world.wait_for(FileReady, 2)
    assert world.states() == {"announced": 1}


def test_a_retry_can_name_files(world):
    """The other failed ones wait on; a file of the same name in another folder is another file."""
    for name in ("a.dat", "sub/a.dat", "b.dat"):
        world.write(name)
    world.start()
    world.request()
    world.wait_announced("a.dat", "sub/a.dat", "b.dat")
    for file in list(world.announced().values()):
        world.fail(file, "not-allowed")
    world.wait_until(lambda: world.states() == {"failed": 3})
    before = len(world.events(FileReady))
    world.control("retry", world.announced()[b"sub/a.dat"])
    (again,) = world.wait_for(FileReady, before + 1)[-1].files
    assert again.path == "sub/a.dat"
    assert world.states() == {"failed": 2, "announced": 1}


def test_a_control_that_overtakes_its_request_is_kept(world):
    """Messages of two senders have no order."""
    world.write("a.dat")
    world.start()
    world.control("close")
    world.request("sync")
    assert world.wait_for(UploadSealed)[0].files == 1


def test_the_same_request_twice_is_one_upload(world):
    """An upload is known by its name."""
    world.write("a.dat")
    world.start()
    world.request("sync")
    world.request("sync")
    world.wait_announced("a.dat")
    world.control("close")
    world.wait_for(UploadSealed)
    assert sum(len(event.files) for event in world.events(FileReady)) == 1


class SlowDisk(LocalDisk):
    """A disk whose folders are not listed before somebody lets them."""

    let = threading.Event()

    def pages(self, path: bytes, only: frozenset[bytes] | None) -> Generator[Page | None, None, None]:
        """Wait, as a scan without an end does."""
        self.let.wait(30)
        yield from super().pages(path, only)


@pytest.fixture
def slow() -> Iterator[type[SlowDisk]]:
    """Give a disk that does not answer until the test lets it, or ends."""
    SlowDisk.let.clear()
    yield SlowDisk
    SlowDisk.let.set()


@pytest.mark.attack("S33")
def test_a_cancel_reaches_an_upload_whose_scan_hangs_and_holds_after_a_restart(world, slow):
    """The answer does not wait for the scan; the upload is not taken up again, and another one is."""
    world.write("a.dat")
    world.start(disks=slow)
    world.request("sync")
    world.control("cancel")
    world.wait_for(UploadCancelled)
    slow.let.set()
    world.stop()
    slow.let.clear()
    world.start()
    world.request("sync", upload_id="upload-0002", wait=False)
    world.wait_announced("a.dat")
    assert {event.upload_id for event in world.events(FileReady)} == {"upload-0002"}


@pytest.mark.attack("S33")
def test_a_pause_reaches_an_upload_whose_scan_hangs(world, slow):
    """When the scan goes on, nothing is announced before the upload is resumed."""
    world.write("a.dat")
    world.start(disks=slow)
    world.request("sync")
    world.control("pause")
    world.wait_until(lambda: paused(world), "the pause is on the record")
    slow.let.set()
    world.wait_until(lambda: (said := world.events(UploadScanned)) and said[-1].files == 1, "the scan goes on")
    assert not world.announced()
    world.control("resume")
    world.wait_announced("a.dat")
