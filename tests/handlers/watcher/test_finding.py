"""Everything is found, whatever events say: bursts, new folders, names of any bytes, files made while stopped."""

import os
import socket
import subprocess
import sys
import time
from contextlib import chdir

import pytest

from datauploader.contracts import FileReady, UploadScanned, UploadSealed

DETECTOR = """
import sys
from pathlib import Path
for folder in range(200):
    place = Path(sys.argv[1]) / f"scan{folder // 20:02}" / f"part{folder % 20:02}"
    place.mkdir(parents=True)
    for number in range(100):
        (place / f"frame{number:04}.tif").write_bytes(b"%d" % number)
"""


@pytest.mark.campaign
@pytest.mark.fault("F1", "F4")
def test_a_burst_into_new_folders_is_found_to_the_last_file(world):
    """20,000 files written into new folders while events are being lost."""
    world.start(scan_interval_s=60)
    world.request("sync")
    subprocess.run([sys.executable, "-c", DETECTOR, str(world.root)], check=True)
    world.wait_until(lambda: world.files_announced >= 20_000, "20,000 files", within_s=30)
    assert len(world.announced()) == 20_000


@pytest.mark.fault("F6")
def test_without_any_events_the_timer_finds_everything(world):
    """Polling alone sees what is written."""
    world.start(poll=True, poll_interval_s=0.2, scan_interval_s=60)
    world.request("sync")
    world.write("deep/er/late.dat")
    world.wait_announced("deep/er/late.dat")


@pytest.mark.fault("F4")
def test_new_nested_folders_are_found_at_once(world):
    """Three levels made in a row, long before the next scan."""
    world.start(scan_interval_s=60)
    world.request("sync")
    names = [f"s{i:03}/b/c/f{n}" for i in range(60) for n in range(3)]
    for name in names:
        world.write(name)
    world.wait_announced(*names)


@pytest.mark.posix  # inotify
@pytest.mark.fault("F4")
def test_what_appears_in_a_new_folder_before_it_is_watched_is_found(world, tmp_path, monkeypatch):
    """The system tells of the new folder, and watches others in its place: it is looked at again, as is its parent."""
    from watchdog.observers import inotify_c

    add, blind = inotify_c.inotify_add_watch, iter(range(9))

    def misled(descriptor, path, mask):
        if b"new" in path.removeprefix(os.fsencode(world.root)):  # the folder of the test has it in its name
            elsewhere = tmp_path / f"elsewhere{next(blind)}"
            elsewhere.mkdir()
            path = os.fsencode(elsewhere)
        return add(descriptor, path, mask)

    monkeypatch.setattr(inotify_c, "inotify_add_watch", misled)
    world.start(scan_interval_s=60, poll_interval_s=60)
    world.request("sync", quiet_period_s=0.2)
    world.wait_until(lambda: world.upload_state() == "open")
    for number, name in enumerate(("new/one.dat", "new/two.dat", "new/newer/three.dat", "new/newer/four.dat"), 1):
        world.write(name)
        world.wait_until(
            lambda seen=number: [one.files for one in world.events(UploadScanned)][-1:] == [seen], f"{name} is seen"
        )
    world.wait_announced("new/one.dat", "new/two.dat", "new/newer/three.dat", "new/newer/four.dat")


@pytest.mark.fault("F3")
def test_files_made_while_the_watcher_was_stopped_are_announced_once(world):
    """The start scans; what is known is not announced again."""
    world.write("a.dat")
    world.start()
    world.request("sync")
    world.wait_announced("a.dat")
    world.stop()
    for number in range(100):
        world.write(f"while-down/{number}.dat")
    world.start()
    world.wait_announced("a.dat", *(f"while-down/{number}.dat" for number in range(100)))
    assert sum(len(event.files) for event in world.events(FileReady)) == 101


@pytest.mark.posix  # names of any bytes
@pytest.mark.fault("F14", "F15")
def test_names_of_any_bytes_survive(world):
    """Newlines, bytes that are no UTF-8, option-like names, patterns, 255 bytes, twins in case and composition."""
    names = [
        b"new\nline", b"latin-\xff\xfe", b"-rf", b"*[]{}?", b" spaces ", b"x" * 255, b"UP", b"up",
        "é".encode(), "e\u0301".encode(), b"tab\there", b"back\\slash", b"quote'\"", b"sub-\xff/deep-\xfe",
        "\u202egnp.exe".encode(), b"\x1b[31mred", b"<script>",
    ]  # fmt: skip
    for name in names:
        world.write(name, name)
    world.start()
    world.request()
    announced = world.wait_announced(*names)
    assert all(file.size == len(name) for name, file in announced.items())
    assert world.wait_for(UploadSealed)[0].files == len(names)
    world.store(*announced.values())
    world.catalogue(*announced.values())
    world.wait_until(lambda: world.states() == {"catalogued": len(names)})


@pytest.mark.posix  # pipes
@pytest.mark.attack("S20", "S21")
def test_links_pipes_and_sockets_are_skipped_with_a_record(world, tmp_path):
    """Nothing outside the root is read, nothing blocks, and every omission has its reason."""
    outside = tmp_path / "secret"
    outside.mkdir()
    (outside / "key").write_bytes(b"secret")
    world.write("real.dat")
    (world.root / "inside").symlink_to(world.root / "real.dat")
    (world.root / "outside").symlink_to(outside / "key")
    (world.root / "outside-folder").symlink_to(outside)
    (world.root / "dangling").symlink_to(world.root / "nothing")
    os.mkfifo(world.root / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        with chdir(world.root):
            made.bind("socket")  # the address of a socket has room for 107 bytes
        world.start()
        world.request()
        world.wait_announced("real.dat")
        seal = world.wait_for(UploadSealed)[0]
    assert world.left_out() == {
        b"inside": "symlink",
        b"outside": "symlink-outside",
        b"outside-folder": "symlink-outside",
        b"dangling": "symlink-outside",
        b"pipe": "special-file",
        b"socket": "special-file",
    }
    assert (seal.files, seal.left_out) == (1, 6)


def test_patterns_choose_and_every_omission_is_on_the_record_once(world):
    """Include, exclude, whole folders, and the names that are never uploaded."""
    for name in ("a.h5", "b.log", "raw/c.h5", "raw/d.txt", "cache/e.h5", "raw/Thumbs.db", ".x.tmp"):
        world.write(name)
    world.start()
    world.request("sync", include=("*.h5", "*.log"), exclude=("cache/", "b.*"))
    world.wait_announced("a.h5", "raw/c.h5")
    world.wait_until(lambda: len(world.left_out()) == 5, "five records")
    assert world.left_out() == {
        b"b.log": "excluded",
        b"cache": "excluded",
        b"raw/d.txt": "not-included",
        b"raw/Thumbs.db": "excluded",
        b".x.tmp": "excluded",
    }
    world.control("close")
    world.wait_for(UploadSealed)
    assert len(world.left_out()) == 5


def test_sources_limit_what_is_uploaded(world):
    """Chosen files and folders, and nothing beside them."""
    for name in ("a.dat", "b.dat", "one/c.dat", "two/d.dat"):
        world.write(name)
    world.start()
    world.request(sources=("a.dat", "one"))
    world.wait_announced("a.dat", "one/c.dat")
    assert world.wait_for(UploadSealed)[0].files == 2


@pytest.mark.posix  # a backslash separates names on Windows
def test_a_chosen_file_may_begin_and_end_with_a_backslash(world):
    """It is found by its whole name."""
    world.write("\\odd\\")
    world.start()
    world.request(sources=("\\odd\\",))
    world.wait_announced("\\odd\\")
    assert world.wait_for(UploadSealed)[0].files == 1


def test_an_omission_that_goes_away_is_taken_back(world):
    """A left-out file that is removed is no longer counted."""
    made = world.write("note.txt")
    world.write("a.h5")
    world.start()
    world.request("sync", include=("*.h5",))
    world.wait_until(lambda: world.left_out() == {b"note.txt": "not-included"})
    made.unlink()
    world.wait_until(lambda: not world.left_out(), "the record is taken back")
    world.control("close")
    assert world.wait_for(UploadSealed)[0].left_out == 0


def asked(world) -> str:
    """Return what the latest count asks a person."""
    return world.events(UploadScanned)[-1].question if world.events(UploadScanned) else None


@pytest.mark.fault("F55")
def test_a_batch_without_any_file_is_a_question_and_no_dataset(world):
    """The folder may be the wrong one, or its drive not mounted; who closes the upload has an empty dataset."""
    world.start()
    world.request()
    world.wait_until(lambda: asked(world), "a person is asked")
    assert asked(world).startswith(f"There are no files in {world.root}. Mount the drive")
    world.stop()
    world.start()
    assert not world.events(UploadSealed)
    world.control("close")
    assert world.wait_for(UploadSealed)[0].files == 0


@pytest.mark.fault("F55")
def test_a_batch_whose_files_come_late_is_uploaded_without_another_word(world):
    """The drive was mounted, or the instrument had not begun: nothing is asked any more."""
    world.start()
    world.request()
    world.wait_until(lambda: asked(world), "a person is asked")
    world.write("a.dat")
    assert world.wait_for(UploadSealed)[0].files == 1
    assert asked(world) is None


@pytest.mark.fault("F55")
def test_a_batch_of_which_everything_is_left_out_says_so(world):
    """A pattern that leaves nothing is a mistake oftener than a wish."""
    world.write("a.dat")
    world.start()
    world.request(exclude=("*.dat",))
    world.wait_until(lambda: asked(world), "a person is asked")
    assert "everything in it is left out (1)" in asked(world)
    assert not world.events(UploadSealed)


def test_other_files_beside_a_chosen_one_are_left_alone_whatever_events_say(world):
    """A file was chosen, not its folder."""
    world.write("chosen.dat", b"one")
    world.start()
    world.request("sync", sources=("chosen.dat",))
    world.wait_announced("chosen.dat")
    world.write("other.dat")
    world.write("chosen.dat", b"two, longer")
    world.wait_until(lambda: world.announced()[b"chosen.dat"].size == 11)
    world.control("close")
    assert world.wait_for(UploadSealed)[0].files == 1
    assert set(world.announced()) == {b"chosen.dat"}


def test_what_is_found_is_announced_with_how_long_ago_it_was_first_seen(world):
    """Each file by itself, since it was as it is now: at least its quiet period, and since the watcher has started."""
    started = time.monotonic()
    world.start()
    world.request("sync", quiet_period_s=0.3)
    for number in range(20):
        world.write(f"f{number}")
    world.wait_announced(*(f"f{number}" for number in range(20)))
    for data in world.events(FileReady):
        assert data.seen_ms is not None
        assert len(data.seen_ms) == len(data.files)
        assert all(0 < ms <= (time.monotonic() - started) * 1000 for ms in data.seen_ms)


def test_what_is_announced_again_does_not_say_when_it_was_seen(world):
    """A reminder is no time of the file's."""
    world.start(receipt_patience_s=0.3)
    world.request("sync")
    world.write("a")
    first, *_, last = world.wait_for(FileReady, 2)
    assert first.seen_ms is not None
    assert last.seen_ms is None
