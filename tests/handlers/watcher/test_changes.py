"""Files that change while they are uploaded: a version is never announced half, never closed by another's receipt."""

import hashlib
import mmap
import os
import time

import pytest

from datauploader.contracts import FileReady, UploadScanned, UploadSealed
from datauploader.contracts.uploads import manifest_digest
from datauploader_testing.growing import growing


def sha256(data: bytes) -> str:
    """Return the digest that must be announced."""
    return hashlib.sha256(data).hexdigest()


@pytest.mark.fault("F10")
def test_a_file_modified_after_its_announcement_is_announced_again_with_a_higher_revision(world):
    """The second version supersedes the first; the first one's receipts do not close it."""
    path = world.write("scan.dat", b"first")
    world.start()
    world.request("sync")
    first = world.wait_announced("scan.dat")[b"scan.dat"]
    path.write_bytes(b"second, longer")
    world.wait_until(lambda: world.announced()[b"scan.dat"].sha256 == sha256(b"second, longer"), "the new version")
    second = world.announced()[b"scan.dat"]
    assert second.revision > first.revision
    world.store(first)
    world.catalogue(first)
    world.store(second)
    world.wait_until(lambda: world.states() == {"stored": 1})
    world.catalogue(first)
    world.catalogue(second)
    world.wait_until(lambda: world.states() == {"catalogued": 1})


@pytest.mark.fault("F9")
def test_a_growing_file_is_not_announced_before_it_rests(world):
    """A writer that never pauses for the quiet period keeps its file from being announced."""
    path = world.write("slow.dat", b"")
    world.start()
    world.request("sync", quiet_period_s=0.6)
    with growing(path, every_s=0.05, data=b"x" * 100):
        world.wait_until(lambda: path.stat().st_size > 3000, "three seconds of writing")
        assert not world.events(FileReady)
    announced = world.wait_announced("slow.dat")[b"slow.dat"]
    assert announced.sha256 == sha256(path.read_bytes())


@pytest.mark.fault("F12")
def test_a_temporary_name_is_never_announced_and_leaves_no_record(world):
    """Instruments write under a temporary name and rename: only the final name counts."""
    world.start()
    world.request("sync", quiet_period_s=0.3)
    world.write("run.h5.part", b"data")
    (world.root / "run.h5.part").replace(world.root / "run.h5")
    world.wait_announced("run.h5")
    world.control("close")
    assert world.wait_for(UploadSealed)[0].left_out == 0
    assert not world.left_out()


@pytest.mark.fault("F12")
def test_a_temporary_name_that_stays_is_left_out(world):
    """Its writer has died perhaps; somebody can read that it lies there, and why it is not uploaded."""
    world.write("dead.h5.part")
    world.write("run.h5")
    world.start()
    world.request(quiet_period_s=0.2)
    assert world.wait_for(UploadSealed)[0].left_out == 1
    assert set(world.announced()) == {b"run.h5"}
    assert world.left_out() == {b"dead.h5.part": "excluded"}


@pytest.mark.fault("F12")
def test_a_file_renamed_before_it_is_finished_is_announced_under_its_new_name_alone(world):
    """The old name is dropped without a trace."""
    world.start()
    world.request("sync", quiet_period_s=8)
    old = world.write("tmp0001", b"data")
    world.wait_until(lambda: any(e.settling for e in world.events(UploadScanned)), "the file is seen")
    old.replace(world.root / "final.dat")
    world.wait_announced("final.dat")


def test_a_touched_file_is_announced_again_only_while_it_is_not_stored(world):
    """Whoever moves a file compares its time; once it is stored the same bytes are no new version."""
    path = world.write("a.dat")
    world.start()
    world.request("sync")
    first = world.wait_announced("a.dat")[b"a.dat"]
    os.utime(path, ns=(1, 1_000_000_000))
    world.wait_until(lambda: world.announced()[b"a.dat"].revision > first.revision, "announced with its new time")
    second = world.announced()[b"a.dat"]
    assert second.mtime_ns == 1_000_000_000
    world.store(second)
    world.wait_until(lambda: world.states() == {"stored": 1})
    os.utime(path, ns=(1, 2_000_000_000))
    world.control("close")
    world.wait_for(UploadSealed)
    assert world.announced()[b"a.dat"] == second


@pytest.mark.fault("F11")
def test_a_file_whose_bytes_changed_behind_its_time_is_found_when_transfer_says_so(world):
    """Same size, same time, other bytes: the failure has the file read again, and the new bytes are announced."""
    path = world.write("a.dat", b"AAAA")
    before = path.stat()
    world.start()
    world.request("sync")
    first = world.wait_announced("a.dat")[b"a.dat"]
    with path.open("r+b") as file:
        file.write(b"BBBB")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    world.wait_until(lambda: world.states() == {"announced": 1})
    world.fail(first, "source-changed")
    world.wait_until(lambda: world.announced()[b"a.dat"].sha256 == sha256(b"BBBB"), "the bytes as they are")


@pytest.mark.fault("F13")
def test_a_file_deleted_before_it_is_stored_ends_as_gone(world):
    """The failure is looked into; the file is really away, so it goes on the record and off the seal."""
    path = world.write("a.dat")
    world.write("b.dat")
    world.start()
    world.request()
    files = world.wait_announced("a.dat", "b.dat")
    first = world.wait_for(UploadSealed)[0]
    assert first.files == 2
    path.unlink()
    world.fail(files[b"a.dat"], "source-gone")
    second = world.wait_for(UploadSealed, 2)[1]
    assert (second.files, second.left_out) == (1, 1)
    assert world.left_out() == {b"a.dat": "gone"}
    assert world.states() == {"gone": 1, "announced": 1}


def sealed(world, content: bytes):
    """Return the manifest of an upload that is one file with this content."""
    world.control("close")
    seal = world.wait_for(UploadSealed)[-1]
    assert (seal.files, seal.bytes, seal.left_out) == (1, len(content), 0)
    return seal.manifest_sha256 == manifest_digest([(b"a.dat", sha256(content))])


def test_what_is_stored_counts_when_the_version_after_it_is_gone(world):
    """The storage and the catalogue have the first version, so the manifest must have it as well."""
    path = world.write("a.dat", b"one")
    world.start()
    world.request("sync")
    first = world.wait_announced("a.dat")[b"a.dat"]
    world.store(first)
    world.catalogue(first)
    path.write_bytes(b"second")
    world.wait_until(lambda: world.announced()[b"a.dat"].sha256 == sha256(b"second"), "the second version")
    path.unlink()
    world.fail(world.announced()[b"a.dat"], "source-gone")
    world.wait_until(lambda: world.left_out() == {b"a.dat": "gone"})
    assert sealed(world, b"one")


@pytest.mark.parametrize("late", [False, True], ids=["before it is gone", "after it is gone"])
def test_a_receipt_for_an_older_version_counts_when_the_newer_one_is_gone(world, late: bool):
    """The first version was on its way when the second one was announced; its receipt comes early or late."""
    path = world.write("a.dat", b"one")
    world.start()
    world.request("sync")
    first = world.wait_announced("a.dat")[b"a.dat"]
    path.write_bytes(b"second")
    world.wait_until(lambda: world.announced()[b"a.dat"].sha256 == sha256(b"second"), "the second version")
    path.unlink()
    receipts = [lambda: world.store(first), lambda: world.fail(world.announced()[b"a.dat"], "source-gone")]
    for receipt in reversed(receipts) if late else receipts:
        receipt()
    world.wait_until(lambda: world.states() == {"catalogued": 1})
    assert sealed(world, b"one")


@pytest.mark.fault("F13")
def test_a_file_that_is_still_there_is_announced_again_when_transfer_calls_it_gone(world):
    """What one machine does not see may be a matter of its mount."""
    world.write("a.dat")
    world.start()
    world.request()
    file = world.wait_announced("a.dat")[b"a.dat"]
    world.fail(file, "source-gone")
    world.wait_for(FileReady, 2)
    assert world.announced()[b"a.dat"] == file


@pytest.mark.fault("F10")
def test_a_sealed_upload_announces_what_transfer_found_changed_and_seals_again(world):
    """After the seal nothing is looked for, but what a receipt names is looked into."""
    path = world.write("a.dat", b"one")
    world.start()
    world.request()
    file = world.wait_announced("a.dat")[b"a.dat"]
    first = world.wait_for(UploadSealed)[0]
    path.write_bytes(b"other")
    world.fail(file, "source-changed")
    second = world.wait_for(UploadSealed, 2)[1]
    assert second.manifest_sha256 != first.manifest_sha256
    assert second.bytes == 5


@pytest.mark.posix  # events of closing
def test_a_file_that_was_written_and_closed_waits_for_a_quarter_of_the_period(world):
    """Its writer is done, and the system says so; the whole period is for those of whom nobody says it."""
    world.start()
    world.request("sync", quiet_period_s=8)
    world.wait_until(lambda: world.watcher.status.entries == 0 and world.upload_state() == "open")
    world.write("first.dat")
    world.wait_announced("first.dat", within_s=30)
    began = time.monotonic()
    world.write("second.dat")
    world.wait_announced("first.dat", "second.dat")
    assert time.monotonic() - began < 6


@pytest.mark.posix  # events of closing
def test_a_file_that_was_seen_while_it_was_written_waits_no_longer_once_it_is_closed(world):
    """The close comes before the look that finds its last bytes: that look begins no whole period anew."""
    world.start()
    world.request("sync", quiet_period_s=8)
    world.wait_until(lambda: world.watcher.status.entries == 0 and world.upload_state() == "open")
    world.write("first.dat")
    world.wait_announced("first.dat", within_s=30)  # its folder is watched from now on
    world.forget()
    with (world.root / "second.dat").open("wb", buffering=0) as file:
        file.write(b"half")
        world.wait_until(lambda: any(said.settling for said in world.events(UploadScanned)), "it was seen half")
        file.write(b" and half")
        began = time.monotonic()
    world.wait_announced("second.dat")
    assert time.monotonic() - began < 6


def catalogued(world, content: bytes, **request: object):
    """Bring a sync upload of one file to where its only version is in the catalogue; return path and version."""
    path = world.write("a.dat", content)
    world.start()
    world.request("sync", **request)
    version = world.wait_announced("a.dat")[b"a.dat"]
    world.store(version)
    world.catalogue(version)
    world.wait_until(lambda: world.states() == {"catalogued": 1})
    return path, version


def write_behind_the_time(path, content: bytes) -> None:
    """Write in place and put the modification time back, as `cp -p`, `touch -r` and `rsync --times --inplace` do."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.posix  # the time of change
@pytest.mark.fault("F48")
@pytest.mark.parametrize("poll", [True, False], ids=["by scanning", "by events"])
def test_bytes_that_changed_behind_size_and_time_are_a_new_version_although_the_old_one_is_stored(world, poll):
    """Nobody can put back the time of the last change; without events it alone tells."""
    world.settings |= {"poll": poll, "poll_interval_s": 0.2}
    path, first = catalogued(world, b"AAAA")
    write_behind_the_time(path, b"BBBB")
    world.wait_until(lambda: world.announced()[b"a.dat"].sha256 == sha256(b"BBBB"), "the bytes as they are")
    assert world.announced()[b"a.dat"].revision > first.revision


@pytest.mark.posix  # leases: on Windows what is open is not read
@pytest.mark.fault("F48")
def test_a_write_through_a_memory_map_is_a_new_version_although_no_stamp_shows_it(world):
    """The pages were dirty already, so the system notes no time; the map was open when the file was read."""
    path = world.write("a.dat", bytes(8192))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[0:4] = b"AAAA"
        world.start(seal_patience_s=30)
        world.request("sync")
        first = world.wait_announced("a.dat")[b"a.dat"]
        world.store(first)
        world.catalogue(first)
        world.wait_until(lambda: world.states() == {"catalogued": 1})
        before = path.stat()
        view[0:4] = b"BBBB"
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        now = bytes(view)
    world.wait_until(lambda: world.announced()[b"a.dat"].sha256 == sha256(now), "the bytes as they are")


@pytest.mark.posix  # the time of change
@pytest.mark.fault("F48")
def test_a_file_that_is_only_touched_by_others_is_read_again_and_stays_the_same_version(world):
    """A change of its permissions is no new version; the ledger knows the file as it is afterwards."""
    path, first = catalogued(world, b"AAAA")
    path.chmod(0o600)

    def known() -> bool:
        with world.watcher.store.reading() as db:
            return bool(db.execute("SELECT ctime_ns = ? FROM files", (path.stat().st_ctime_ns,)).fetchone()[0])

    world.wait_until(known, "the new time of change in the ledger")
    assert world.announced()[b"a.dat"] == first
    assert world.files_announced == 1
    assert world.states() == {"catalogued": 1}


@pytest.mark.fault("F48")
def test_an_event_has_a_stored_file_read_again_even_if_a_look_says_nothing(world, monkeypatch):
    """On a drive that keeps no time of change, an event is all there is."""
    monkeypatch.setattr("datauploader_watcher.discovery.scanner.changed_ns", lambda _: 0)
    monkeypatch.setattr("datauploader_watcher.adapters.disk.changed_ns", lambda _: 0)
    world.settings |= {"scan_interval_s": 3600.0}
    path, first = catalogued(world, b"AAAA")
    write_behind_the_time(path, b"BBBB")
    world.wait_until(lambda: world.announced()[b"a.dat"].sha256 == sha256(b"BBBB"), "the bytes as they are")
    assert world.announced()[b"a.dat"].revision > first.revision


@pytest.mark.posix  # the time of change
@pytest.mark.fault("F48")
def test_a_ledger_of_an_older_release_learns_the_times_of_change_without_reading_anything(world, monkeypatch):
    """After an upgrade nothing is read again; from the first scan on a change is seen."""
    world.settings |= {"poll": True, "poll_interval_s": 0.2}
    path, first = catalogued(world, b"AAAA")
    with world.watcher.store.transaction() as db:
        db.execute("UPDATE files SET ctime_ns = 0")
    world.stop()
    read: list[int] = []
    monkeypatch.setattr("datauploader_watcher.adapters.hashing.has_writer", read.append)
    world.start()

    def learned() -> int:
        with world.watcher.store.reading() as db:
            return int(db.execute("SELECT ctime_ns FROM files").fetchone()[0])

    world.wait_until(lambda: learned() == path.stat().st_ctime_ns)
    assert not read
    write_behind_the_time(path, b"BBBB")
    world.wait_until(lambda: world.announced()[b"a.dat"].revision > first.revision)
