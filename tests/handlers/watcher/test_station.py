"""What the station says of itself and answers: reports, checks, folders."""

import os

import pytest

from datauploader.contracts import StationReported, UploadRequested
from datauploader.contracts.questions import Folder, ListFolder
from datauploader.errors import QuestionRefused

from .conftest import HERE


def ask(world, path: str, **fields) -> Folder:
    """Ask the watcher what lies in a folder."""
    return world.outside.ask(ListFolder(path=path, **fields), Folder, station=HERE).result(60)


def test_the_station_reports_from_start_to_stop(world):
    """Starting, well, stopping; with its roots and what is pending."""
    world.write("a.dat", b"12345")
    world.start()
    world.request("sync")
    world.wait_announced("a.dat")
    world.wait_until(lambda: any(e.backlog_files == 1 for e in world.events(StationReported)))
    report = next(e for e in world.events(StationReported) if e.backlog_files == 1)
    assert report.state == "ok"
    assert report.backlog_bytes == 5
    assert report.uploads_open == 1
    assert report.scanned_entries >= 1
    assert report.roots[0].path == str(world.root)
    assert report.roots[0].present
    assert report.roots[0].free_bytes
    world.stop()
    states = [event.state for event in world.events(StationReported) if event.version]
    assert states[0] == "starting"
    assert states[-1] == "stopping"


def reports(world, sentence: str) -> int:
    """Count the reports that say so."""
    return sum(sentence in report.troubles for report in world.events(StationReported))


@pytest.mark.fault("F55")
def test_a_second_computer_of_the_same_name_answers_nothing_goes_by_no_rule_and_says_whom_it_met(world):
    """It takes up its work when the name is its own."""
    rule = {
        "name": "xrd1", "pattern": f"{world.root}/{{investigation}}/{{dataset}}/**", "remote": "store",
        "quiet_period_s": 0.1,
    }  # fmt: skip
    watcher = world.start(rules=[rule])
    watcher.claim.ownership.lost("pc-b")
    sentence = next(check.detail for check in watcher.checks() if not check.ok)
    assert sentence.startswith(f"Two computers use the station name {HERE.key}: ")
    assert "pc-b. Give one of them another station name" in sentence
    world.wait_until(lambda: reports(world, sentence), "the report says so")
    world.write("20260101/run1/a.dat")
    heard = reports(world, sentence)
    world.wait_until(lambda: reports(world, sentence) > heard + 2, "rules had their time")
    with pytest.raises(QuestionRefused) as refused:
        ask(world, "")
    assert refused.value.code == "two-computers"
    assert not world.events(UploadRequested)
    watcher.claim.ownership.held()
    world.wait_for(UploadRequested)
    assert ask(world, "").total
    assert all(check.ok for check in watcher.checks())


def test_the_checks_name_what_is_missing(world, tmp_path):
    """A root that is not there, in words."""
    watcher = world.start(roots=(world.root, tmp_path / "unplugged"))
    checks = {check.name: check for check in watcher.checks()}
    assert not checks["roots"].ok
    assert "unplugged" in checks["roots"].detail
    assert checks["outbox"].ok
    assert checks["state-disk"].ok


@pytest.mark.posix  # names of any bytes
def test_folders_are_listed_below_the_roots_and_nowhere_else(world, tmp_path):
    """Folders first, in order of their names; a link is shown and not followed."""
    world.write("b.dat", b"123")
    world.write("sub/c.dat")
    world.write(b"\xff.dat")
    (world.root / "link").symlink_to(tmp_path)
    os.mkfifo(world.root / "pipe")
    world.start()
    assert [entry.name for entry in ask(world, "").entries] == [str(world.root)]
    folder = ask(world, str(world.root))
    assert [(e.name, e.kind) for e in folder.entries] == [
        ("sub", "folder"), ("b.dat", "file"), ("link", "link"), ("pipe", "special"), ("\ufffd.dat", "file"),
    ]  # fmt: skip
    assert folder.entries[1].size == 3
    for path in ("/etc", "/a\0b", str(tmp_path), str(world.root / ".."), str(world.root / "link")):
        with pytest.raises(QuestionRefused):
            ask(world, path)


@pytest.mark.campaign
def test_a_folder_of_100_000_entries_is_read_page_by_page(world):
    """A page is answered in time however many there are."""
    place = world.root / "many"
    place.mkdir()
    for number in range(100_000):
        os.mknod(place / f"{number:06}")
    world.start()
    page = ask(world, str(place), offset=99_990, limit=100)
    assert page.total == 100_000
    assert [entry.name for entry in page.entries] == [f"{number:06}" for number in range(99_990, 100_000)]


def test_a_folder_that_is_gone_is_told_in_words(world):
    """No error, a sentence."""
    world.start()
    folder = ask(world, str(world.root / "gone"))
    assert not folder.readable
    assert folder.detail


def test_names_are_found_among_many_and_folders_tell_how_full_they_are(world):
    """Part of a name in any case; counts of the folders on the page alone, and only where they are asked for."""
    for name in ("Scan_1/a", "Scan_1/b", "scan_2/a", "other/a", "scan.dat"):
        world.write(name)
    world.start()
    found = ask(world, str(world.root), contains="SCAN", counts=True)
    assert [(e.name, e.kind, e.entries) for e in found.entries] == [
        ("Scan_1", "folder", 2), ("scan_2", "folder", 1), ("scan.dat", "file", None),
    ]  # fmt: skip
    assert found.total == 3
    assert ask(world, str(world.root), contains="SCAN", offset=1, limit=1).entries[0].name == "scan_2"
    assert ask(world, str(world.root)).entries[0].entries is None


@pytest.mark.posix  # devices
def test_a_large_folder_that_is_remembered_is_read_anew_when_it_changes(world):
    """A page never shows what was there before the last change."""
    place = world.root / "many"
    place.mkdir()
    for number in range(5001):
        os.mknod(place / f"{number:06}")
    world.start()
    assert ask(world, str(place), limit=1).total == 5001
    assert ask(world, str(place), offset=5000, limit=10).entries[0].name == "005000"
    (place / "new").touch()
    assert ask(world, str(place), contains="new").total == 1
