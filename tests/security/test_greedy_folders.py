"""Folders that are made to stop a station: very many files, a giant that is nearly all hole, growth without an end."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from datauploader.contracts import DatasetSpec, Destination, Event, FileReady, Person, Station, UploadRequested
from datauploader.messaging import Bus, Delivery, connect
from datauploader.messaging.rabbit import apply_topology
from datauploader.messaging.topology import gateway_queue
from datauploader_testing.servers import BrokerAddress
from datauploader_testing.waiting import eventually

HERE = Station.parse("elettra.xrd1.ws01")
TINY = 100_000
"""Real files; a million differ from them in the time that the scan takes, because what waits is bounded by number."""
GIANT = 10 * 2**40
SERVED_S = 20.0
"""Within which a file of somebody else's must be announced, with all processors busy."""
MOST_GROWTH = 150 * 2**20

pytestmark = [pytest.mark.rabbitmq, pytest.mark.attack("S24"), pytest.mark.campaign]


class World:
    """A watcher in a process of its own, and what it announces."""

    def __init__(self, url: str, folder: Path) -> None:
        """Begin to listen; the watcher comes with `start`."""
        self.url, self.folder, self.data = url, folder, folder / "data"
        self.announced: Counter[str] = Counter()
        apply_topology(url, [HERE])
        self.bus: Bus = connect(url, name="test")
        self.bus.consume(gateway_queue(), self._hear)

    def _hear(self, delivery: Delivery) -> None:
        if isinstance(data := delivery.event.data, FileReady):
            self.announced[data.upload_id] += len(data.files)

    def start(self) -> None:
        """Start the watcher."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DATAUPLOADER_")} | {
            "DATAUPLOADER_BROKER": self.url, "DATAUPLOADER_STATE_DIR": str(self.folder / "state"),
            "DATAUPLOADER_FACILITY": HERE.facility, "DATAUPLOADER_BEAMLINE": HERE.beamline,
            "DATAUPLOADER_STATION": HERE.station, "DATAUPLOADER_HEALTH_PORT": "0",
            "DATAUPLOADER_WATCHER_ROOTS": json.dumps([str(self.data)]),
            "DATAUPLOADER_WATCHER_CATALOGUE_PATIENCE_S": "0",
        }  # fmt: skip
        program = Path(sys.executable).parent / "datauploader"
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [program, "run", "watcher"], env=environment, stdout=log, stderr=log, cwd=self.folder
            )
        eventually(lambda: b"service_started" in (self.folder / "log").read_bytes(), within_s=60, what="it runs")

    def request(self, name: str) -> None:
        """Ask for the upload of a folder."""
        request = UploadRequested(
            upload_id=f"upload-{name}", investigation="1", dataset=DatasetSpec(name=name), root=str(self.data / name),
            mode="sync", destination=Destination(remote="store", location=f"1/{name}"), requested_by=Person(id="1101"),
            quiet_period_s=0.2,
        )  # fmt: skip
        self.bus.publish(Event(data=request, station=HERE, service="test")).result(60)

    def memory(self, what: str) -> int:
        """Read a figure of the watcher's memory in bytes: VmRSS now, VmHWM at most."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(what)))

    def served(self, name: str) -> float:
        """Write a file into a folder that behaves; return after how many seconds it was announced."""
        before, began = self.announced["upload-modest"], time.monotonic()
        (self.data / "modest" / name).write_bytes(name.encode())
        eventually(lambda: self.announced["upload-modest"] > before, within_s=3 * SERVED_S, what=f"{name} is announced")
        return time.monotonic() - began


@pytest.fixture
def world(rabbitmq_vhost: BrokerAddress, tmp_path: Path) -> Iterator[World]:
    """A station with four empty folders."""
    made = World(rabbitmq_vhost.url, tmp_path)
    for name in ("tiny", "sparse", "endless", "modest"):
        (made.data / name).mkdir(parents=True)
    made.start()
    yield made
    made.process.terminate()
    made.process.wait(30)
    made.bus.close()


class Grower:
    """Writes without an end: a file that is never finished, and ever new folders with files in them."""

    def __init__(self, folder: Path) -> None:
        """Begin."""
        self._folder, self._ended, self.files = folder, threading.Event(), 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with (self._folder / "never-finished").open("wb") as growing:
            while not self._ended.wait(0.01):
                growing.write(b"x" * 10_000)
                growing.flush()
                deep = self._folder / str(self.files // 1000) / str(self.files)
                deep.mkdir(parents=True)
                (deep / "file").write_bytes(b"x")
                self.files += 1

    def end(self) -> None:
        """Leave off."""
        self._ended.set()
        self._thread.join()


def test_folders_that_are_too_much_keep_nobody_else_waiting(world: World) -> None:
    """All three at once, and somebody whose files come one at a time; in the end the many are all announced."""
    for number in range(TINY):
        if number % 1000 == 0:
            (place := world.data / "tiny" / str(number // 1000)).mkdir()
        (place / str(number)).write_bytes(b"%d" % number)
    with (world.data / "sparse" / "giant").open("wb") as giant:
        giant.truncate(GIANT)
    before = world.memory("VmRSS")
    grower = Grower(world.data / "endless")
    for name in ("tiny", "sparse", "endless", "modest"):
        world.request(name)
    waits = [world.served(f"{number}.dat") for number in range(8)]
    eventually(lambda: world.announced["upload-tiny"] >= TINY, within_s=300, every_s=0.5, what="all are announced")
    waits.append(world.served("last.dat"))
    grower.end()
    growth = world.memory("VmHWM") - before
    structlog.get_logger().info("greedy_folders", waits_s=[round(one, 1) for one in waits], mib=growth >> 20)
    assert max(waits) < SERVED_S, waits
    assert growth < MOST_GROWTH, f"{growth / 2**20:.0f} MiB"
    assert world.announced["upload-tiny"] == TINY
    assert world.announced["upload-endless"] > 0
    assert world.announced["upload-sparse"] == 0
    assert world.process.poll() is None
