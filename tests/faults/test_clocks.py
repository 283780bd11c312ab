"""A clock that was two hours ahead and is put right: what is said afterwards counts at once."""

from pathlib import Path

import pytest

from datauploader_testing.waiting import eventually

from .conftest import clock_changer

pytestmark = [pytest.mark.campaign, pytest.mark.fault("F54")]


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """Name a file that says by how much a service's calendar is off."""
    path = tmp_path / "clock"
    path.write_text("+0")
    return path


def paused_ahead(run, clock: Path) -> str:
    """Have an upload paused while the clock is two hours ahead; return its id."""
    upload: str = run.request()
    run.opened(upload)
    clock.write_text("+7200")
    run.control(upload, "pause")
    run.until(upload, lambda status: status.paused, "the upload is paused", 20)
    return upload


def test_a_resume_works_at_once_after_the_clock_of_the_gateway_was_put_right(case, scribe, clock: Path) -> None:
    """The pause was pressed with the gateway two hours ahead; a close completes as well."""
    run = case(before={"gateway": clock_changer(clock)})
    pen = scribe(run)
    upload = paused_ahead(run, clock)
    clock.write_text("+0")
    pen.write_many(f"{number}.dat" for number in range(5))
    run.heal()
    run.control(upload, "resume")
    run.until(upload, lambda status: not status.paused, "the upload continues", 20)
    run.until_catalogued(upload, 5, 30)
    run.recover(upload)


def test_the_second_seal_counts_after_the_clock_of_the_watcher_was_put_right(case, scribe, clock: Path) -> None:
    """A file vanished after the first seal, which the watcher said two hours ahead."""
    run = case(before={"watcher": clock_changer(clock)})
    pen = scribe(run)
    upload = run.request()
    run.opened(upload)
    clock.write_text("+7200")
    pen.write_many(("a.dat", "b.dat"))
    run.until_catalogued(upload, 2)
    run.services.kill("transfer")
    gone = run.facility.watched / "gone.dat"
    gone.write_bytes(b"never stored")
    run.until(upload, lambda status: status.counts.ready.files == 3, "the third file is announced")
    run.control(upload, "close")
    run.until(upload, lambda status: status.state == "sealed", "the upload is sealed")
    gone.unlink()
    clock.write_text("+0")
    run.heal()
    run.services.start("transfer")
    (status,) = run.recover(upload, close=False)
    assert status.counts.catalogued.files == 2


def test_a_gateway_that_lost_its_state_steers_on_after_its_clock_was_put_right(case, scribe, clock: Path) -> None:
    """What it had said is in the event log, and its numbers go on above that."""
    run = case(before={"gateway": clock_changer(clock)})
    pen = scribe(run)
    upload = paused_ahead(run, clock)
    run.services.kill("gateway")
    for path in (run.facility.folder / "state").glob("gateway.sqlite*"):
        path.unlink()
    clock.write_text("+0")
    run.services.start("gateway")
    run.facility.wait()
    run.heal()
    pen.write("a.dat", b"content")
    run.control(upload, "resume")
    eventually(lambda: run.catalogued() == 1, within_s=60, what="the upload continues")
    run.recover(upload)
