"""A station with its real watcher, folder and state, and everything around it that it hears and says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from datauploader.contracts import (
    CataloguedFile,
    DatasetCompleted,
    DatasetSpec,
    Destination,
    Event,
    EventData,
    FailedFile,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    FileReady,
    FileStored,
    FileVersion,
    Person,
    Station,
    StoredFile,
    UploadControlled,
    UploadOpened,
    UploadRequested,
    UploadSealed,
)
from datauploader.contracts.model import Question
from datauploader.contracts.paths import FilePath
from datauploader.contracts.questions import Datafiles, KnownDatafile, ListDatafiles
from datauploader.messaging.memory.bus import MemoryBroker
from datauploader.messaging.topology import catalog_queue, gateway_queue, transfer_queue
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_testing.waiting import eventually
from datauploader_watcher.adapters.disk import LocalDisk, OpenDisk
from datauploader_watcher.clock import Clock
from datauploader_watcher.service import Watcher
from datauploader_watcher.settings import WatcherSettings

HERE = Station(facility="elettra", beamline="xrd1", station="ws01")
UPLOAD = "upload-0001"
DESTINATION = Destination(remote="store", location="20260101/run1")
ANNA = Person(id="1101", name="Anna")
D = TypeVar("D", bound=EventData)


class World:
    """A watcher and its surroundings."""

    def __init__(self, folder: Path) -> None:
        """Make the surroundings; the watcher starts with `start`."""
        self.root = folder / "data"
        self.root.mkdir()
        self.state = folder / "state"
        self.heard: list[Event[EventData]] = []
        self.broker = MemoryBroker(delays=(0.05, 0.1))
        self.outside = self.broker.bus("test")
        self.files_announced = 0
        self._newest: dict[bytes, FileVersion] = {}
        self.outside.consume(gateway_queue(), lambda delivery: self.hear(delivery.event))
        for queue in (catalog_queue(), transfer_queue(HERE)):
            self.outside.consume(queue, lambda _delivery: None)
        self.registered: dict[tuple[str, bytes], KnownDatafile] = {}
        """What the catalog was said to have, by upload and name."""
        self.recalled: Callable[[ListDatafiles, Station], Datafiles] = self._registered
        """What the catalog says that it has."""
        self.outside.answer_stations("catalog", self._recall)
        self.watcher: Watcher | None = None
        self.remotes: dict[str, dict[str, object]] = {"store": {}}
        """What the station knows of the facility's remotes."""
        self.settings: dict[str, object] = {
            "roots": (self.root,), "report_interval_s": 0.2, "scan_interval_s": 0.5, "rule_interval_s": 0.1,
            "catalogue_patience_s": 0,
        }  # fmt: skip

    def start(self, *, disks: OpenDisk = LocalDisk, clock: Clock | None = None, **settings: object) -> Watcher:
        """Start the watcher on its state."""
        self.bus = self.broker.bus("watcher")
        general = Settings(
            facility="elettra", beamline="xrd1", station="ws01", state_dir=self.state, remotes=self.remotes
        )  # fmt: skip
        own = WatcherSettings(**{**self.settings, **settings})
        self.watcher = Watcher(Context(general, self.bus), own, clock=clock, disks=disks)
        self.watcher.start()
        return self.watcher

    def stop(self) -> None:
        """Stop the watcher."""
        if self.watcher is not None:
            self.watcher.stop(8.0)
            self.bus.close()
            self.watcher = None

    def close(self) -> None:
        """Stop everything."""
        self.stop()
        self.outside.close()

    def _recall(self, question: Question, station: Station) -> Datafiles:
        assert isinstance(question, ListDatafiles)
        return self.recalled(question, station)

    def _registered(self, question: ListDatafiles, _station: Station) -> Datafiles:
        mine = {name: known for (upload, name), known in self.registered.items() if upload == question.upload_id}
        return Datafiles(items=tuple(known for _, known in sorted(mine.items())))

    def hear(self, event: Event[EventData]) -> None:
        """Take note of an event."""
        if isinstance(event.data, FileReady):
            self.files_announced += len(event.data.files)
            for file in event.data.files:
                known = self._newest.get(file.raw)
                if known is None or known.revision <= file.revision:
                    self._newest[file.raw] = file
        self.heard.append(event)

    def forget(self) -> None:
        """Forget what was heard."""
        self.heard.clear()
        self._newest.clear()
        self.files_announced = 0

    def write(self, name: str | bytes, content: bytes = b"content") -> Path:
        """Write a file below the root."""
        path = self.root / (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def say(self, data: EventData) -> None:
        """Publish an event as another service would."""
        self.outside.publish(Event(data=data, station=HERE, service="test")).result(60)

    def request(self, mode: str = "batch", *, wait: bool = True, **fields: object) -> None:
        """Ask for an upload of the root."""
        asked: dict[str, object] = {
            "upload_id": UPLOAD, "investigation": "20260101", "dataset": DatasetSpec(name="run1"),
            "root": str(self.root), "mode": mode, "destination": DESTINATION, "requested_by": ANNA,
            "quiet_period_s": 0.1,
        }  # fmt: skip
        self.say(UploadRequested(**{**asked, **fields}))
        if wait:
            self.wait_for(UploadOpened)

    def control(self, action: str, *files: FileVersion) -> None:
        """Steer the upload, or these files of it."""
        named = tuple(FilePath(path=file.path, path_b64=file.path_b64) for file in files)
        self.say(UploadControlled(upload_id=UPLOAD, action=action, requested_by=ANNA, files=named))

    def events(self, kind: type[D]) -> list[D]:
        """Return what was heard of one kind."""
        return [event.data for event in list(self.heard) if isinstance(event.data, kind)]

    def wait_for(self, kind: type[D], count: int = 1, *, within_s: float = 60) -> list[D]:
        """Wait for so many events of a kind."""
        return eventually(
            lambda: found if len(found := self.events(kind)) >= count else [],
            within_s=within_s,
            what=f"{count} {kind.__name__}",
        )

    def announced(self) -> dict[bytes, FileVersion]:
        """Return the newest announced version of each path."""
        return self._newest

    def left_out(self) -> dict[bytes, str]:
        """Return what is left out now, with the reasons."""
        now: dict[bytes, str] = {}
        for event in self.events(FileLeftOut):
            for file in event.files:
                if file.returned:
                    now.pop(file.raw, None)
                else:
                    now[file.raw] = file.reason
        return now

    def wait_until(self, condition: Callable[[], object], what: str = "", *, within_s: float = 60) -> object:
        """Wait for a condition."""
        return eventually(condition, within_s=within_s, what=what)

    def wait_announced(self, *names: str | bytes, within_s: float = 60) -> dict[bytes, FileVersion]:
        """Wait until these paths, and no others, are announced."""
        wanted = {name.encode() if isinstance(name, str) else name for name in names}
        eventually(lambda: set(self.announced()) == wanted, within_s=within_s, what=f"{wanted} announced")
        return self.announced()

    def store(self, *files: FileVersion) -> None:
        """Say that versions are stored."""
        stored = tuple(StoredFile(file=f, object=f"run1/{f.path}", state="verified", method="test") for f in files)
        self.say(FileStored(upload_id=UPLOAD, destination=DESTINATION, files=stored))

    def catalogue(self, *files: FileVersion, upload_id: str = UPLOAD) -> None:
        """Say that versions are datafiles."""
        for file in files:
            stored = StoredFile(file=file, object=f"run1/{file.path}", state="verified", method="test")
            self.registered[upload_id, file.raw] = KnownDatafile(stored=stored, registered=True)
        known = tuple(CataloguedFile(file=file, state="verified") for file in files)
        self.say(FileCatalogued(upload_id=upload_id, dataset_id="d1", files=known))

    def fail(self, file: FileVersion, reason: str, *, final: bool = True) -> None:
        """Say that a version could not be moved."""
        failed = FailedFile(file=file, reason=reason, detail="it did not work", final=final)
        self.say(FileFailed(upload_id=UPLOAD, files=(failed,)))

    def complete(self, seal: UploadSealed) -> None:
        """Say that the dataset is complete."""
        self.say(
            DatasetCompleted(
                upload_id=seal.upload_id, dataset_id="d1", files=seal.files, bytes=seal.bytes,
                manifest_sha256=seal.manifest_sha256,
            )
        )  # fmt: skip

    def states(self) -> dict[str, int]:
        """Count the ledger's rows by state."""
        assert self.watcher is not None
        with self.watcher.store.reading() as db:
            return dict(db.execute("SELECT state, count(*) FROM files GROUP BY state").fetchall())

    def upload_state(self) -> str:
        """Return the state of the upload in the ledger."""
        assert self.watcher is not None
        with self.watcher.store.reading() as db:
            return str(db.execute("SELECT state FROM uploads WHERE upload_id = ?", (UPLOAD,)).fetchone()[0])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a station whose watcher is not started yet."""
    made = World(tmp_path)
    yield made
    made.close()
