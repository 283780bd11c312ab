"""Drives that are unplugged, end with errors, or hang; and a station whose own disk is full."""

import pytest

from datauploader_sandbox.drives import MemoryDrive, NetworkDrive, RemovableDrive
from datauploader_testing.waiting import eventually


@pytest.mark.campaign
@pytest.mark.fault("F7")
def test_a_drive_that_is_unplugged_and_comes_back_costs_nothing(case, scribe, tmp_path) -> None:
    """It is closed by its user while it is away, and comes back with one file more; what was sent stays sent."""
    with RemovableDrive(tmp_path / "drive", tmp_path / "content") as drive:
        run = case(watched=drive.folder)
        pen = scribe(run, drive.content)
        upload = run.request()
        pen.write_many(f"{number % 7}/{number}.dat" for number in range(100))
        run.until_catalogued(upload, 100)
        drive.unplug()
        run.until(upload, lambda status: any("mounted" in text for text in status.troubles), "the loss is shown")
        run.control(upload, "close")
        pen.write_many(["last.dat"])
        run.until(upload, lambda status: status.closing, "it closes")
        assert run.status(upload).counts.found.files == 100
        drive.plug()
        run.heal()
        (status,) = run.recover(upload, close=False)
        assert status.counts.catalogued.files == 101
        assert len(run.claims) == 101, "something was sent again"


@pytest.mark.fault("F8", "F7")
@pytest.mark.campaign
def test_a_network_drive_that_ends_with_errors_is_shown_and_goes_on(case, scribe, tmp_path) -> None:
    """The server ends while files are being uploaded: every call is an error until it is mounted anew."""
    with NetworkDrive(tmp_path / "drive", tmp_path / "server") as drive:
        run = case(watched=drive.folder, settings={"watcher": {"poll_interval_s": 1.0}})
        pen = scribe(run, drive.content)
        upload = run.request()
        pen.write_many(f"{number % 7}/{number}.dat" for number in range(300))
        run.until(upload, lambda status: status.counts.found.files > 0, "some files are found")
        drive.drop()
        pen.write_many(f"{number % 7}/{number}.dat" for number in range(300, 400))
        run.until(upload, lambda status: status.troubles, "the loss is shown")
        drive.unplug()
        drive.plug()
        run.heal()
        (status,) = run.recover(upload)
        assert status.counts.catalogued.files == 400
        assert status.left_out == 0


@pytest.mark.fault("F8")
@pytest.mark.campaign
def test_a_network_drive_that_hangs_is_shown_and_holds_up_nothing_else(case, scribe, tmp_path) -> None:
    """Its server falls silent in the middle; another disk's upload completes meanwhile, and when it is back all is."""
    data = tmp_path / "data"
    data.mkdir()
    with NetworkDrive(data / "drive", tmp_path / "server") as drive:
        run = case(watched=data, settings={"watcher": {"poll_interval_s": 1.0, "report_interval_s": 1.0}})
        pen = scribe(run, drive.content)
        upload = run.request(path=str(drive.folder))
        pen.write_many(f"{number % 7}/{number}.dat" for number in range(200))
        run.until(upload, lambda status: status.counts.catalogued.files > 0, "some files are catalogued")
        drive.freeze()
        pen.write_many(f"{number % 7}/{number}.dat" for number in range(200, 300))
        run.until(upload, lambda status: status.troubles, "the silence is shown", within_s=30)
        eventually(lambda: any("answer" in text for text in run.watcher().troubles), what="the station tells of it")

        other = run.beside("other")
        beside = scribe(other, data / "local")
        beside.write_many(f"{number}.dat" for number in range(50))
        local = other.request("local", path=str(data / "local"), mode="batch")
        other.completed(local, within_s=60)  # rclone notices after 45 s that what it copies from there has stopped
        assert not run.watcher().silent
        refused = run.request("refused", path=str(drive.folder / "1"))
        run.until(refused, lambda status: status.state == "rejected", "a new upload from there is refused", within_s=15)

        drive.thaw()
        run.heal()
        (status,) = run.recover(upload)
        assert status.counts.catalogued.files == 300
        other.recover(local, datasets=("local",), close=False)


@pytest.mark.fault("F27")
@pytest.mark.campaign
def test_a_station_whose_own_disk_is_full_says_so_and_finds_everything_when_there_is_room(
    case, scribe, tmp_path
) -> None:
    """The watcher's state lies on a disk of 1 MiB, and there is more to remember than fits."""
    with MemoryDrive(tmp_path / "state", mib=1) as disk:
        run = case(before={"watcher": ("env", f"DATAUPLOADER_STATE_DIR={disk.folder}")})
        pen = scribe(run)
        upload = run.request()
        run.until(upload, lambda status: status.state != "requested", "it is opened")
        pen.write_many(f"{number % 40}/{number:05}.dat" for number in range(5000))
        eventually(lambda: any("state file" in text for text in run.watcher().troubles), within_s=60, what="the alert")
        disk.grow(64)
        run.heal()
        (status,) = run.recover(upload)
        assert status.counts.catalogued.files == 5000
