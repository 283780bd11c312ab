"""Messages that nobody can handle, messages that come thrice and in any order, and handlers that take their time."""

import json
import os
import random
import subprocess
from collections.abc import Callable

import httpx
import pika
import pytest

from datauploader.contracts import DatasetSpec, Destination, Event, Person, UploadRequested, encode
from datauploader.messaging.rabbit.message import SAID_BY
from datauploader.messaging.topology import PARKED, RETRY_DELAYS_S, catalog_queue, retry_name
from datauploader.runtime.config import CONFIG_VARIABLE
from datauploader_sandbox.detector import Detector, Plan
from datauploader_sandbox.processes import PROGRAM
from datauploader_testing.waiting import eventually

from .conftest import HERE, QUEUES

UNKNOWN = b'{"specversion": "1.0", "id": "x1", "source": "urn:datauploader:a:b:c:d", "time": "2026-01-01T00:00:00Z", \
"type": "eu.ceric.datauploader.file.ready.v9", "data": {}}'
BOMBS = {
    "bad JSON": b"{not json",
    "bad UTF-8": b"\xff\xfe{}",
    "unknown version": UNKNOWN,
    "depth 10,000": b"[" * 10_000 + b"]" * 10_000,
    "a key twice": UNKNOWN.replace(b'"data"', b'"id": "x2", "data"'),
    "NaN": UNKNOWN.replace(b"{}", b'{"size": NaN}'),
    "20 MiB": b"x" * (20 * 2**20),
}
MOST_GROWTH = 100 * 2**20


@pytest.fixture
def channel() -> Callable:
    """Give a way to put anything into any queue of a case, past our own rules."""
    opened = []

    def connect(run) -> pika.adapters.blocking_connection.BlockingChannel:
        opened.append(pika.BlockingConnection(pika.URLParameters(run.facility.broker_address)))
        channel = opened[-1].channel()
        channel.confirm_delivery()
        return channel

    yield connect
    for connection in opened:
        connection.close()


def command(run, *words: str) -> list[dict]:
    """Run our own command line against the facility's broker, and read the objects that it prints."""
    done = subprocess.run(
        [PROGRAM, *words, "--json"], env={**os.environ, CONFIG_VARIABLE: str(run.facility.config)}, text=True,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if words[1] in ("replay", "drop"):
        assert '"parked_messages_settled"' in done.stderr, "nobody can see who did it"
        assert '"by"' in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.campaign
@pytest.mark.fault("F24")
def test_poison_is_parked_with_its_reason_and_keeps_nobody_from_work(case, channel) -> None:
    """Each bomb into each queue, while files are uploaded: parked once each, listed, dropped; memory is bounded."""
    run = case()
    upload = run.request()
    run.opened(upload)
    before = {name: run.services.memory(name) for name in ("watcher", "transfer", "catalog", "gateway")}
    sink = channel(run)
    for name in (queue.name for queue in QUEUES.values()):
        for body in BOMBS.values():
            sink.basic_publish("", name, body, mandatory=True)
    Detector(run.facility.watched, run.ledger, Plan("burst", files=100, file_size=2000)).run()
    expected = len(QUEUES) * len(BOMBS)
    eventually(lambda: run.parked() >= expected, within_s=60, what=f"{expected} messages are parked")
    run.heal()
    run.recover(upload)
    found = command(run, "parked", "list")
    assert len(found) == expected
    assert all(one["reason"] and one["attempts"] <= 5 for one in found)
    ids = sorted({one["id"] for one in found})
    assert command(run, "parked", "show", ids[0])[0]["reason"]
    assert command(run, "parked", "drop", "--yes", *ids) == [{"dropped": expected, "not_found": []}]
    assert command(run, "parked", "list") == []
    grown = {name: run.services.memory(name) - was for name, was in before.items()}
    assert all(growth < MOST_GROWTH for growth in grown.values()), grown


@pytest.mark.campaign
@pytest.mark.fault("F24")
def test_a_parked_message_that_is_replayed_is_handled_once(case, channel) -> None:
    """A request that was set aside for the catalogue, and lies there twice, becomes one dataset."""
    run = case(services=("watcher", "transfer", "catalog", "gateway"))
    data = UploadRequested(
        upload_id="u-parked-0001", investigation="20260101", dataset=DatasetSpec(name="parked"),
        root=str(run.facility.watched.resolve()), mode="batch", requested_by=Person(id="1101", name="Anna"),
        destination=Destination(remote="store", location="experiments/20260101/parked"),
    )  # fmt: skip
    event = Event(data=data, station=HERE, service="gateway")
    headers = {
        "x-reason": "the catalogue was mistaken", "x-queue": catalog_queue().name, "x-attempts": 51, SAID_BY: "gateway",
    }  # fmt: skip
    for _ in range(2):  # a replay whose process died between its two steps leaves it twice
        channel(run).basic_publish(PARKED, catalog_queue().name, encode(event), pika.BasicProperties(headers=headers))
    listed = command(run, "parked", "list")
    assert [(one["id"], one["trace_id"]) for one in listed] == [(event.id, event.trace_id)] * 2
    assert listed[0]["reason"] == "the catalogue was mistaken"
    assert listed[0]["time"]
    assert command(run, "parked", "replay", event.id) == [{"replayed": 2, "not_found": []}]
    made = eventually(lambda: _named(run, "parked"), within_s=30, what="the dataset is made")
    assert len(made) == 1
    assert command(run, "parked", "list") == []


def _named(run, name: str) -> list[dict]:
    return [dataset for dataset in run.catalogue()["datasets"] if dataset["name"] == name]


@pytest.mark.campaign
@pytest.mark.fault("F26")
def test_every_message_three_times_and_shuffled_changes_nothing(case, channel) -> None:
    """Before each service starts, all that waits for it is tripled and shuffled; states only move forward."""
    run = case(services=("watcher", "transfer", "catalog", "gateway"))
    upload = run.request()
    (run.facility.watched / "first.dat").write_bytes(b"first")
    run.wrote("first.dat")
    run.until_catalogued(upload, 1)  # by then the station has asked the catalog, which it does before it seals
    for service in ("transfer", "catalog"):
        run.services.kill(service)
    with Detector(run.facility.watched, run.ledger, Plan(scans=4, frames=10, seconds_per_frame=0.1)) as detector:
        run.control(upload, "pause")
        run.control(upload, "resume")
        detector.finish(60)
    run.control(upload, "close")
    management, sink, dice = run.server["rabbitmq"].management, channel(run), random.Random(26)
    eventually(lambda: _sealed(run, upload), within_s=60, what="the station has said everything")
    for service, queue in ((service, taken_from.name) for service, taken_from in QUEUES.items()):
        if run.services.runs(service):
            run.services.kill(service)
            run.services.start(service) if service == "transfer" else None
        triple(sink, management, queue, dice)
        run.services.start(service)
        eventually(lambda: _depth(management, queue) == 0, within_s=60, what=f"{queue} is empty")  # noqa: B023
        triple(sink, management, queue, dice)
    run.heal()
    run.facility.wait()
    run.recover(upload, close=False)


def _sealed(run, upload: str) -> bool:
    return bool(run.status(upload).manifest_sha256)


def _depth(management, name: str) -> int:
    return sum(queue.get("messages", 0) for queue in management.queues("/") if queue["name"] == name)


def triple(channel, management, queue: str, dice: random.Random) -> int:
    """Take all that waits in a queue, and put each message back three times, in any order."""
    taken = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        taken.append((got[1], got[2]))
    copies = taken * 3
    dice.shuffle(copies)
    for properties, body in copies:
        again = pika.BasicProperties(headers={SAID_BY: properties.user_id}, delivery_mode=2)
        channel.basic_publish(retry_name(RETRY_DELAYS_S[0]), queue, body, again, mandatory=True)
    return len(taken)


def _answered(run) -> bool:
    try:
        run.facility.sign_in()
    except httpx.HTTPStatusError:
        return False
    return True


SLOW_S = 25.0


@pytest.mark.campaign
@pytest.mark.fault("F25")
def test_a_catalogue_slower_than_the_broker_s_patience_costs_no_connection(case) -> None:
    """Half a minute for each call, a consumer_timeout of 10 s, heartbeats of 5 s: what works holds no delivery."""
    run = case()
    broker = run.server["rabbitmq"]
    for name, value in (("consumer_timeout", 10_000), ("channel_tick_interval", 1000), ("heartbeat", 5)):
        broker.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")
    broker.management.close_connections()  # every channel is a new one, under these rules
    eventually(lambda: _answered(run), within_s=60, what="the catalog answers again")
    lengths = {name: len(run.services.log(name)) for name in ("watcher", "transfer", "catalog", "gateway")}
    upload = run.request()
    run.opened(upload)
    slow = {"procedure": "datauploader.add_datafiles", "kind": "slow", "seconds": SLOW_S, "times": 2}
    httpx.post(f"{run.facility.catalogue.url}/_double/faults", json=slow, timeout=10).raise_for_status()
    Detector(run.facility.watched, run.ledger, Plan("burst", files=20, file_size=2000)).run()
    run.recover(upload)
    for name, length in lengths.items():
        said = run.services.log(name)[length:]
        assert not [word for word in ("consumer_interrupted", "broker_disconnected") if word in said], said
