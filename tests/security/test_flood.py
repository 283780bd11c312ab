"""Services under a flood of the largest messages that are accepted: memory is bounded, and every message is settled."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pika
import pika.exceptions
import pytest
import structlog

from datauploader.contracts import Destination, Event, FileReady, FileStored, FileVersion, Station, StoredFile
from datauploader.contracts.envelope import LARGEST_ACCEPTED, encode
from datauploader.messaging.topology import EVENTS, catalog_queue, gateway_queue, transfer_queue, watcher_queue
from datauploader_testing.servers import BrokerAddress, RedisServer
from datauploader_testing.servers.ports import free_port
from datauploader_testing.waiting import eventually

HERE = Station.parse("elettra.xrd1.ws01")
QUEUES = {
    "catalog": catalog_queue(), "watcher": watcher_queue(HERE), "transfer": transfer_queue(HERE),
    "gateway": gateway_queue(),
}  # fmt: skip
MESSAGES = 50
"""Of each kind; together some 150 MiB, more than the queues' prefetch lets through at once."""
MOST_GROWTH = 100 * 1024 * 1024

pytestmark = [pytest.mark.rabbitmq, pytest.mark.redis, pytest.mark.attack("S25"), pytest.mark.campaign]


@pytest.fixture
def broker(rabbitmq_vhost: BrokerAddress) -> str:
    """Give the address of a virtual host of the test's own."""
    return rabbitmq_vhost.url


@pytest.fixture
def services(broker: str, redis_server: RedisServer, tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Run the four services, each in a process of its own."""
    (tmp_path / "data").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATAUPLOADER_")} | {
        "DATAUPLOADER_BROKER": broker, "DATAUPLOADER_STATE_DIR": str(tmp_path / "state"),
        "DATAUPLOADER_FACILITY": HERE.facility, "DATAUPLOADER_BEAMLINE": HERE.beamline,
        "DATAUPLOADER_STATION": HERE.station, "DATAUPLOADER_LOG_JSON": "true", "DATAUPLOADER_HEALTH_PORT": "0",
        "DATAUPLOADER_GATEWAY_REDIS": redis_server.address.url,
        "DATAUPLOADER_GATEWAY_PORT": str(free_port()), "DATAUPLOADER_CATALOG_ADAPTER": "memory",
        "DATAUPLOADER_WATCHER_ROOTS": json.dumps([str(tmp_path / "data")]),
        "DATAUPLOADER_REMOTES__STORE__TYPE": "local", "DATAUPLOADER_REMOTES__STORE__BASE": str(tmp_path / "store"),
    }  # fmt: skip
    program = Path(sys.executable).parent / "datauploader"
    running = {}
    try:
        for name in QUEUES:
            with (tmp_path / f"{name}.log").open("wb") as log:
                running[name] = subprocess.Popen(
                    [program, "run", name], env=environment, stdout=log, stderr=log, cwd=tmp_path
                )
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(30)


def bodies(number: int) -> Iterator[tuple[str, bytes]]:
    """Write one message of each kind, about as large as is accepted, and one that is no event."""
    place, upload = Destination(remote="store", location="1/run1"), f"upload-{number:04d}"
    files = [
        FileVersion.of(b"%d/%d/" % (number, n) + b"d/" * 820 + b"f", size=1, mtime_ns=1, sha256="a" * 64, revision=1)
        for n in range(490)
    ]
    stored = [StoredFile(file=f, object=f"1/run1/{n}", state="verified", method="test") for n, f in enumerate(files)]
    for data in (
        FileStored(upload_id=upload, destination=place, files=tuple(stored)),
        FileReady(upload_id=upload, root="/nowhere", destination=place, files=tuple(files)),
    ):
        event = Event(data=data, station=HERE, service="watcher")
        yield event.routing_key, encode(event)
    yield f"{HERE.key}.file.stored.v1", b'{"a": "' + os.urandom(LARGEST_ACCEPTED // 2 - 100).hex().encode() + b'"}'


def memory(process: subprocess.Popen[bytes], what: str) -> int:
    """Read a figure of a process's memory in bytes: VmRSS now, VmHWM at most."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(what)))


def lengths(url: str, names: Iterable[str]) -> dict[str, int]:
    """Count what waits in queues; -1 for one that is not there yet."""
    found = {}
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        for name in names:
            try:
                found[name] = connection.channel().queue_declare(name, passive=True).method.message_count
            except pika.exceptions.ChannelClosedByBroker:
                found[name] = -1
    return found


def test_a_flood_of_the_largest_messages_costs_no_service_a_hundred_mebibytes(
    broker: str, services: dict[str, subprocess.Popen[bytes]]
) -> None:
    """Good ones and such that are parked, faster than they can be handled; in the end all are."""
    names = [queue.name for queue in QUEUES.values()]
    eventually(lambda: min(lengths(broker, names).values()) >= 0, within_s=90, every_s=0.5, what="all consume")
    eventually(lambda: max(lengths(broker, names).values()) == 0, within_s=30, every_s=0.5, what="all is calm")
    before = {name: memory(process, "VmRSS") for name, process in services.items()}
    largest = 0
    with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        user = pika.URLParameters(broker).credentials.username
        properties = pika.BasicProperties(content_type="application/json", user_id=user)
        for number in range(MESSAGES):
            for key, body in bodies(number):
                largest = max(largest, len(body))
                channel.basic_publish(EVENTS, key, body, properties)
    assert 0.9 * LARGEST_ACCEPTED < largest <= LARGEST_ACCEPTED
    parked = {QUEUES[name].parked: MESSAGES for name in ("catalog", "watcher", "gateway")}
    wanted = dict.fromkeys(names, 0) | parked
    eventually(lambda: lengths(broker, wanted) == wanted, within_s=200, every_s=1.0, what="all is settled")
    growth = {name: memory(process, "VmHWM") - before[name] for name, process in services.items()}
    shown = {name: f"{amount / 2**20:.0f} MiB" for name, amount in growth.items()}
    structlog.get_logger().info("memory_grew", **shown)
    assert max(growth.values()) < MOST_GROWTH, shown
