"""The transfer service with its real handlers, ledger and workers, on the memory engine and the memory mover."""

import hashlib
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from datauploader.contracts import (
    Destination,
    Event,
    EventData,
    FileFailed,
    FileReady,
    FileStored,
    FileVersion,
    Station,
    TransferProgressed,
    UploadControlled,
)
from datauploader.contracts.files import FailedFile, StoredFile
from datauploader.contracts.model import Question, microseconds
from datauploader.contracts.previews import DestinationContent, HeldObject
from datauploader.contracts.questions import (
    Datafiles,
    HashStored,
    KnownDatafile,
    ListDatafiles,
    LookAtDestination,
    StoredHash,
)
from datauploader.errors import QuestionRefused
from datauploader.messaging import connect
from datauploader.messaging.topology import catalog_queue, gateway_queue, watcher_queue
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_testing.waiting import eventually
from datauploader_transfer.memory_mover import MemoryMover, MemoryStorage
from datauploader_transfer.roots import RootMap, SourceRoots, Unmapped, paths_below
from datauploader_transfer.service import TransferService
from datauploader_transfer.settings import TransferSettings

HERE = Station(facility="elettra", beamline="xrd1", station="ws01")
UPLOAD = "upload-0001"


class World:
    """A transfer service, a folder of files, and everybody who hears what it says."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.settings = TransferSettings.model_validate({"movers": 2, **settings})
        self.source, self.state = folder / "source", folder / "state"
        self.source.mkdir(exist_ok=True)
        self.storage = MemoryStorage()
        self.url = f"memory://{uuid.uuid4()}"
        self.heard: list[EventData] = []
        self.revision = 0
        self.outside = connect(self.url, name="test")
        self.outside.consume(gateway_queue(), lambda delivery: self.heard.append(delivery.event.data))
        for queue in (watcher_queue(HERE), catalog_queue()):
            self.outside.consume(queue, lambda _delivery: None)
        self.catalogued: dict[str, tuple[KnownDatafile, ...]] = {}
        self.catalog_refuses = ""
        self.asked: list[str] = []
        self.outside.answer_stations("catalog", self._datafiles)
        self.start()

    def _datafiles(self, question: Question, _station: Station) -> Datafiles:
        """Answer as the catalog does."""
        assert isinstance(question, ListDatafiles)
        self.asked.append(question.upload_id)
        if self.catalog_refuses:
            raise QuestionRefused(self.catalog_refuses, "ask again later")
        return Datafiles(items=self.catalogued.get(question.upload_id, ()))

    def start(self) -> None:
        """Start the service on its state."""
        self.bus = connect(self.url, name="transfer")
        self.mover = MemoryMover({"store": self.storage})
        settings = Settings(facility="elettra", beamline="xrd1", station="ws01", state_dir=self.state)
        self.service = TransferService(Context(settings, self.bus), self.mover, self.settings)
        self.service.start()

    def stop(self) -> None:
        """Stop the service."""
        self.service.stop(5.0)
        self.bus.close()

    def lose_state(self) -> None:
        """Stop the service, and remove its state file as somebody may when the process has ended."""
        self.stop()
        self.service._store.close()  # the process does that by ending, and Windows removes nothing that is open
        for path in self.state.glob("transfer.sqlite*"):
            path.unlink()

    def write(self, name: str | bytes, content: bytes) -> FileVersion:
        """Write a file and describe the version."""
        raw = os.fsencode(name)
        path = Path(os.fsdecode(os.fsencode(self.source) + b"/" + raw))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.revision += 1
        return FileVersion.of(
            raw,
            size=len(content),
            mtime_ns=path.stat().st_mtime_ns,
            sha256=hashlib.sha256(content).hexdigest(),
            md5=hashlib.md5(content).hexdigest(),
            revision=self.revision,
        )

    def announce(
        self,
        *files: FileVersion,
        remote: str = "store",
        upload_id: str = UPLOAD,
        continues: tuple[str, ...] = (),
    ) -> None:
        """Say that these versions are ready."""
        destination = Destination(remote=remote, location="20260101/run1")
        ready = FileReady(
            upload_id=upload_id,
            root=str(self.source),
            destination=destination,
            continues=continues,
            files=files,
        )
        self.say(ready)

    def say(self, data: EventData) -> None:
        """Publish an event as another service would."""
        self.outside.publish(Event(data=data, station=HERE, service="test")).result(60)

    def compact(self) -> None:
        """Let a month pass, and the upkeep of the state file do its work."""
        with self.service._store.transaction() as db:
            db.execute("UPDATE uploads SET touched = touched - 30 * 86400")
        while self.service._upkeep.tidy():
            pass

    def control(self, action: str) -> None:
        """Steer the upload."""
        self.say(UploadControlled.model_validate({"upload_id": UPLOAD, "action": action, "requested_by": {"id": "1"}}))

    def stored(self, count: int = 1) -> list[StoredFile]:
        """Wait for so many stored files."""
        return eventually(lambda: self._at_least(count, FileStored), what=f"{count} stored files")

    def failed(self, count: int = 1) -> list[FailedFile]:
        """Wait for so many failures."""
        return eventually(lambda: self._at_least(count, FileFailed), what=f"{count} failed files")

    def _at_least(self, count: int, kind: type[FileStored] | type[FileFailed]) -> list:
        files = [file for data in list(self.heard) if isinstance(data, kind) for file in data.files]
        return files if len(files) >= count else []


@pytest.mark.fault("F54")
def test_a_resume_works_at_once_when_the_clock_of_the_pause_was_ahead(world: World) -> None:
    """The gateway's clock was put right in between: its numbers say what came later."""
    now = datetime.now(UTC)
    for number, (action, at) in enumerate((("pause", now + timedelta(hours=2)), ("resume", now))):
        data = UploadControlled.model_validate({"upload_id": UPLOAD, "action": action, "requested_by": {"id": "1"}})
        event = Event(data=data, station=HERE, service="test", time=at, sequence=microseconds(now) + number)
        world.outside.publish(event).result(60)
    world.announce(world.write("a.dat", b"one"))
    world.stored()


@pytest.mark.fault("F54")
def test_a_pause_that_began_with_the_clock_ahead_ends_when_the_clock_is_put_right(world: World) -> None:
    """No file waits longer than the longest pause for its next attempt."""
    world.control("pause")
    world.announce(world.write("a.dat", b"one"))
    path = world.state / "transfer.sqlite"

    def waits() -> int:
        with closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT count(*) FROM jobs WHERE state = 'waiting'").fetchone()[0]

    eventually(lambda: waits() == 1, what="the file waits")
    world.stop()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE jobs SET due = ?, attempts = 3", (time.time() + 7200,))
    world.start()
    world.control("resume")
    world.stored()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A running transfer service."""
    made = World(tmp_path)
    yield made
    made.stop()
    made.outside.close()


def test_a_ready_file_is_stored_and_verified(world: World) -> None:
    """What is stored are the bytes of the source, under the upload's location, and the receipt says how it is known."""
    world.announce(world.write("a/b.h5", b"data"))
    (stored,) = world.stored()
    assert stored.state == "verified"
    assert stored.method == "backend md5"
    assert stored.object == "20260101/run1/a/b.h5"
    assert world.storage.objects == {"20260101/run1/a/b.h5": b"data"}


def test_a_receipt_says_how_long_the_proof_took_and_one_that_is_repeated_does_not(world: World) -> None:
    """Of what was sent and proved; both have the same id, as what they say of the files is the same."""
    one = world.write("a", b"data")
    world.announce(one)
    world.stored()
    world.announce(one)
    world.stored(2)
    world.storage.hashes, world.storage.read_back = (), False
    world.announce(world.write("b", b"data"))
    world.stored(3)
    first, again, unproved = (data.proof_ms for data in world.heard if isinstance(data, FileStored))
    assert first is not None
    assert again is unproved is None


def test_a_storage_without_hashes_is_read_back(world: World) -> None:
    """Without a hash of the storage's own the bytes are read back; with that switched off the file is unverified."""
    world.storage.hashes = ()
    world.announce(world.write("a", b"data"))
    assert world.stored()[0].method == "read back"
    world.storage.read_back = False
    world.announce(world.write("b", b"data"))
    assert [s.state for s in world.stored(2)] == ["verified", "unverified"]


@pytest.mark.posix  # names of any bytes
def test_any_name_survives(world: World) -> None:
    """A name that is no UTF-8 is stored under its own bytes and told as text that can be read back."""
    world.announce(world.write(b"n\xffme", b"data"), world.write("Ελλάς/\nx", b"data"))
    objects = {stored.object for stored in world.stored(2)}
    assert objects == {"20260101/run1/n\\xffme", "20260101/run1/Ελλάς/\nx"}
    answer = world.outside.ask(HashStored(remote="store", object="20260101/run1/n\\xffme"), StoredHash, station=HERE)
    assert answer.result(60) == StoredHash(found=True, digests={"md5": hashlib.md5(b"data").hexdigest()}, size=4)


def test_a_newer_version_replaces_our_own_object(world: World) -> None:
    """The second version overwrites the first, which we wrote; that is no conflict."""
    world.announce(world.write("a", b"one"))
    world.stored()
    world.announce(world.write("a", b"two!"))
    assert world.stored(2)[1].file.size == 4
    assert world.storage.objects["20260101/run1/a"] == b"two!"


@pytest.mark.fault("F38")
def test_a_foreign_object_is_a_conflict_and_stays(world: World) -> None:
    """What we did not write is never overwritten; the failure is final and says what to do."""
    world.storage.objects["20260101/run1/a"] = b"theirs"
    world.announce(world.write("a", b"ours!!"))
    (failed,) = world.failed()
    assert (failed.reason, failed.final) == ("conflict", True)
    assert failed.hint
    assert world.storage.objects["20260101/run1/a"] == b"theirs"
    del world.storage.objects["20260101/run1/a"]
    world.control("retry")
    assert world.stored()[0].file.path == "a"


def test_a_changed_and_a_vanished_source_are_told_and_not_stored(world: World) -> None:
    """A version that is no longer there is never stored in its name."""
    changed, gone = world.write("changed", b"one"), world.write("gone", b"one")
    (world.source / "changed").write_bytes(b"other")
    (world.source / "gone").unlink()
    world.announce(changed, gone)
    assert {failed.reason for failed in world.failed(2)} == {"source-changed", "source-gone"}
    assert not world.storage.objects


@pytest.mark.fault("F32")
def test_a_storage_that_is_away_delays_and_loses_nothing(world: World) -> None:
    """While the storage is away its trouble is shown, once a file; when it is back everything is stored."""
    world.storage.down = "dial tcp 127.0.0.1:1: connect: connection refused"
    world.announce(*(world.write(f"f{n}", b"data") for n in range(20)))
    failed = world.failed(20)
    assert {(f.reason, f.final) for f in failed} == {("unreachable", False)}
    eventually(lambda: any("store" in c.name for c in world.service.checks()), what="the trouble is shown")
    eventually(lambda: any(isinstance(d, TransferProgressed) and d.trouble for d in world.heard), what="and published")
    world.storage.down = ""
    world.stored(20)
    assert len(world.failed()) == 20, "each failure is told once, not at every attempt"


@pytest.mark.fault("F29")
def test_a_damaging_network_is_never_believed(world: World) -> None:
    """Bytes that arrive changed are not verified; a retry over a good network stores them."""
    world.storage.damage = lambda content: content[:-1] + bytes([content[-1] ^ 1])
    world.announce(world.write("a", b"data"))
    assert world.failed()[0].reason == "mismatch"
    world.storage.damage = None
    world.control("retry")
    assert world.stored()[0].state == "verified"


@pytest.mark.attack("S17")
def test_an_unknown_remote_is_refused_in_a_sentence(world: World) -> None:
    """The failure is final and names the remotes that are known."""
    world.announce(world.write("a", b"data"), remote="nowhere")
    (failed,) = world.failed()
    assert failed.final
    assert "store" in failed.detail


def test_a_repeated_announcement_is_answered_with_its_receipt(world: World) -> None:
    """A station that lost its receipts hears them again; nothing is sent twice."""
    file = world.write("a", b"data")
    world.announce(file)
    world.stored()
    world.storage.down = "nobody may ask the storage again"
    world.announce(file)
    first, second = world.stored(2)
    assert first == second


def test_the_receipt_for_a_repeated_announcement_names_the_revision_that_was_announced(world: World) -> None:
    """A station that lost its state numbers its versions anew; the receipt must close the new number."""
    file = world.write("a", b"data")
    world.announce(file)
    world.stored()
    renumbered = file.model_copy(update={"revision": file.revision + 1})
    world.announce(renumbered)
    assert world.stored(2)[1].file == renumbered


@pytest.mark.fault("F32")
def test_a_retry_ends_the_pause_of_the_storage(world: World) -> None:
    """Whoever has mended the storage does not wait an hour because it once asked for that."""
    world.storage.down = "dial tcp 127.0.0.1:1: connect: connection refused"
    world.announce(world.write("a", b"x"))
    world.failed()
    world.service._worker.breaker.note_failure("store", "429", time.time() + 3, retry_after_s=3600)
    world.storage.down = ""
    assert world.service._worker.breaker.resting("store", time.time() + 60)
    world.control("retry")
    world.stored()


def test_pause_holds_and_resume_goes_on(world: World) -> None:
    """A paused upload moves nothing, and says so; another one goes on."""
    world.announce(world.write("a", b"data"))
    world.stored()
    world.control("pause")
    world.announce(world.write("b", b"data"))
    eventually(lambda: any(isinstance(d, TransferProgressed) and d.paused for d in world.heard), what="paused is shown")
    world.announce(world.write("c", b"data"), upload_id="upload-0002")
    assert world.stored(2)[1].file.path == "c"
    world.control("resume")
    assert world.stored(3)[2].file.path == "b"


def test_a_cancelled_upload_moves_nothing_more(world: World) -> None:
    """What waits after a cancel is never moved, whatever comes later."""
    world.announce(world.write("a", b"data"))
    world.stored()
    world.control("cancel")
    world.control("resume")
    world.announce(world.write("b", b"data"))
    world.announce(world.write("c", b"data"), upload_id="upload-0002")
    assert world.stored(2)[1].file.path == "c"
    assert "20260101/run1/b" not in world.storage.objects


def test_what_waits_at_a_stop_is_moved_after_the_start(world: World) -> None:
    """A stop loses nothing."""
    world.storage.down = "connection refused"
    world.announce(world.write("a", b"data"))
    world.failed()
    world.stop()
    world.storage.down = ""
    world.start()
    assert world.stored()[0].file.path == "a"


@pytest.mark.fault("F36")
def test_what_a_crash_left_half_written_is_swept_before_anything_else_moves(world: World) -> None:
    """The file has a new version by then, so nothing else would ever write over what was left of the old one."""
    world.storage.down = "connection refused"
    world.announce(world.write("a", b"old"))
    world.failed()
    world.stop()
    with closing(sqlite3.connect(world.state / "transfer.sqlite")) as db, db:  # as SIGKILL leaves it
        db.execute("UPDATE jobs SET state = 'moving'")
    world.storage.down = ""
    world.storage.objects = {"20260101/run1/a.0a1b2c3d.du.partial": b"o", "20260101/run1/b.0a1b2c3d.du.partial": b"b"}
    world.announce(world.write("a", b"new version"))
    world.start()
    world.stored()
    assert set(world.storage.objects) == {"20260101/run1/a", "20260101/run1/b.0a1b2c3d.du.partial"}


@pytest.mark.fault("F51")
@pytest.mark.parametrize("gone", [False, True], ids=["replaced", "source gone"])
def test_what_was_written_and_never_proved_is_no_foreign_file_afterwards(world: World, *, gone: bool) -> None:
    """The batch breaks off after something nobody has announced has arrived; at the next try it is known as ours."""
    name = "20260101/run1/a"

    def broken(_content: bytes) -> bytes:
        world.storage.objects[name] = b"what nobody has announced, and longer than it"
        world.storage.damage = None
        if gone:
            (world.source / "a").unlink()
        raise RuntimeError("the process ends here")

    world.storage.damage = broken
    world.announce(world.write("a", b"announced"))
    if gone:
        assert world.failed()[0].reason == "source-gone"
        assert not world.storage.objects
    else:
        world.stored()
        assert world.storage.objects == {name: b"announced"}
    eventually(lambda: not _unproved(world), what="nothing is unproved any more")


def _unproved(world: World) -> list[tuple[str]]:
    with closing(sqlite3.connect(world.state / "transfer.sqlite")) as db:
        return db.execute("SELECT object FROM owners WHERE digests = 'unproved'").fetchall()


@pytest.mark.posix  # where a station's folder is mounted
@pytest.mark.parametrize(
    ("root", "expected"),
    [("D:\\data\\run1", "/mnt/ws02/run1/a"), ("d:/DATA/Run1", "/mnt/ws02/Run1/a"), ("D:\\other", None)],
)
def test_a_stations_folder_is_found_where_it_is_mounted(root: str, expected: str | None) -> None:
    """Windows folders are compared without case; what no map covers is refused with a sentence."""
    station = Station(facility="elettra", beamline="xrd1", station="ws02")
    maps = [RootMap.model_validate({"station": "elettra.xrd1.ws02", "from": "D:\\data", "to": "/mnt/ws02"})]
    if expected is None:
        with pytest.raises(Unmapped, match="root_maps"):
            SourceRoots(HERE, maps).folder_of(root.encode(), station)
    else:
        assert paths_below(SourceRoots(HERE, maps).folder_of(root.encode(), station), [b"a"]) == [expected]


@pytest.mark.attack("S30")
@pytest.mark.posix  # links, which Wine does not have
def test_a_station_has_files_moved_from_its_roots_alone(tmp_path: Path) -> None:
    """Whoever holds its password could name any folder; a root may be a link, and dots lead nowhere."""
    real, link = tmp_path / "data", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    for roots in ((real,), (link,)):
        places = SourceRoots(HERE, (), roots)
        assert places.folder_of(bytes(real / "run1"), HERE) == real / "run1"
        for root in (b"/etc", bytes(real) + b"/../../etc", bytes(real) + b"-2"):
            with pytest.raises(Unmapped, match="below none of the folders in roots"):
                places.folder_of(root, HERE)


def steering(action: str, at: datetime) -> Event[EventData]:
    """Build a command of that time."""
    data = UploadControlled.model_validate({"upload_id": UPLOAD, "action": action, "requested_by": {"id": "1"}})
    return Event(data=data, station=HERE, service="gateway", time=at)


@pytest.mark.fault("F26")
@pytest.mark.parametrize("known", [True, False], ids=["known", "not known yet"])
def test_a_pause_that_comes_behind_a_later_resume_changes_nothing(world: World, known: bool) -> None:
    """Who says so last is right, in whatever order it is heard."""
    if known:
        world.announce(world.write("a", b"data"))
        world.stored()
    now = datetime.now(UTC)
    for event in (steering("resume", now), steering("pause", now - timedelta(seconds=1))):
        world.outside.publish(event).result(60)
    world.announce(world.write("b", b"data"))
    assert world.stored(1 + known)[-1].file.path == "b"


@pytest.mark.fault("F26")
def test_a_cancellation_that_comes_before_the_first_file_holds(world: World) -> None:
    """Its files stay where they are, and others flow."""
    world.control("cancel")
    world.announce(world.write("a", b"data"))
    world.announce(world.write("b", b"data"), upload_id="upload-0002")
    assert world.stored()[0].file.path == "b"
    assert "20260101/run1/a" not in world.storage.objects


@pytest.mark.fault("F28")
def test_a_lost_ledger_knows_again_from_the_log_what_it_wrote(world: World) -> None:
    """An object that holds our older version is no conflict."""
    world.announce(world.write("a", b"old"))
    world.stored()
    world.lose_state()
    world.start()
    world.announce(world.write("a", b"newer"))
    assert world.stored(2)[1].file.size == len(b"newer")
    assert not [data for data in world.heard if isinstance(data, FileFailed)]


def test_a_full_disk_delays_and_ends_no_thread(world: World) -> None:
    """The state file cannot be written for a while; what waits is moved afterwards."""
    with structlog.testing.capture_logs() as logs:
        world.storage.down = "connection refused"
        world.announce(world.write("a", b"data"))
        world.failed()
        movers = _movers()
        world.service._store._write.execute("PRAGMA query_only = ON")
        world.storage.down = ""
        eventually(lambda: any(line["event"] == "state_file_write_failed" for line in logs), what="the disk is full")
        world.service._store._write.execute("PRAGMA query_only = OFF")
    assert world.stored()[0].file.path == "a"
    assert _movers() == movers


def _movers() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("mover")}


def test_what_we_have_written_ourselves_is_not_foreign_at_the_destination(world):
    """A continued upload may replace it; anybody else's is named, and where there are too many, that is said."""
    world.announce(world.write("ours.h5", b"data"))
    world.stored()
    world.storage.objects["20260101/run1/theirs.h5"] = b"other"

    def ask() -> DestinationContent:
        question = LookAtDestination(remote="store", location="20260101/run1", continues=(UPLOAD,))
        return world.outside.ask(question, DestinationContent, station=HERE).result(60)

    assert ask().foreign == (HeldObject(path="theirs.h5", size=5),)
    assert not ask().foreign_partial
    world.storage.objects |= {f"20260101/run1/{number:03}{'x' * 190}": b"" for number in range(200)}
    many = ask()
    assert many.foreign_partial
    assert 50 < len(many.foreign) < 200


def test_what_the_destination_holds_is_answered(world):
    """Objects, bytes and some names; a storage that is down is no empty one."""
    world.storage.objects |= {"20260101/run1/a": b"12345", "20260101/run2/b": b"1"}

    def ask() -> DestinationContent:
        question = LookAtDestination(remote="store", location="20260101/run1")
        return world.outside.ask(question, DestinationContent, station=HERE).result(60)

    foreign = (HeldObject(path="a", size=5),)
    assert ask() == DestinationContent(exists=True, objects=1, bytes=5, first=("a",), foreign=foreign)
    world.storage.down = "connection refused"
    with pytest.raises(QuestionRefused):
        ask()
