"""The broker is away, dies, is full, mute or forgetful; what was written arrives once it is well."""

import json
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from datauploader.contracts import FileReady
from datauploader.errors import GatewayUnreachable
from datauploader.messaging import Start, connect
from datauploader.messaging.topology import EVENTS, catalog_queue, gateway_queue, transfer_queue, watcher_queue
from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.faults import DropResponse
from datauploader_testing.waiting import eventually

from .conftest import HERE

IMPATIENT = {"watcher": {"receipt_patience_s": 5.0}, "gateway": {"request_patience_s": 5.0}}
"""A message that a fault has destroyed is said again after so long; two minutes are the default."""
A_CONFIRM = b"\x00\x3c\x00\x50"
"""Class 60, method 80: how the broker confirms."""


@pytest.mark.campaign
@pytest.mark.fault("F18")
def test_ten_thousand_files_wait_for_a_broker_that_is_away_for_long(case) -> None:
    """Nothing moves while it is away, the watcher keeps what it has seen, and all of it drains afterwards."""
    run = case()
    upload = run.request()
    run.opened(upload)
    broker = run.server["rabbitmq"]
    broker.stop()
    Detector(run.facility.watched, run.ledger, Plan("burst", files=10_000, file_size=2000)).run()
    known = run.facility.folder / "state" / "watcher.sqlite3"
    eventually(lambda: _rows(known) >= 10_000, within_s=120, what="every file is in the watcher's ledger")
    assert run.stored() == 0
    broker.start()
    run.heal()
    run.facility.wait()
    run.recover(upload)


def _rows(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM files").fetchone()[0])


@pytest.mark.campaign
@pytest.mark.fault("F19")
def test_a_broker_that_is_killed_twenty_times_under_load_loses_nothing(case) -> None:
    """SIGKILL, start, a few more files stored, and again, while an instrument writes without a pause."""
    run = case()
    upload = run.request()
    run.opened(upload)
    broker = run.server["rabbitmq"]
    broker.settle()
    with Detector(run.facility.watched, run.ledger, Plan(scans=0, frames=20, seconds_per_frame=0.1)) as detector:
        for _ in range(20):
            before = run.stored()
            eventually(lambda: run.stored() > before, within_s=60, what="files are stored again")  # noqa: B023
            broker.kill()
            broker.start()
        run.heal()
        detector.stop()
        detector.finish(30)
    run.facility.wait()
    run.recover(upload)


@pytest.mark.campaign
@pytest.mark.fault("F20")
def test_a_confirm_that_is_lost_costs_one_more_message_and_no_second_effect(case) -> None:
    """The proxy swallows confirms and closes: the same event comes again under the same id."""
    run = case(proxied=("broker",))
    upload = run.request()
    run.opened(upload)
    with Detector(run.facility.watched, run.ledger, Plan("burst", files=300, file_size=2000)) as detector:
        toxic = DropResponse(containing=A_CONFIRM)
        with run.proxy["broker"].having(toxic):
            eventually(lambda: toxic.hits >= 5, within_s=60, what="five confirms were swallowed")
        run.heal()
        detector.finish(30)
    run.recover(upload)
    ready = said(run, FileReady)
    assert max(ready.values()) > 1, "no event came twice, so no confirm of one was lost"
    assert run.catalogued() == 300


def said(run, kind: type) -> Counter[str]:
    """Count how often the broker took each event of a kind, by its id, from the event log."""
    seen: list[str] = []
    last: list[float] = [time.monotonic()]
    bus = connect(run.facility.broker_address, name="reader")

    def hear(delivery) -> None:
        last[0] = time.monotonic()
        if isinstance(delivery.event.data, kind):
            seen.append(delivery.event.id)

    reader = bus.replay(Start(first=True), hear)
    eventually(lambda: seen and time.monotonic() - last[0] > 1, within_s=60, what="the log is read")
    reader.stop(2)
    bus.close(2)
    return Counter(seen)


@pytest.mark.campaign
@pytest.mark.fault("F21")
def test_a_broker_that_takes_nothing_keeps_no_thread_and_no_person_waiting(case) -> None:
    """A disk alarm: the page answers, health says why nothing moves, services stop in time; then all goes on."""
    run = case()
    upload = run.request()
    run.opened(upload)
    broker = run.server["rabbitmq"]
    broker.set_disk_alarm()
    Detector(run.facility.watched, run.ledger, Plan("burst", files=100, file_size=2000)).run()
    began = time.monotonic()
    with pytest.raises(GatewayUnreachable):  # a question that has no answer in time is told so
        run.request("another")
    run.control(upload, "close")
    assert time.monotonic() - began < 10
    eventually(lambda: "takes nothing" in _health(run), within_s=30, what="health says that the broker is full")
    for service in ("watcher", "transfer", "catalog"):
        assert run.services.terminate(service, within_s=10) == 0
        run.services.start(service)
    broker.set_disk_alarm(False)
    run.heal()
    run.recover(upload, close=False)


def _health(run) -> str:
    return httpx.get(f"{run.facility.url}/health/ready", timeout=5).text


@pytest.mark.campaign
@pytest.mark.fault("F22")
def test_what_a_deleted_binding_swallows_stays_pending_and_is_said_again(case) -> None:
    """Transfer hears of no file: none is lost, none complete, and the station says that nobody answers."""
    run = case(settings=IMPATIENT)
    upload = run.request()
    run.opened(upload)
    management, queue = run.server["rabbitmq"].management, transfer_queue(HERE).name
    path = ("bindings", "/", "e", EVENTS, "q", queue)
    for binding in management.get(*path):
        management.delete(*path, binding["properties_key"])
    Detector(run.facility.watched, run.ledger, Plan("burst", files=50, file_size=2000)).run()
    eventually(lambda: "no confirmation" in json.dumps(_stations(run)), within_s=60, what="the station says so")
    assert run.status(upload).state == "open"
    assert run.stored() == 0
    run.services.terminate("transfer")
    run.services.start("transfer")  # its consumer binds its queue again, as it does every minute
    run.heal()
    run.recover(upload)


def _stations(run) -> object:
    headers = {"Authorization": f"Bearer {run.token}"}
    return httpx.get(f"{run.facility.url}/api/v1/stations", headers=headers, timeout=10).json()


@pytest.mark.campaign
@pytest.mark.fault("F23")
def test_queues_that_are_deleted_with_all_that_waits_in_them_are_made_again_and_filled_again(case) -> None:
    """The request that waits for the station, the files for transfer, and what the page was to show."""
    run = case(settings=IMPATIENT)
    management = run.server["rabbitmq"].management
    for service in ("watcher", "transfer"):
        run.services.kill(service)
    upload = run.request()
    lose(management, watcher_queue(HERE).name)
    run.services.start("watcher")
    run.opened(upload)
    run.services.pause("gateway")
    Detector(run.facility.watched, run.ledger, Plan("burst", files=50, file_size=2000)).run()
    lose(management, transfer_queue(HERE).name)
    lose(management, gateway_queue().name)
    management.delete_queue("/", catalog_queue().name)
    run.heal()
    run.services.resume("gateway")
    run.services.start("transfer")
    (status,) = run.recover(upload)
    eventually(lambda: run.status(upload).counts.catalogued.files == 50, within_s=60, what=f"all is shown: {status}")
    assert run.status(upload).counts.found.files == 50


def lose(management, name: str) -> None:
    """Delete a queue when something waits in it."""
    eventually(lambda: _waiting(management, name), within_s=60, what=f"a message waits in {name}")
    management.delete_queue("/", name)


def _waiting(management, name: str) -> int:
    return sum(found.get("messages", 0) for found in management.queues("/") if found["name"] == name)
