"""What was true a while ago is not told as what is: a service dies or hangs, and people see that it is silent."""

import pytest

from datauploader_client.gateway_client import GatewayClient
from datauploader_testing.waiting import eventually

QUICK = {"watcher": {"report_interval_s": 0.5}, "catalog": {"report_interval_s": 0.5}}


@pytest.mark.campaign
@pytest.mark.fault("F57")
def test_a_dead_watcher_is_told_while_transfer_goes_on_reporting(case, scribe) -> None:
    """SIGKILL, then a file that nobody sees: within seconds people are told since when, and later it goes on."""
    run = case(settings=QUICK)
    writer = scribe(run)
    upload = run.request()
    run.opened(upload)
    writer.write("a.dat", b"a")
    run.until_catalogued(upload, 1)
    eventually(lambda: run.status(upload).station_silent_since is None, within_s=30, what="the station speaks")
    run.services.kill("watcher")
    writer.write("b.dat", b"b")
    silent = run.until(upload, lambda status: status.station_silent_since, "the silence is told", within_s=30)
    assert silent.counts.found.files == 1, "nobody knows of the second file"
    assert silent.speed == 0
    run.services.start("watcher")
    run.heal()
    eventually(lambda: run.status(upload).station_silent_since is None, within_s=60, what="the station speaks again")
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F57")
@pytest.mark.parametrize("how", ["hangs", "ends", "is killed"])
def test_a_catalog_that_is_not_there_is_silent_and_speaks_again(case, how) -> None:
    """SIGSTOP, SIGTERM, SIGKILL: three intervals later at the latest its silence is told."""
    run = case(settings=QUICK)

    def heard() -> list[bool]:
        with GatewayClient(run.facility.url, run.token) as gateway:
            services = [service for station in gateway.stations().items for service in station.services]
        return [not service.silent for service in services if service.service == "catalog"]

    eventually(lambda: heard() == [True], within_s=60, what="the catalog says that it is alive")
    end = {"hangs": run.services.pause, "ends": run.services.terminate, "is killed": run.services.kill}[how]
    end("catalog")
    eventually(lambda: heard() == [False], within_s=30, what="its silence is told")
    again = run.services.resume if how == "hangs" else run.services.start
    again("catalog")
    run.heal()
    eventually(lambda: heard() == [True], within_s=60, what="it speaks again")
