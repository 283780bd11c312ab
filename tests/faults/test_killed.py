"""Services and the broker are ended, gently and not, while an instrument writes; nothing is missing or doubled."""

import pytest

from datauploader_sandbox.detector import Detector, Plan

SERVICES = ("watcher", "transfer", "catalog", "gateway")


@pytest.mark.campaign
@pytest.mark.fault("F19", "F40")
def test_killing_every_service_and_the_broker_loses_nothing(case) -> None:
    """SIGKILL to one service after the other, then to the broker, each started again, while scans are written."""
    run = case()
    upload = run.request()
    plan = Plan(scans=12, frames=10, seconds_per_frame=0.15)
    with Detector(run.facility.watched, run.ledger, plan) as detector:
        for victim in SERVICES:
            run.services.kill(victim)
            detector.join(1.0)
            run.services.start(victim)
            detector.join(2.0)
        broker = run.server["rabbitmq"]
        broker.kill()
        detector.join(1.0)
        broker.start()
        run.heal()
        detector.finish(120)
    run.facility.wait()
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F40")
def test_sigterm_ends_each_service_cleanly_within_ten_seconds(case) -> None:
    """Services that are asked to end in the middle of their work end with code 0, and the work goes on after it."""
    run = case()
    upload = run.request()
    with Detector(run.facility.watched, run.ledger, Plan(mode="burst", files=4000, file_size=20_000)) as detector:
        for service in (*SERVICES, "nexus-harvester"):
            assert run.services.terminate(service, within_s=10.0) == 0
            run.services.start(service)
        detector.finish(60)
    run.heal()
    run.facility.wait()
    run.recover(upload)
