"""Audits by the transfer service: real handlers, ledger and comparison, on the memory engine and the memory mover."""

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datauploader.contracts import (
    AuditReported,
    AuditRequested,
    Destination,
    Event,
    EventData,
    FileReady,
    FileStored,
    FileVersion,
    Person,
    Station,
    StoredFile,
    UploadControlled,
)
from datauploader.contracts.questions import Datafiles, KnownDatafile, ListDatafiles
from datauploader.contracts.uploads import manifest_digest
from datauploader.errors import QuestionRefused
from datauploader.messaging import connect
from datauploader.messaging.topology import catalog_queue, gateway_queue, watcher_queue
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_testing.waiting import eventually
from datauploader_transfer import auditing
from datauploader_transfer.memory_mover import MemoryMover, MemoryStorage
from datauploader_transfer.service import TransferService
from datauploader_transfer.settings import TransferSettings

HERE = Station(facility="elettra", beamline="xrd1", station="ws01")
UPLOAD = "upload-0001"
LOCATION = "20260101/run1"
DESTINATION = Destination(remote="store", location=LOCATION)
ANNA = Person(id="1101", name="Anna")


class World:
    """A transfer service, what a catalog would have of its upload, and everybody who hears what it says."""

    def __init__(self, folder: Path, *, long_ago: bool) -> None:
        self.long_ago = long_ago
        self.source, self.state = folder / "source", folder / "state"
        self.source.mkdir()
        self.storage = MemoryStorage()
        self.url = f"memory://{uuid.uuid4()}"
        self.heard: list[EventData] = []
        self.catalogued: dict[bytes, StoredFile] = {}
        self.refusal = ""
        self.page = 500
        self.hesitate: Callable[[], None] = lambda: None
        self.outside = connect(self.url, name="test")
        self.outside.consume(gateway_queue(), lambda delivery: self.heard.append(delivery.event.data))
        for queue in (watcher_queue(HERE), catalog_queue()):
            self.outside.consume(queue, lambda _delivery: None)
        self.outside.answer_stations("catalog", self.answer)
        self.start()

    def answer(self, question: ListDatafiles, _station: Station) -> Datafiles:
        """Answer as the catalog does, page by page."""
        self.hesitate()
        if self.refusal:
            raise QuestionRefused(self.refusal, "not now")
        files = [self.catalogued[raw] for raw in sorted(self.catalogued)]
        start = int(question.after or 0)
        items = tuple(KnownDatafile(stored=one, registered=True) for one in files[start : start + self.page])
        more = start + self.page < len(files)
        return Datafiles(items=items, next=str(start + self.page) if more else "")

    def start(self) -> None:
        """Start the service on its state."""
        self.bus = connect(self.url, name="transfer")
        settings = Settings(facility="elettra", beamline="xrd1", station="ws01", state_dir=self.state)
        mover = MemoryMover({"store": self.storage})
        self.service = TransferService(Context(settings, self.bus), mover, TransferSettings(movers=2))
        self.service.start()

    def stop(self) -> None:
        """Stop the service."""
        self.service.stop(5.0)
        self.bus.close()

    def say(self, data: EventData) -> None:
        """Publish an event as another service would."""
        self.outside.publish(Event(data=data, station=HERE, service="test")).result(60)

    def store(self, **files: bytes) -> None:
        """Have files uploaded, and catalogued."""
        versions = []
        for name, content in files.items():
            path = self.source / name
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            versions.append(
                FileVersion.of(
                    name.encode(), size=len(content), mtime_ns=path.stat().st_mtime_ns, sha256=digest,
                    md5=hashlib.md5(content).hexdigest(), revision=1,
                )
            )  # fmt: skip
        before = len(self.all(FileStored))
        self.say(FileReady(upload_id=UPLOAD, root=str(self.source), destination=DESTINATION, files=tuple(versions)))
        stored = eventually(lambda: self.all(FileStored)[before:], what="the files are stored")
        self.catalogued |= {one.file.raw: one for event in stored for one in event.files}
        if self.long_ago:
            with self.service._store.transaction() as db:
                db.execute("UPDATE uploads SET touched = touched - 30 * 86400")
            while self.service._upkeep.tidy():
                pass

    def all(self, kind):
        """Return the events of a kind that were heard."""
        return [event for event in list(self.heard) if isinstance(event, kind)]

    def manifest(self) -> str:
        """Return the digest of what the catalog has."""
        return manifest_digest((raw, one.file.sha256) for raw, one in self.catalogued.items())

    def ask(self, audit: str = "audit-0001", **more) -> None:
        """Ask for an audit of the manifest."""
        size = sum(one.file.size for one in self.catalogued.values())
        more = {"manifest_sha256": self.manifest(), "files": len(self.catalogued), "bytes": size} | more
        self.say(AuditRequested(upload_id=UPLOAD, audit=audit, destination=DESTINATION, **more))

    def reports(self, count: int = 1) -> list[AuditReported]:
        """Wait for so many reports."""

        def found():
            reports = self.all(AuditReported)
            return reports if len(reports) >= count else []

        return eventually(found, what=f"{count} reports")


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> Iterator[World]:
    """A running transfer service that does not wait long before it looks twice."""
    monkeypatch.setattr(auditing, "AGAIN_S", 0.1)
    made = World(tmp_path, long_ago=getattr(request, "param", False))
    yield made
    made.stop()
    made.outside.close()


LONG_AGO = pytest.mark.parametrize("world", [False, True], ids=["lately", "long ago"], indirect=True)
"""Files were stored lately, or so long ago that their rows are compacted."""


def kinds(report: AuditReported) -> dict[str, tuple[str, ...]]:
    """Return the names by kind of difference."""
    return {one.kind: one.first for one in report.differences}


def hashes(report: AuditReported) -> dict[str, int]:
    """Return how many files were compared by which hash."""
    return {one.algorithm: one.files for one in report.hashes}


@LONG_AGO
def test_where_all_is_well_nothing_differs_and_the_report_says_what_was_compared(world) -> None:
    """Names, sizes and the storage's own hash, of exactly the manifest that was asked about."""
    world.store(a=b"1", b=b"22")
    world.page = 1

    world.ask(requested_by=ANNA)

    (report,) = world.reports()
    assert report.well
    assert (report.files, report.bytes, report.objects) == (2, 3, 2)
    assert (hashes(report), report.read, report.requested_by) == ({"md5": 2}, 0, ANNA)
    assert report.manifest_sha256 == world.manifest()


def test_what_is_missing_cut_altered_or_foreign_is_told_by_name(world) -> None:
    """After a second look, since some storages list late."""
    world.store(gone=b"1", cut=b"22", altered=b"333", well=b"4")
    del world.storage.objects[f"{LOCATION}/gone"]
    world.storage.objects[f"{LOCATION}/cut"] = b"2"
    world.storage.objects[f"{LOCATION}/altered"] = b"334"
    world.storage.objects[f"{LOCATION}/sub/README"] = b"hello"

    world.ask()

    (report,) = world.reports()
    assert not report.well
    assert kinds(report) == {
        "missing": ("gone",), "cut": ("cut",), "altered": ("altered",), "foreign": ("sub/README",),
    }  # fmt: skip


def test_an_object_that_appears_between_two_looks_is_not_called_missing(world, monkeypatch) -> None:
    """A storage that lists late has time to do so."""
    world.store(late=b"1")
    content = world.storage.objects.pop(f"{LOCATION}/late")
    monkeypatch.setattr(auditing, "AGAIN_S", 500.0)
    world.ask()
    eventually(lambda: attempts(world) == 1, what="a first look")

    world.storage.objects[f"{LOCATION}/late"] = content
    world.ask()

    assert world.reports()[0].well


def attempts(world: World) -> int:
    """Return how often the audit was tried."""
    with world.service._store.reading() as db:
        return int(db.execute("SELECT coalesce(max(attempts), 0) FROM audits").fetchone()[0])


def test_a_change_of_the_same_size_without_hashes_is_found_by_reading_alone(world) -> None:
    """The report says that sizes and names alone were compared."""
    world.storage.hashes = ()
    world.store(a=b"AAAA")
    world.storage.objects[f"{LOCATION}/a"] = b"BBBB"

    world.ask("audit-fast")
    (report,) = world.reports()
    assert (report.well, hashes(report), report.read) == (True, {}, 0)

    world.ask("audit-slow", read=True)
    report = world.reports(2)[1]
    assert (kinds(report), report.read) == ({"altered": ("a",)}, 1)


@LONG_AGO
def test_what_we_wrote_and_nobody_wants_any_more_is_ours_and_does_not_block(world) -> None:
    """Its source was renamed or deleted between copy and receipt."""
    world.store(a=b"1", renamed=b"22")
    del world.catalogued[b"renamed"]
    world.storage.objects[f"{LOCATION}/a.01234567.du.partial"] = b""

    world.ask()

    (report,) = world.reports()
    assert report.well
    assert kinds(report) == {"leftover": ("a.01234567.du.partial",), "ours": ("renamed",)}


def test_what_a_person_accepts_is_well_and_told_all_the_same(world) -> None:
    """Only what nobody ordered can be accepted."""
    world.store(a=b"1")
    world.storage.objects[f"{LOCATION}/README"] = b"hello"

    world.ask(accept=True, requested_by=ANNA)

    (report,) = world.reports()
    assert report.well
    assert report.accepted
    assert kinds(report) == {"foreign": ("README",)}
    del world.storage.objects[f"{LOCATION}/a"]
    world.ask("audit-0002", accept=True)
    assert not world.reports(2)[1].well


def test_a_storage_that_is_away_is_told_once_and_looked_at_when_it_is_back(world) -> None:
    """The trouble is no finding, and not the last word."""
    world.store(a=b"1")
    world.storage.down = "connection refused"
    world.ask()
    (report,) = world.reports()
    assert "could not be compared" in report.trouble
    assert (report.final, report.well) == (False, False)
    eventually(lambda: attempts(world) > 1, what="another try")
    assert len(world.all(AuditReported)) == 1

    world.storage.down = ""
    world.ask()

    assert world.reports(2)[1].well


def test_a_catalog_that_is_away_is_asked_again(world) -> None:
    """The list comes from it."""
    world.store(a=b"1")
    world.refusal = "unavailable"
    world.ask()
    assert not world.reports()[0].final

    world.refusal = ""
    world.ask()

    assert world.reports(2)[1].well


def test_a_list_that_is_lost_or_another_one_is_said_to_be_so(world) -> None:
    """Nothing is compared with a list that is not the manifest's."""
    world.store(a=b"1")
    world.ask("audit-0001", manifest_sha256="0" * 64)
    assert "of the sealed manifest" in world.reports()[0].trouble
    lost = {"manifest_sha256": world.manifest(), "files": 1}
    world.catalogued.clear()

    world.ask("audit-0002", **lost)

    report = world.reports(2)[1]
    assert "no longer has the list of this dataset's files" in report.trouble
    assert report.final


def test_an_audit_is_answered_without_a_ledger_of_what_was_moved(world) -> None:
    """What should lie there the catalog says."""
    world.store(a=b"1")
    world.stop()
    world.service._store.close()  # the process does that by ending, and Windows removes nothing that is open
    for path in world.state.iterdir():
        path.unlink()
    world.start()

    world.ask()

    assert world.reports()[0].well


def test_the_same_audit_asked_for_again_is_told_again_and_not_done_again(world) -> None:
    """A report may have been lost on its way."""
    world.store(a=b"1")
    world.ask()
    (first,) = world.reports()
    del world.storage.objects[f"{LOCATION}/a"]

    world.ask()

    assert world.reports(2)[1] == first


def test_an_audit_that_was_cut_off_is_begun_again_at_the_next_start(world) -> None:
    """It was written down before it was acknowledged."""
    world.store(a=b"1")
    world.storage.down = "connection refused"
    world.ask()
    world.reports()
    world.stop()
    world.storage.down = ""

    world.start()

    assert world.reports(2)[1].well


@LONG_AGO
def test_a_retry_sends_what_is_missing_or_cut_again_and_the_next_audit_waits_for_it(world) -> None:
    """From the station's disk, where it still is."""
    world.store(gone=b"1", cut=b"22")
    del world.storage.objects[f"{LOCATION}/gone"]
    world.storage.objects[f"{LOCATION}/cut"] = b"2"
    world.ask()
    assert not world.reports()[0].well

    world.say(UploadControlled(upload_id=UPLOAD, action="retry", requested_by=ANNA))
    world.ask("audit-0002")

    assert world.reports(2)[1].well
    assert world.storage.objects[f"{LOCATION}/gone"] == b"1"
    assert world.storage.objects[f"{LOCATION}/cut"] == b"22"


@LONG_AGO
def test_a_retry_does_not_write_over_what_was_altered(world) -> None:
    """Whose bytes these are nobody knows: a person must look."""
    world.store(a=b"AAAA")
    world.storage.objects[f"{LOCATION}/a"] = b"BBBB"
    world.ask()
    assert not world.reports()[0].well

    world.say(UploadControlled(upload_id=UPLOAD, action="retry", requested_by=ANNA))
    world.ask("audit-0002")

    assert kinds(world.reports(2)[1]) == {"altered": ("a",)}
    assert world.storage.objects[f"{LOCATION}/a"] == b"BBBB"


@pytest.mark.fault("F52")
def test_two_names_in_one_object_are_found_after_both_were_verified(world) -> None:
    """The storage cuts names: each file was right when it was looked at."""
    world.storage.alias = lambda name: name[: len(LOCATION) + 6]
    world.store(longname1=b"same")
    world.store(longname2=b"same")

    world.ask()

    report = world.reports()[0]
    assert not report.well
    assert kinds(report)["doubled"] == ("longname1", "longname2")


def test_the_storage_is_listed_while_the_list_of_files_is_asked_for(world) -> None:
    """Each of the two waits for the other one's beginning."""
    asked, listed = threading.Event(), threading.Event()

    class Objects(dict[str, bytes]):
        def items(self):
            listed.set()
            assert asked.wait(60)
            return super().items()

    def hesitate() -> None:
        asked.set()
        assert listed.wait(60)

    world.store(a=b"one", b=b"two")
    world.storage.objects = Objects(world.storage.objects)
    world.hesitate = hesitate
    world.ask()
    assert world.reports()[0].well


def test_a_request_that_says_no_bytes_is_answered_as_well(world) -> None:
    """Earlier releases say none."""
    world.store(a=b"one", b=b"two")
    world.ask(bytes=None)
    (report,) = world.reports()
    assert report.well
    assert report.bytes == 6
