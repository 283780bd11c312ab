"""What was true a while ago is not told as what is: the watcher dies, and nobody calls its files stored."""

import pytest

from datauploader.testing.waiting import eventually

QUICK = {"watcher": {"report_interval_s": 0.5}}


@pytest.mark.campaign
@pytest.mark.fault("F57")
def test_a_dead_watcher_is_told_while_transfer_goes_on_reporting(case, scribe) -> None:
    """SIGKILL, then a file that nobody sees: within seconds people are told since when, and later it goes on."""
    run = case(settings=QUICK)
    writer = scribe(run)
    upload = run.request()
    run.opened(upload)
    writer.write("a.dat", b"a")
    assert run.until_catalogued(upload, 1).station_silent_since is None
    run.services.kill("watcher")
    writer.write("b.dat", b"b")
    silent = run.until(upload, lambda status: status.station_silent_since, "the silence is told", within_s=30)
    assert silent.counts.found.files == 1, "nobody knows of the second file"
    assert silent.speed == 0
    run.services.start("watcher")
    run.heal()
    eventually(lambda: run.status(upload).station_silent_since is None, within_s=60, what="the station speaks again")
    run.recover(upload)
