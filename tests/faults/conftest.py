"""A case of the fault campaign: a facility of real processes, one upload in it, a fault, and what the oracle says."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pika
import pytest

from datauploader.contracts import Station
from datauploader.contracts.names import unpack
from datauploader.contracts.rest.stations import ServiceReport
from datauploader.contracts.rest.uploads import Upload
from datauploader.messaging.topology import Queue, catalog_queue, gateway_queue, transfer_queue, watcher_queue
from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.campaign import Record
from datauploader_sandbox.detector.ledger import Ledger
from datauploader_sandbox.facility import STATION, Facility
from datauploader_sandbox.guard import Guard
from datauploader_sandbox.oracle.evidence import Receipt
from datauploader_sandbox.run import Run
from datauploader_sandbox.witness import Witness
from datauploader_testing.waiting import eventually

HERE = Station(facility=STATION[0], beamline=STATION[1], station=STATION[2])
QUEUES = {
    "transfer": transfer_queue(HERE), "catalog": catalog_queue(), "watcher": watcher_queue(HERE),
    "gateway": gateway_queue(),
}  # fmt: skip
"""What each service takes its work from."""
Start = Callable[..., "Case"]


class Case(Run):
    """A run that something happens to."""

    def __init__(self, facility: Facility, ledger: Path, witness: Witness, guard: Guard, record: Record) -> None:
        """Begin to watch."""
        super().__init__(facility, ledger)
        self._witness, self._record = witness, record
        self.guard = guard
        self._healed = time.monotonic()

    @property
    def services(self) -> Any:
        """The services' processes."""
        return self.facility.processes

    @property
    def server(self) -> dict[str, Any]:
        """The private `rabbitmq` and `redis`."""
        return self.facility.servers

    @property
    def office(self) -> Any:
        """The catalogue's double and its switches."""
        return self.facility.catalogue

    @property
    def proxy(self) -> dict[str, Any]:
        """The fault proxies, by what they stand before."""
        return self.facility.proxies

    def beside(self, name: str) -> "Case":
        """Begin another run in the same facility, with a ledger of its own."""
        return Case(self.facility, self.ledger.with_name(f"{name}.jsonl"), self._witness, self.guard, self._record)

    @property
    def claims(self) -> Sequence[Receipt]:
        """What was claimed of stored files."""
        return self._witness.claims

    def until_catalogued(self, upload: str, files: int, within_s: float = 60.0) -> Upload:
        """Wait until so many files are catalogued."""
        what = f"{files} files are catalogued"
        return self.until(upload, lambda status: status.counts.catalogued.files >= files, what, within_s)

    def left_out(self, upload: str) -> dict[str, str]:
        """Return what is not uploaded, with the reasons."""
        address = f"{self.facility.url}/api/v1/uploads/{upload}/left-out?limit=500"
        answer = httpx.get(address, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)
        return {item["path"]: item["reason"] for item in answer.json()["items"]}

    def parked(self) -> int:
        """Count the messages that were set aside for people."""
        with self._channel() as channel:
            counted = [channel.queue_declare(queue.parked, passive=True) for queue in QUEUES.values()]
        return sum(one.method.message_count for one in counted)

    def purge(self, queue: Queue) -> None:
        """Have the broker lose what a queue holds."""
        with self._channel() as channel:
            channel.queue_purge(queue.name)

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        connection = pika.BlockingConnection(pika.URLParameters(self.facility.broker_address))
        try:
            yield connection.channel()
        finally:
            connection.close()

    def watcher(self) -> ServiceReport:
        """Return what the watcher said last of itself."""
        with GatewayClient(self.facility.url, self.token) as gateway:
            (station,) = gateway.stations().items
        return next(one for one in station.services if one.service == "watcher")

    def receipts(self, upload: str) -> list[Receipt]:
        """Return what the gateway's receipt says of each stored file."""
        files = [file for file in self.receipt(upload)["file_list"] if file["proof"]]
        return [
            Receipt(unpack(file["path"], file["path_b64"]), file["sha256"], file["proof"] == "verified")
            for file in files
        ]

    def heal(self) -> None:
        """Say that the fault ends now: recovery is counted from here."""
        self._healed = time.monotonic()

    def recover(self, *uploads: str, datasets: Sequence[str] = ("run",), close: bool = True) -> list[Upload]:
        """Close the uploads, wait until they are complete, and have the oracle judge each dataset."""
        if close:
            for upload in uploads:
                self.control(upload, "close")
        statuses = [self.completed(upload) for upload in uploads]
        self._record.recovered(time.monotonic() - self._healed)
        for dataset in datasets:
            said = [receipt for upload in uploads for receipt in self.receipts(upload)]
            verdict = self.verdict(dataset, [*self._witness.of(*uploads), *said], self.guard.look())
            self._record.verdict(verdict)
            assert verdict.holds, json.dumps({name: getattr(verdict, name) for name in verdict.counts}, indent=1)
        return statuses


def stays_complete(guard: Guard) -> None:
    """See that every dataset that was ever complete still is what the catalogue was told."""
    broken = guard.look()
    assert not broken, broken[:10]


def clock_changer(clock: Path) -> tuple[str, ...]:
    """Return the beginning of a command line whose calendar is off by what a file says; waiting stays as it is."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "this test changes a service's clock with libfaketime: install Debian's package faketime"
    quirks = ("FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1")
    return ("env", f"LD_PRELOAD={found[0]}", f"FAKETIME_TIMESTAMP_FILE={clock}", *quirks)


class Scribe:
    """Writes files as a test wants them, and keeps the ledger that the oracle reads."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        """Write below a folder."""
        self.folder, self.ledger = folder, ledger

    def write(self, name: str, content: bytes) -> Path:
        """Write a whole file, or write it anew."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.wrote(path)
        return path

    def write_many(self, names: Iterable[str]) -> None:
        """Write small files, each with a content of its own."""
        for name in names:
            self.write(name, f"content of {name}".encode())

    def wrote(self, path: Path, *, resting: bool = False) -> None:
        """Note what a file holds now."""
        self.ledger.wrote(path, resting=resting)


@pytest.fixture
def scribe(tmp_path: Path) -> Iterator[Callable[[Case], Scribe]]:
    """Return a function that gives a case its writer; where files are written is up to it."""
    with ExitStack() as stack:

        def begin(run: Case, folder: Path | None = None) -> Scribe:
            where = folder or run.facility.watched
            return Scribe(where, stack.enter_context(Ledger(run.ledger, where)))

        yield begin


class Stage:
    """A facility that serves one run after the other; after one that went wrong the next one gets a new facility."""

    def __init__(self, folders: Callable[[], Path], **how: Any) -> None:
        """Begin with none; `how` are arguments of `Facility`."""
        self._folders, self._how = folders, {"broker": "rabbitmq"} | how
        self._stack = ExitStack()
        self._facility: Facility | None = None

    @contextmanager
    def run(self, dataset: str, record: Record) -> Iterator[Case]:
        """Give a run to one dataset."""
        if self._facility is None:
            self._facility = self._stack.enter_context(Facility(folder=self._folders() / "facility", **self._how))
            self._witness = self._stack.enter_context(Witness(self._facility.broker_address))
            self._guard = self._stack.enter_context(Guard(self._facility))
        try:
            case = eventually(
                lambda: self._case(dataset, record), within_s=60, every_s=0.2, what="somebody can sign in"
            )
            yield case
            stays_complete(self._guard)
            case.sign_out()
        except BaseException:
            self.close()
            raise

    def _case(self, dataset: str, record: Record) -> Case | None:
        assert self._facility is not None
        try:
            ledger = self._facility.folder / f"{dataset}.jsonl"
            return Case(self._facility, ledger, self._witness, self._guard, record)
        except httpx.HTTPStatusError:
            return None  # the catalog was started again just now

    def close(self) -> None:
        """End the facility."""
        self._facility = None
        self._stack.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a facility that the tests of a module share."""
    allowed = {"watcher": {"allow_delete": True}, "gateway": {"offer_delete_after": True}}
    made = Stage(lambda: tmp_path_factory.mktemp("stage"), settings=allowed)
    yield made
    made.close()


@pytest.fixture
def case(tmp_path: Path, record: Record) -> Iterator[Start]:
    """Return a function that starts a facility on real parts; its arguments are those of `Facility`."""
    guards: list[Guard] = []
    with ExitStack() as stack:

        def begin(**how: Any) -> Case:
            facility = stack.enter_context(Facility(folder=tmp_path / "facility", **{"broker": "rabbitmq"} | how))
            witness = stack.enter_context(Witness(facility.broker_address))
            guards.append(stack.enter_context(Guard(facility)))
            return Case(facility, tmp_path / "ledger.jsonl", witness, guards[-1], record)

        yield begin
        for guard in guards:
            stays_complete(guard)
