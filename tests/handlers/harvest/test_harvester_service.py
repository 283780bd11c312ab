"""A harvester's service with its real process of readers, on the memory engine: what it reads, awaits, gives up."""

import dataclasses
import json
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from datauploader.contracts import Destination, Event, EventData, MetadataExtracted
from datauploader.contracts.envelope import LARGEST, encode
from datauploader.contracts.pictures import MOST_OF_UPLOAD
from datauploader.messaging import connect
from datauploader.messaging.port import Delivery
from datauploader.messaging.topology import facility_queues, harvester_queue
from datauploader.plugins.harvester import HarvesterSettings, Kind
from datauploader.plugins.harvester import file_queue as ledger
from datauploader.plugins.harvester.service import FIRST_LOOK_S, HarvesterService, RequestRecovery
from datauploader.reliability import Store
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

THERE = builders.THERE
ELSEWHERE = builders.station("elettra.xrd1.ws02")
PLUG_IN = """
import os, signal, time

def read(path):
    yield ("begun", True)
    exec(path.read_text())
    yield ("done", True)
"""
"""Reads files that say in Python what is to become of their reader."""


class World:
    """A harvester, its storage, and everything that it says."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.place = self.store / THERE.location
        self.place.mkdir(parents=True)
        self.folder, self.url = folder, f"memory://{uuid.uuid4()}"
        self.heard: list[Event[EventData]] = []
        self.outside = connect(self.url, name="test")
        for queue in facility_queues([builders.HERE, ELSEWHERE]):
            self.outside.consume(queue, lambda _: None)
        said = harvester_queue("witness", ["#.metadata.extracted.v1"])
        self.outside.consume(said, self._hear)

    def _hear(self, delivery: Delivery) -> None:
        """Keep an event once, however often it comes, as every consumer does."""
        if all(event.id != delivery.event.id for event in self.heard):
            self.heard.append(delivery.event)

    def start(self, *, seconds: float = 30.0, **settings: float) -> HarvesterService:
        """Start the service on its state."""
        remotes = {THERE.remote: {"type": "local", "base": str(self.store)}}
        self.bus = connect(self.url, name="harvester")
        context = Context(Settings(state_dir=self.folder / "state", remotes=remotes), self.bus)
        kind = Kind("odd", ("*.odd",), "odd:read")
        self.service = HarvesterService(context, kind, HarvesterSettings(seconds=seconds, **settings))
        self.service.start()
        return self.service

    def stop(self) -> None:
        """Stop the service."""
        self.service.stop(5)
        self.bus.close(5)

    def asked(self) -> None:
        """Ask for the upload."""
        self.say(builders.upload_requested())

    def say(self, data: EventData) -> None:
        """Say something about it."""
        self.outside.publish(builders.event(data)).result(60)

    def stored(self, name: str, body: str = "pass", **upload: str) -> None:
        """Store a file that says what is to become of its reader."""
        (self.place / name).write_text(body)
        stored = builders.file_stored(builders.file_version(name, body.encode()))
        self.say(stored.model_copy(update=upload))

    def told(self, name: str) -> MetadataExtracted:
        """Wait for what is said about a file."""
        return eventually(lambda: self.of(name), what=f"what {name} says")[0]

    def of(self, name: str) -> list[MetadataExtracted]:
        """Return what was said about a file."""
        facts = [event.data for event in self.heard if isinstance(event.data, MetadataExtracted)]
        return [fact for fact in facts if fact.files[0].file.path == name]

    def waiting(self, name: str) -> ledger.QueuedFile | None:
        """Look at a file that waits."""
        with self.service._store.reading() as db:
            query = "SELECT id, cause, stored, remote, tries, waits FROM wanted WHERE stored LIKE ?"
            row = db.execute(query, (f"%{name}%",)).fetchone()
        return row and ledger.QueuedFile(*row)

    def no_longer_later(self) -> None:
        """Let time go by: nothing waits for its next try any more."""
        with self.service._store.transaction() as db:
            db.execute("UPDATE wanted SET due = 0")
        self.service._wake()

    def trouble(self, check: str = "reader") -> str:
        """Return what health says."""
        return next(one.detail for one in self.service.checks() if one.name == check)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Give a facility with the harvester, to which an upload was asked for."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "odd.py").write_text(PLUG_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    world = World(tmp_path)
    world.start()
    world.asked()
    yield world
    world.stop()
    world.outside.close(5)


def found(fact: MetadataExtracted) -> list[str]:
    """Name the parameters of a file."""
    return [one.name for one in fact.files[0].parameters]


@pytest.mark.fault("F62")
def test_files_are_read_when_their_storage_is_back(world: World) -> None:
    """One that is not seen yet, one that is locked: they wait, health says so in time, nothing is given up."""
    world.store.rename(world.folder / "away")
    world.say(builders.file_stored(builders.file_version("a.odd")))
    eventually(lambda: (row := world.waiting("a.odd")) and row.waits == 1, what="the first try")
    assert "not readable here" in world.trouble("mounts")
    with world.service._store.transaction() as db:
        db.execute("UPDATE wanted SET since = ?", (time.time() - 3600,))
    assert "1 files are waiting to be read, the oldest for 60 minutes" in world.trouble()
    assert "No such file" in world.trouble()
    (world.folder / "away").rename(world.store)
    (world.place / "a.odd").write_text("raise OSError(37, 'No locks available')")
    world.no_longer_later()
    eventually(lambda: (row := world.waiting("a.odd")) and row.waits == 2, what="the second try")
    assert world.heard == []
    (world.place / "a.odd").write_text("pass")
    world.no_longer_later()
    assert found(world.told("a.odd")) == ["begun", "done"]
    assert world.trouble() == world.trouble("mounts") == ""


@pytest.mark.fault("F62")
def test_a_storage_that_is_away_for_a_day_is_told_at_the_file(world: World) -> None:
    """What is told once more later is another event, so that it counts."""
    world.say(builders.file_stored(builders.file_version("a.odd")))
    eventually(lambda: (row := world.waiting("a.odd")) and row.waits == 1, what="the first try")
    with world.service._store.transaction() as db:
        db.execute("UPDATE wanted SET waits = ?", (ledger.MOST_WAITS - 1,))
    world.no_longer_later()
    assert "No such file" in world.told("a.odd").files[0].problem
    assert 20 * 3600 < sum(ledger.BACKOFF.wait_s(n) for n in range(1, ledger.MOST_WAITS)) < 28 * 3600


@pytest.mark.fault("F62")
@pytest.mark.attack("S34")
def test_a_file_that_ends_its_reader_is_given_up_after_two_tries(world: World) -> None:
    """What it said until then is told with the reason; others are read between the two tries."""
    world.stored("bad.odd", "os.kill(os.getpid(), signal.SIGSEGV)")
    world.stored("good.odd")
    assert found(world.told("good.odd")) == ["begun", "done"]
    assert world.of("bad.odd") == []
    world.no_longer_later()
    told = world.told("bad.odd")
    assert found(told) == ["begun"]
    assert "SIGSEGV" in told.files[0].problem
    assert world.waiting("bad.odd") is None


@pytest.mark.attack("S34")
def test_files_that_take_long_keep_nobody_waiting(world: World) -> None:
    """They are left to another process, and of an upload that has one all others come later than everybody else's."""
    for number in range(20):
        world.stored(f"endless-{number}.odd", "time.sleep(600)")
    eventually(lambda: world.trouble() == "" and world.waiting("endless-19.odd"), what="the queue")
    world.say(builders.upload_requested().model_copy(update={"upload_id": "up-other"}))
    began = time.monotonic()
    world.stored("good.odd", upload_id="up-other")
    world.stored("later.odd", "time.sleep(6)", upload_id="up-other")
    assert found(world.told("good.odd")) == ["begun", "done"]
    assert time.monotonic() - began < FIRST_LOOK_S + 2
    with world.service._store.reading() as db:
        behind = eventually(lambda: db.execute("SELECT stored FROM wanted WHERE slow = 1").fetchall(), what="the slow")
        assert "endless-0.odd" in behind[0]["stored"]


@pytest.mark.fault("F62")
def test_a_file_that_takes_longer_than_a_first_look_is_read_to_its_end(world: World) -> None:
    """Nothing is said of the first look."""
    world.stored("long.odd", f"time.sleep({FIRST_LOOK_S + 0.5})")
    told = eventually(lambda: world.of("long.odd"), within_s=20, what="what the long one says")[0]
    assert (found(told), told.files[0].problem) == (["begun", "done"], "")
    assert len(world.of("long.odd")) == 1


@pytest.mark.fault("F62")
def test_of_slow_files_the_upload_with_the_fewest_is_read_first(tmp_path: Path) -> None:
    """And of the others, who has no slow file at all."""
    store = Store(tmp_path / "state.sqlite", [ledger.SCHEMA])
    with store.transaction() as db:
        for name, upload in (("a", "many"), ("b", "many"), ("c", "many"), ("d", "one"), ("e", "none")):
            event = builders.event(builders.file_stored(builders.file_version(name)))
            data = event.data.model_copy(update={"upload_id": upload})
            ledger.add(db, dataclasses.replace(event, data=data), data.files)
        db.execute("UPDATE wanted SET slow = 1 WHERE id IN (1, 2, 4)")  # a and b of many, d
        order = [ledger.begin(db, time.time(), slow=slow) for slow in (False, False, True, True)]
    assert [one and json.loads(one.stored)["file"]["path"] for one in order] == ["e", "c", "d", "a"]


@pytest.mark.fault("F62")
def test_pictures_are_sent_apart_from_values_and_of_an_upload_no_more_than_are_kept(world: World) -> None:
    """So that an event stays small, and the log of a facility holds more than pictures."""
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\2\0\0\0\2\x08\0\0\0\0"
    body = f"""
from datauploader.plugins.harvester import QuickLook
for number in range(3):
    yield QuickLook({head!r} + bytes(20_000) + b"\\0\\0\\0\\0IEND\\xaeB`\\x82", f"frame {{number}}")
"""
    plug_in = PLUG_IN.replace("    exec(path.read_text())\n", textwrap.indent(body, "    "))
    (world.folder / "site" / "odd.py").write_text(plug_in)
    world.start()
    world.asked()
    for number in range(MOST_OF_UPLOAD // 3 + 1):
        world.stored(f"{number}.odd", str(number))
        world.told(f"{number}.odd")
    last = f"{number}.odd"
    eventually(lambda: not world.waiting(last), what="all are read")
    facts = [fact for fact in (event.data for event in world.heard) if isinstance(fact, MetadataExtracted)]
    drawn = [picture for fact in facts for picture in fact.files[0].pictures]
    assert len(drawn) == MOST_OF_UPLOAD, facts[0].files[0].problem
    assert [picture.title for fact in world.of("0.odd") for picture in fact.files[0].pictures] == [
        "frame 0", "frame 1", "frame 2"
    ]  # fmt: skip
    assert all(len(encode(event)) <= LARGEST for event in world.heard)
    assert len(world.of("0.odd")) == 3, "one of values, two of pictures"
    assert [len(fact.files[0].parameters) for fact in world.of(last)] == [2]


def test_an_error_of_the_file_itself_is_final_at_once(world: World) -> None:
    """With all that was found before it."""
    world.stored("half.odd", "raise ValueError('the second half is damaged')")
    told = world.told("half.odd")
    assert found(told) == ["begun"]
    assert told.files[0].problem == "odd could not read all of it: the second half is damaged"


@pytest.mark.fault("F62")
@pytest.mark.attack("S34")
def test_a_file_that_ends_the_service_is_given_up_after_two_tries(world: World) -> None:
    """A try is counted before it: whoever dies of it knows at the next start."""
    world.stored("bad.odd", "time.sleep(600)")
    eventually(lambda: (row := world.waiting("bad.odd")) and row.tries == 1, what="the first try")
    world.stop()
    world.start()
    row = world.waiting("bad.odd")
    assert row is None or row.tries <= 1, "a stop in order is no try"
    eventually(lambda: (row := world.waiting("bad.odd")) and row.tries == 1, what="another try")
    with world.service._store.transaction() as db:
        db.execute("UPDATE wanted SET tries = 2")  # as two starts that were killed have left it
    world.stop()
    with world.service._store.transaction() as db:
        db.execute("UPDATE wanted SET tries = 2, due = 0")
    world.start()
    assert "the service crashed twice" in world.told("bad.odd").files[0].problem


@pytest.mark.fault("F62")
def test_a_full_disk_delays_and_ends_no_thread(world: World) -> None:
    """After a file was read, which is not read again for that, and before the next is begun; health says so."""
    world.stored(
        "slow.odd",
        "site = os.environ['PYTHONPATH']\nopen(site + '/reads', 'a').write('x')\n"
        "while not os.path.exists(site + '/go'): time.sleep(0.02)",
    )
    site = world.folder / "site"
    eventually((site / "reads").exists, what="the beginning")
    refuse(world, writes=True)
    (site / "go").touch()
    eventually(lambda: "free space on its disk" in world.trouble(), what="the disk is full")
    refuse(world, writes=False)
    assert found(world.told("slow.odd")) == ["begun", "done"]
    assert (site / "reads").read_text() == "x"
    world.say(builders.file_stored(builders.file_version("later.odd")))
    eventually(lambda: (row := world.waiting("later.odd")) and row.waits == 1, what="the first try")
    with world.service._store.transaction() as db:
        db.execute("UPDATE wanted SET due = ?", (time.time() + 0.1,))
    refuse(world, writes=True)
    world.service._wake()
    eventually(lambda: "free space on its disk" in world.trouble(), what="the disk is full")
    refuse(world, writes=False)
    eventually(lambda: (row := world.waiting("later.odd")) and row.waits == 2, what="the second try")
    eventually(lambda: not world.trouble(), what="all is well again")


def refuse(world: World, *, writes: bool) -> None:
    """Let the state file refuse writes, as on a full disk."""
    world.service._store._write.execute(f"PRAGMA query_only = {'ON' if writes else 'OFF'}")


@pytest.mark.fault("F62")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_is_dead_is_no_health(world: World) -> None:
    """Whatever has ended it."""
    assert world.trouble() == ""

    def ending(_: object) -> None:
        raise SystemExit

    world.service._step = ending
    world.service._wake()
    eventually(lambda: "has ended" in world.trouble(), what="health")


@pytest.mark.attack("S35")
def test_another_ones_object_is_not_read(world: World) -> None:
    """A station names as its own what lies elsewhere, or says that its upload goes there, or speaks of another's."""
    (world.store / "20250001" / "annas").mkdir()
    (world.store / "20250001" / "annas" / "scan.odd").write_text("pass")
    honest = builders.file_stored(builders.file_version("scan.odd"))
    forged = honest.files[0].model_copy(update={"object": "20250001/annas/scan.odd"})
    outside = honest.model_copy(update={"files": (forged,)})
    moved = Destination(remote=THERE.remote, location="20250001/annas")
    for said in (outside, outside.model_copy(update={"destination": moved})):
        world.say(said)
    world.outside.publish(builders.event(honest, at=ELSEWHERE)).result(60)
    world.stored("mine.odd")
    world.told("mine.odd")
    parked = eventually(
        lambda: len(found := world.outside.parked(harvester_queue("odd", []))) == 2 and found, what="parked messages"
    )
    assert ["lies outside" in one.reason for one in parked] == [True, False]
    assert all(one.reason.startswith("forbidden") for one in parked)
    assert (world.of("scan.odd"), world.waiting("scan.odd")) == ([], None)


def test_the_log_is_read_at_once_on_a_machine_that_was_just_started_and_then_once_an_hour(tmp_path: Path) -> None:
    """Its clock begins with its start: the first reading waits for nothing."""
    store, bus = Store(tmp_path / "h.sqlite", [ledger.SCHEMA]), connect(f"memory://{uuid.uuid4()}", name="harvester")
    now = [5.0]
    remembering = RequestRecovery(bus, store, lambda: now[0])

    def reads() -> bool:
        remembering.recover_upload()
        remembering.run_due()
        return remembering._reading is not None

    begun = []
    for at in (5.0, 3604.0, 3605.0):
        now[0] = at
        begun.append(reads())
        eventually(lambda: not begun[-1] or remembering._reading.done.is_set(), what="the log is read")
        remembering.stop(5)
    assert begun == [True, False, True]
    bus.close(5)
    store.close()


def test_uploads_from_before_the_harvester_are_found_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their requests are in no queue of a harvester that is started today."""
    (tmp_path / "odd.py").write_text(PLUG_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    world = World(tmp_path)
    world.asked()
    world.start()
    world.stored("a.odd")

    def known() -> bool:
        with world.service._store.reading() as db:
            return db.execute("SELECT 1 FROM asked").fetchone() is not None

    eventually(known, what="where the upload goes")
    world.stop()
    world.outside.close(5)


@pytest.mark.fault("F62")
def test_a_harvester_says_how_it_is(world: World) -> None:
    """Under an address of its own, with what keeps it from its work, and that it stops."""
    reports: list[Event[EventData]] = []
    queue = harvester_queue("reports", ["*.harvester.odd.station.reported.v1"])
    world.outside.consume(queue, lambda delivery: reports.append(delivery.event))
    world.stop()
    world.start(report_interval_s=0.2)
    eventually(lambda: reports and reports[-1].data.state == "ok", what="it is well")
    away = world.store.rename(world.store.with_name("away"))
    eventually(lambda: f"not readable here: {world.store}" in reports[-1].data.troubles, what="the trouble is told")
    away.rename(world.store)
    eventually(lambda: reports[-1].data.state == "ok", what="it is well again")
    world.stop()
    eventually(lambda: reports[-1].data.state == "stopping", what="it says that it stops")
    world.start()
