"""A folder is swapped for a link that leads out, between two steps of the services or while one is down."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from datauploader_testing.waiting import eventually

from .test_cut_off import rclone_of

MINE = b"what the instrument wrote"
SECRET = b"what administrators know.".ljust(len(MINE))


def swap(place: Path, outside: Path) -> None:
    """Rename a folder away, and put a link in its place to one outside, where each file has a twin that is secret."""
    for file in (path for path in place.rglob("*") if path.is_file()):
        twin = outside / file.relative_to(place)
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_bytes(SECRET)
        os.utime(twin, ns=(file.stat().st_mtime_ns, file.stat().st_mtime_ns))
    (outside / "secret.txt").write_bytes(SECRET)
    place.rename(place.with_name("away"))
    place.symlink_to(outside)


def put_back(place: Path) -> None:
    """Undo a swap."""
    place.unlink()
    place.with_name("away").rename(place)


def given_away(run) -> list[Path]:
    """Return the objects on the storage that hold the secret."""
    return [path for path in run.facility.storage.rglob("*") if path.is_file() and SECRET in path.read_bytes()]


def moving(run) -> int:
    """Count the files that transfer has in its hands."""
    (state,) = run.facility.folder.rglob("transfer.sqlite")
    with closing(sqlite3.connect(state)) as db:
        return int(db.execute("SELECT count(*) FROM jobs WHERE state = 'moving'").fetchone()[0])


@pytest.mark.campaign
@pytest.mark.fault("F51")
def test_a_root_that_is_swapped_while_the_watcher_is_down_gives_nothing_away(case, scribe, tmp_path) -> None:
    """The upload says what is wrong; when the folder is back it goes on and becomes complete."""
    run = case()
    root = run.facility.watched / "run1"
    pen = scribe(run, root)
    pen.write("first.dat", MINE)
    upload = run.request(path=str(root.resolve()))
    run.until_catalogued(upload, 1)
    run.services.kill("watcher")
    swap(root, tmp_path / "outside")
    run.services.start("watcher")
    run.until(upload, lambda status: "links are not followed" in str(status), "it is told")
    put_back(root)
    pen.write("second.dat", b"afterwards")
    run.heal()
    (status,) = run.recover(upload)
    assert status.counts.catalogued.files == 2
    assert not given_away(run)


@pytest.mark.campaign
@pytest.mark.fault("F51")
def test_a_folder_that_is_swapped_before_rclone_opens_it_gives_nothing_away_even_with_a_kill(
    case, scribe, tmp_path
) -> None:
    """It is held after transfer has looked at the file; transfer is killed as soon as anything arrives, or fails."""
    run = case()
    pen = scribe(run)
    pen.write("first.dat", b"first")
    upload = run.request()
    run.until_catalogued(upload, 1)
    before = run.stored()
    rclone = rclone_of(run)
    os.kill(rclone, signal.SIGSTOP)
    pen.write("scan/frame.dat", MINE)
    eventually(lambda: moving(run), within_s=30, what="transfer has taken the file")
    swap(run.facility.watched / "scan", tmp_path / "outside")
    os.kill(rclone, signal.SIGCONT)
    eventually(lambda: run.stored() > before or not moving(run), within_s=30, every_s=0.001, what="an end of the copy")
    run.services.kill("transfer")
    assert not given_away(run)
    run.services.start("transfer")
    put_back(run.facility.watched / "scan")
    run.heal()
    run.facility.wait()
    (status,) = run.recover(upload)
    assert status.counts.catalogued.files == 2
    assert not given_away(run)
