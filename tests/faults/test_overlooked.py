"""Files that no event tells of: lost in an overflow, made while nobody listened, in folders that nobody watches."""

import pytest

from datauploader_sandbox.drives import NetworkDrive
from datauploader_testing.waiting import eventually

FEW_WATCHES = 'echo 40 > /proc/sys/user/max_inotify_watches; exec "$@"'
SELDOM = {"watcher": {"scan_interval_s": 600.0}}
"""Nothing is found by the timer."""


@pytest.mark.fault("F1")
@pytest.mark.campaign
def test_events_that_overflow_while_the_watcher_is_frozen_cost_seconds_and_no_file(case, scribe) -> None:
    """20,000 files in watched folders, more events than the system keeps; found within 10 s, the loss is counted."""
    run = case(settings=SELDOM)
    pen = scribe(run)
    upload = run.request()
    pen.write_many(f"{folder:02}/first.dat" for folder in range(40))
    run.until_catalogued(upload, 40)
    run.services.pause("watcher")
    pen.write_many(f"{number % 40:02}/{number:05}.dat" for number in range(20_000))
    run.services.resume("watcher")
    run.heal()
    run.until(upload, lambda status: status.counts.found.files == 20_040, "all files are found", within_s=10)
    run.recover(upload)
    assert "events_lost" in run.services.log("watcher"), "the loss was not counted"


@pytest.mark.campaign
@pytest.mark.fault("F3", "F4")
def test_files_made_while_the_watcher_is_down_and_new_nested_folders_are_each_uploaded_once(case, scribe) -> None:
    """1,000 files before its start, then 300 times a/b/c with three files in each, and no timer that helps."""
    run = case(settings=SELDOM)
    pen = scribe(run)
    upload = run.request()
    pen.write_many(["first.dat"])
    run.until_catalogued(upload, 1)
    run.services.terminate("watcher")
    pen.write_many(f"while-down/{number:04}.dat" for number in range(1000))
    run.services.start("watcher")
    run.until_catalogued(upload, 1001)
    pen.write_many(f"{number:03}/b/c/{file}.dat" for number in range(300) for file in range(3))
    run.heal()
    run.until_catalogued(upload, 1901)
    run.recover(upload)
    assert len(run.claims) == 1901, "a file was sent more than once"


@pytest.mark.fault("F5")
@pytest.mark.campaign
def test_too_few_watches_are_shown_and_covered_by_polling(case, scribe) -> None:
    """The system allows the watcher 40 watches, in a user namespace of its own; there are 200 folders."""
    limited = {"watcher": ("unshare", "--user", "--map-root-user", "sh", "-c", FEW_WATCHES, "sh")}
    run = case(before=limited, settings={"watcher": {"scan_interval_s": 600.0, "poll_interval_s": 2.0}})
    pen = scribe(run)
    pen.write_many(f"{folder:03}/first.dat" for folder in range(200))
    upload = run.request()
    run.until_catalogued(upload, 200)
    pen.write_many(f"{folder:03}/second.dat" for folder in range(200))
    run.heal()
    run.until_catalogued(upload, 400)
    told = "the station says that watches are missing"
    eventually(lambda: any("max_user_watches" in text for text in run.watcher().troubles), within_s=45, what=told)
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F6")
def test_what_others_write_to_a_network_drive_is_seen_within_two_polls(case, scribe, tmp_path) -> None:
    """A drive that rclone mounts through FUSE; its files are written on the server's side, and no event tells of it."""
    with NetworkDrive(tmp_path / "drive", tmp_path / "server") as drive:
        run = case(watched=drive.folder, settings={"watcher": {"scan_interval_s": 600.0, "poll_interval_s": 3.0}})
        pen = scribe(run, drive.content)
        upload = run.request()
        pen.write_many(["first.dat"])
        run.until_catalogued(upload, 1)
        pen.write_many(f"{number}/b/{file}.dat" for number in range(5) for file in range(3))
        run.until(upload, lambda status: status.counts.found.files == 16, "all are found", within_s=6 + 1)
        run.heal()
        run.recover(upload)
