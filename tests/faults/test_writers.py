"""Writers that are slow, come back, rename, delete, or lie about the time, while their files are uploaded."""

import hashlib
import os
import threading

import pytest

from datauploader_sandbox.detector import Detector, Plan

from .conftest import clock_changer

BLOCK = 64 * 1024


def sha256(content: bytes) -> str:
    """Return the digest of a version."""
    return hashlib.sha256(content).hexdigest()


@pytest.mark.fault("F9")
@pytest.mark.campaign
def test_a_writer_that_rests_longer_than_the_quiet_period_ends_with_its_last_version(case, scribe) -> None:
    """A block every second, beside a quiet period of half a second: what was uploaded too early is superseded."""
    run = case()
    pen = scribe(run)
    upload = run.request(quiet_period_s=0.5)
    path, pause = run.facility.watched / "slow.h5", threading.Event()
    with path.open("wb", buffering=0) as file:
        for number in range(8):
            file.write(bytes([number]) * BLOCK)
            pen.wrote(path, resting=True)
            pause.wait(1.0)
    pen.wrote(path)
    run.heal()
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F10", "F11", "F12", "F13")
def test_files_that_change_between_announcement_and_upload_end_as_they_are_and_never_verified_as_they_were(
    case, scribe
) -> None:
    """The transfer stands still meanwhile: an append, a hidden write, two renames and a deletion come before it."""
    run = case()
    pen = scribe(run)
    watched = run.facility.watched
    upload = run.request()
    pen.write_many(["first.dat"])
    run.until_catalogued(upload, 1)
    run.services.pause("transfer")
    before = {
        "appended.log": b"line 1\n", "edited.h5": b"A" * BLOCK, "frame_1.new": b"frame", "deleted.dat": b"gone",
        **{f"scan/{number}.tif": b"frame %d" % number for number in range(20)},
    }  # fmt: skip
    (watched / "scan").mkdir()
    for name, content in before.items():
        (watched / name).write_bytes(content)
    run.until(upload, lambda status: status.counts.ready.files == len(before) + 1, "all are announced")

    with (watched / "appended.log").open("ab") as file:
        file.write(b"line 2\n")
    edited = watched / "edited.h5"
    seen = edited.stat()
    with edited.open("r+b") as file:
        file.write(b"B" * BLOCK)
    os.utime(edited, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    (watched / "frame_1.new").replace(watched / "frame_1.cbf")
    (watched / "deleted.dat").unlink()
    (watched / "scan").rename(watched / "scan_0001")
    for path in (watched / "appended.log", edited, watched / "frame_1.cbf", *(watched / "scan_0001").iterdir()):
        pen.wrote(path)

    run.services.resume("transfer")
    run.heal()
    (status,) = run.recover(upload)
    assert status.counts.catalogued.files == 1 + 3 + 20
    names = {"deleted.dat", "frame_1.new", *(f"scan/{number}.tif" for number in range(20))}
    assert run.left_out(upload) == dict.fromkeys(names, "gone")
    old = {sha256(before["appended.log"]), sha256(before["edited.h5"]), sha256(before["deleted.dat"])}
    assert not [claim for claim in run.claims if claim.sha256 in old]


@pytest.mark.fault("F10", "F11")
@pytest.mark.campaign
def test_a_large_file_that_is_written_to_while_it_is_copied_ends_as_it_is_last(case, scribe) -> None:
    """Each time that it is announced it changes again, by an append or in place behind its time."""
    run = case()
    pen = scribe(run)
    path = run.facility.watched / "large.h5"
    upload = run.request(quiet_period_s=0.3)
    path.write_bytes(os.urandom(200 * 1024 * 1024))
    for number in range(6):
        pen.wrote(path, resting=True)
        run.until(upload, lambda s, n=number: s.counts.ready.files and len(run.claims) + 1 >= n // 2, "it is announced")
        seen = path.stat()
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_SET if number % 2 else os.SEEK_END)
            file.write(os.urandom(BLOCK))
        if number % 2:
            os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    path.write_bytes(path.read_bytes() + b"end")
    pen.wrote(path)
    run.heal()
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F14", "F15")
def test_hostile_names_and_twins_arrive_byte_for_byte(case) -> None:
    """Newlines, bytes that are no text, options, patterns, 255 bytes; twins by case and by composition."""
    run = case()
    upload = run.request()
    with Detector(run.facility.watched, run.ledger, Plan(mode="hostile")) as detector:
        detector.finish(30)
    run.heal()
    run.recover(upload)


@pytest.mark.fault("F17")
@pytest.mark.campaign
def test_a_clock_that_jumps_by_an_hour_finishes_no_file_early_and_loses_none(case, scribe, tmp_path) -> None:
    """The station's calendar goes forth and back while a file is written and others are on their way."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    changed = clock_changer(clock)
    run = case(before={"watcher": changed, "transfer": changed})
    pen = scribe(run)
    upload = run.request(quiet_period_s=1.0)
    path, pause = run.facility.watched / "slow.log", threading.Event()
    with path.open("wb", buffering=0) as file:
        for number in range(30):
            file.write(b"line %d\n" % number)
            clock.write_text({8: "+3600", 16: "-3600", 24: "+0"}.get(number, clock.read_text()))
            pen.write_many(f"{number}/{other}.dat" for other in range(5))
            pause.wait(0.3)
    pen.wrote(path)
    run.heal()
    run.recover(upload)
    assert len([claim for claim in run.claims if claim.path == b"slow.log"]) == 1, "it was finished early"
