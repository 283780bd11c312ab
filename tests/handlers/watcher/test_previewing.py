"""The dry run: it counts what the upload's scan would find, within its bounds, and leaves no trace."""

import os
import threading
import time

import pytest

from datauploader.contracts import DatasetSpec, FileLeftOut, UploadRequested
from datauploader.contracts.previews import HeldObject, Preview
from datauploader.contracts.questions import PreviewUpload
from datauploader.errors import QuestionRefused
from datauploader_watcher.adapters.disk import LocalDisk

from .conftest import ANNA, DESTINATION, HERE, UPLOAD


def wish(world, **fields) -> UploadRequested:
    """Return a request for an upload of the root, as the gateway would make it."""
    asked = {
        "upload_id": "u-preview", "investigation": "20260101", "dataset": DatasetSpec(name="run1"),
        "root": str(world.root), "mode": "batch", "destination": DESTINATION, "requested_by": ANNA,
    }  # fmt: skip
    return UploadRequested(**{**asked, **fields})


def preview(world, *, bounds=(200_000, 5.0), **fields) -> Preview:
    """Ask for a dry run."""
    question = PreviewUpload(request=wish(world, **fields), most_entries=bounds[0], within_s=bounds[1])
    return world.outside.ask(question, Preview, station=HERE, timeout_s=15).result(60)


def old(world, name, content: bytes = b"content") -> None:
    """Write a file that nobody has touched for an hour."""
    path = world.write(name, content)
    os.utime(path, (time.time() - 3600, time.time() - 3600))


@pytest.mark.posix  # pipes
def test_it_counts_what_would_go_and_what_would_not(world, tmp_path):
    """Files, bytes, first names, times; what stays out with its reason and some examples."""
    for number in range(5):
        old(world, f"scan/{number}.dat", b"12345")
        old(world, f"scan/{number}.log")
    old(world, "scan/~$open.docx")
    (world.root / "link").symlink_to(tmp_path)
    os.mkfifo(world.root / "pipe")
    world.start()
    found = preview(world, exclude=("*.log",))
    assert (found.files, found.bytes, found.partial, found.refused) == (5, 25, False, None)
    assert found.first == tuple(f"scan/{number}.dat" for number in range(5))
    groups = {(group.reason, group.count): group for group in found.left_out}
    assert groups["excluded", 5].examples == ("scan/0.log", "scan/1.log", "scan/2.log")
    assert "exclude pattern" in groups["excluded", 5].detail
    assert groups["excluded", 1].examples == ("scan/~$open.docx",)
    assert groups["symlink-outside", 1].examples == ("link",)
    assert groups["special-file", 1].examples == ("pipe",)
    assert abs(found.newest_mtime_ns / 1e9 - (time.time() - 3600)) < 60


@pytest.mark.fault("F47")
def test_what_is_in_an_earlier_dataset_is_left_out_of_the_dry_run_too(world):
    """As the upload itself would: what has not changed since stays out, with the dataset's name."""
    old(world, "a.dat")
    world.start()
    world.request()
    files = world.wait_announced("a.dat")
    world.catalogue(*files.values())
    world.wait_until(lambda: world.states() == {"catalogued": 1})
    old(world, "new.dat")
    found = preview(world, without=(UPLOAD,))
    assert (found.files, found.first) == (1, ("new.dat",))
    assert [(group.reason, group.examples) for group in found.left_out] == [("in-earlier-dataset", ("a.dat",))]
    old(world, "a.dat", b"written once more")
    assert preview(world, without=(UPLOAD,)).files == 2


@pytest.mark.posix  # names of any bytes
def test_it_names_the_files_that_meet_another_one_at_the_destination(world):
    """By the name that they would have there; the same size tells nothing yet, another one does."""
    for name in ("same.dat", "differs.dat", "free.dat", b"odd\xff.dat"):
        old(world, name)
    world.start()
    held = (("same.dat", 7), ("differs.dat", 8), (r"odd\xff.dat", 1), ("elsewhere/free.dat", 7))
    named = tuple(HeldObject(path=path, size=size) for path, size in held)
    found = world.outside.ask(PreviewUpload(request=wish(world), held=named), Preview, station=HERE).result(60)
    assert (found.differing, found.same_size) == (2, 1)
    assert sorted(found.differing_first) == ["differs.dat", "odd\N{REPLACEMENT CHARACTER}.dat"]


@pytest.mark.posix  # names of any bytes
def test_what_it_counts_is_what_the_upload_takes(world):
    """The same request, once asked and once done: the same files, the same left-outs; the question leaves no trace."""
    for name in ("a/1.dat", "a/2.tmp", "a/b/3.dat", "c/4.dat", "d/5.dat", b"a/\xff.dat"):
        old(world, name)
    world.start()
    asked = {"sources": ("a", "a/b/3.dat", "a/1.dat", "c", "c/4.dat"), "exclude": ("*.tmp",)}
    found = preview(world, **asked)
    assert world.states() == {}
    world.request(**asked)
    world.wait_announced("a/1.dat", "a/b/3.dat", "c/4.dat", b"a/\xff.dat")
    assert found.files == 4
    assert set(found.first) == {"a/1.dat", "a/b/3.dat", "c/4.dat", "a/\ufffd.dat"}
    world.wait_for(FileLeftOut)
    assert [(g.reason, g.count, g.examples) for g in found.left_out] == [("excluded", 1, ("a/2.tmp",))]
    assert world.left_out() == {b"a/2.tmp": "excluded"}


@pytest.mark.posix  # links, which Wine does not have
@pytest.mark.attack("S19", "S20")
def test_nothing_outside_the_roots_is_counted(world, tmp_path):
    """Whatever way the folder is named, and whatever the sources say: refused as the upload would be."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_bytes(b"secret")
    (world.root / "link").symlink_to(tmp_path / "secret")
    world.start()
    for root in ("/etc", str(tmp_path), str(world.root / ".."), str(world.root / "link"), "relative"):
        found = preview(world, root=root)
        assert (found.refused.reason, found.files) == ("outside-roots", 0), root
    for source in ("../secret", "link/file", "/etc/passwd"):
        assert preview(world, sources=(source,)).refused.reason == "source-outside", source
    assert preview(world, root="/a\0b").refused is not None


def test_what_the_station_would_reject_is_said_before(world):
    """A bad pattern, a storage that is not there, deleting where it is not allowed, a folder that is gone."""
    world.start()
    reasons = {
        "bad-pattern": {"exclude": ("# comment",)},
        "remote-unknown": {"destination": DESTINATION.model_copy(update={"remote": "tape"})},
        "delete-not-allowed": {"delete_after": True},
        "root-missing": {"root": str(world.root / "gone")},
        "source-missing": {"sources": ("gone",)},
    }
    for reason, fields in reasons.items():
        found = preview(world, **fields)
        assert found.refused.reason == reason
        assert found.refused.hint


@pytest.mark.posix  # time: Wine lists 5,000 files too slowly
@pytest.mark.attack("S24")
def test_it_stops_at_its_bounds_and_says_so(world):
    """A folder without end costs so many entries, or so many seconds."""
    for number in range(5000):
        old(world, f"many/{number:05}", b"")
    world.start()
    found = preview(world, bounds=(2000, 5.0))
    assert found.partial
    assert 2000 <= found.entries <= 3000
    assert found.files <= 3000
    assert preview(world, bounds=(200_000, 0.000_1)).partial
    whole = preview(world)
    assert (whole.files, whole.partial) == (5000, False)


@pytest.mark.attack("S24")
def test_a_station_that_counts_for_two_lets_a_third_wait_and_lists_folders_meanwhile(world):
    """Dry runs never take all of the station's answers."""
    hold, inside = threading.Event(), threading.Semaphore(0)

    class Holding(LocalDisk):
        def pages(self, path, only):
            inside.release()
            hold.wait(10)
            yield from super().pages(path, only)

    old(world, "a.dat")
    world.start(disks=Holding)
    asked = [PreviewUpload(request=wish(world), within_s=5.0) for _ in range(2)]
    running = [world.outside.ask(question, Preview, station=HERE, timeout_s=15) for question in asked]
    assert inside.acquire(timeout=5)
    assert inside.acquire(timeout=5)
    try:
        with pytest.raises(QuestionRefused, match="busy with other requests"):
            preview(world, bounds=(100, 0.2))
    finally:
        hold.set()
    assert [answer.result(60).files for answer in running] == [1, 1]


def test_files_that_may_still_be_written_are_named(world):
    """By their time of change; one from the far future says nothing."""
    old(world, "rested.dat")
    future = world.write("future.dat")
    os.utime(future, (time.time() + 86400, time.time() + 86400))
    world.start()
    world.write("now.dat")
    found = preview(world, quiet_period_s=60)
    assert (found.files, found.settling, found.settling_first) == (3, 1, ("now.dat",))


def test_an_open_upload_of_the_same_files_is_named_with_its_person(world):
    """As many files as both have in common, after the other's own patterns."""
    old(world, "a/1.dat")
    old(world, "a/2.log")
    old(world, "b/3.dat")
    world.start()
    world.request("sync", sources=("a",), exclude=("*.log",))
    found = preview(world)
    assert [(one.upload_id, one.requested_by, one.files) for one in found.overlaps] == [(UPLOAD, ANNA.id, 1)]
    inside = preview(world, root=str(world.root / "a"))
    assert [(one.files) for one in inside.overlaps] == [1]
    assert preview(world, root=str(world.root / "b")).overlaps == ()
    world.control("cancel")
    world.wait_until(lambda: not preview(world).overlaps)
