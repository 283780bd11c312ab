"""What is lost for good: a state file, everything in Redis, everything in the broker; the rest makes up for it."""

import shutil

import pytest

from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.waiting import eventually

STATES = {
    "watcher": "watcher.sqlite3",
    "transfer": "transfer.sqlite",
    "catalog": "catalog.sqlite",
    "gateway": "gateway.sqlite",
}
BEFORE = Plan(mode="burst", files=500, file_size=20_000)
MEANWHILE = Plan(scans=3, frames=5, seconds_per_frame=0.05)


def write(run, plan: Plan) -> None:
    """Have the detector carry out a plan."""
    with Detector(run.facility.watched, run.ledger, plan) as detector:
        detector.finish(60)


@pytest.fixture
def half_done(case):
    """Give a run of which one burst is catalogued, and its upload."""
    run = case()
    upload = run.request()
    write(run, BEFORE)
    with GatewayClient(run.facility.url, run.token) as gateway:
        eventually(
            lambda: gateway.upload(upload).counts.catalogued.files >= BEFORE.files,
            within_s=60,
            what="the burst is catalogued",
            every_s=0.2,
        )
    return run, upload


@pytest.mark.campaign
@pytest.mark.fault("F28")
@pytest.mark.parametrize("service", STATES)
def test_a_state_file_that_is_gone_is_made_up_for(half_done, service: str) -> None:
    """In the middle of an upload, with the files that came meanwhile."""
    run, upload = half_done
    run.services.kill(service)
    for file in (run.facility.folder / "state").glob(f"{STATES[service]}*"):
        file.unlink()
    write(run, MEANWHILE)
    run.heal()
    run.services.start(service)
    run.facility.wait()
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F19")
def test_a_broker_that_lost_everything_is_made_up_for(half_done) -> None:
    """Queues, messages and the event log are gone; services declare anew, stations say again what has no receipt."""
    run, upload = half_done
    broker = run.server["rabbitmq"]
    write(run, MEANWHILE)
    broker.kill()
    shutil.rmtree(broker.directory / "data")
    run.heal()
    broker.start()
    run.facility.wait()
    run.recover(upload)
