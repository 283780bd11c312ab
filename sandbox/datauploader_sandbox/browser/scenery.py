"""Uploads as they look in every state, put into the view of a gateway that runs in this process: nothing moves."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from datauploader.contracts import (
    CataloguedFile,
    DatasetCompleted,
    DatasetSpec,
    Destination,
    Event,
    EventData,
    ExtractedFile,
    FailedFile,
    FileCatalogued,
    FileFailed,
    FileLeftOut,
    FileReady,
    FileStored,
    FileVersion,
    LeftOutFile,
    MetadataExtracted,
    MovingFile,
    Parameter,
    Picture,
    Station,
    StoredFile,
    TransferProgressed,
    UploadOpened,
    UploadRequested,
    UploadScanned,
    UploadSealed,
)
from datauploader.contracts.files import MOST_FILES
from datauploader.contracts.uploads import Mode, Person, manifest_digest
from datauploader_gateway import redis_client
from datauploader_gateway.projection.writer import ViewWriter
from datauploader_harvester_thumbnails.drawing import draw_image
from datauploader_sandbox.browser.site import PEOPLE

HERE = Station(facility="sandbox", beamline="xrd1", station="ws02")
"""A second workstation of the sandbox, at which no service runs."""
LONG_NAME = ("Residual stress in printed titanium, second series after the repair of the furnace, " * 3)[:200]
GREEK_NAME = "Δομή λεπτών υμενίων, δεύτερη μέτρηση"
_REMOTE = "store"


class Scenery:
    """Speaks for a station that does not run."""

    def __init__(self, redis_url: str, now: datetime | None = None) -> None:
        """Write into the view that is kept there, as if it were `now`."""
        self._writer = ViewWriter(redis_client.connect(redis_url), kept_s=86_400)
        self._lives = now is None
        self.now = now or datetime.now(UTC)
        """When all of it happens; an event is a second later than the one before, and no earlier than it is said."""

    def say(self, *events: EventData) -> None:
        """Let the station say something."""
        for data in events:
            self.now += timedelta(seconds=1)
            self.now = max(self.now, datetime.now(UTC)) if self._lives else self.now
            service = "gateway" if isinstance(data, UploadRequested) else "watcher"
            self._writer.apply(Event(data=data, station=HERE, service=service, time=self.now))

    def upload(
        self, upload_id: str, dataset: str, *, who: str = "anna", mode: Mode = "sync", files: int = 0, stored: int = 0
    ) -> str:
        """Begin an upload with so many files, of which so many are stored and catalogued; return its id."""
        there = destination(dataset)
        person = Person(id=PEOPLE[who]["user_id"], name=PEOPLE[who]["full_name"])
        size = sum(file.size for file in versions(files))
        self.say(
            UploadRequested(
                upload_id=upload_id, investigation="20260101", dataset=DatasetSpec(name=dataset), root="/data/anna",
                mode=mode, destination=there, requested_by=person,
            ),
            UploadOpened(upload_id=upload_id),
            UploadScanned(upload_id=upload_id, files=files, bytes=size, settling=0, left_out=0),
        )  # fmt: skip
        for some in _portions(versions(files, written=self.now)):
            self.say(FileReady(upload_id=upload_id, root="/data/anna", destination=there, files=some))
        for some in _portions(versions(stored)):
            kept = tuple(StoredFile(file=f, object=f.path, state="verified", method="backend sha256") for f in some)
            known = tuple(CataloguedFile(file=f, state="verified") for f in some)
            self.say(
                FileStored(upload_id=upload_id, destination=there, files=kept),
                FileCatalogued(upload_id=upload_id, dataset_id="d1", files=known),
            )
        return upload_id

    def progress(self, upload_id: str, waiting: int, speed: float, trouble: str = "") -> None:
        """Say how far the moves are."""
        moving = MovingFile(path="scan_0007/frame_00004.tif", size=8_400_000, bytes=3_100_000)
        self.say(
            TransferProgressed(
                upload_id=upload_id, waiting=waiting, moving=(moving,), bytes_per_s=speed, trouble=trouble
            )
        )

    def failure(self, upload_id: str, number: int, reason: str, detail: str, hint: str = "", *, final: bool) -> None:
        """Let one file fail."""
        (file,) = versions(1, number)
        failed = FailedFile(file=file, reason=reason, detail=detail, hint=hint, final=final)
        self.say(FileFailed(upload_id=upload_id, files=(failed,)))

    def read(self, upload_id: str, number: int, problem: str = "") -> None:
        """Let harvesters read one file, and draw what it is like."""
        (file,) = versions(1, number)
        found = (
            Parameter(name="title", value="LaB6, after annealing"), Parameter(name="energy", value=12.398, units="keV"),
            Parameter(name="exposure", value=0.5, units="s"), Parameter(name="temperature", value=293.5 + number),
        )  # fmt: skip
        said = ExtractedFile(file=file, parameters=found, problem=problem)
        picture = Picture.of(draw_image(rings(number)), f"page {number + 1} of 25")
        drawn = ExtractedFile(file=file, pictures=(picture,))
        self.say(
            MetadataExtracted(upload_id=upload_id, harvester="nexus", files=(said,)),
            MetadataExtracted(upload_id=upload_id, harvester="thumbnails", files=(drawn,)),
        )

    def leave_out(self, upload_id: str, *left_out: tuple[str, str, str]) -> None:
        """Leave files out: path, word and sentence."""
        files = tuple(LeftOutFile(path=path, reason=word, detail=said) for path, word, said in left_out)
        self.say(FileLeftOut(upload_id=upload_id, files=files))

    def seal(self, upload_id: str, files: int) -> str:
        """Say that no file comes any more; return the digest of the manifest."""
        known = versions(files)
        digest = manifest_digest((version.raw, version.sha256) for version in known)
        size = sum(version.size for version in known)
        self.say(UploadSealed(upload_id=upload_id, files=files, bytes=size, left_out=0, manifest_sha256=digest))
        return digest

    def complete(self, upload_id: str, files: int) -> None:
        """Say that no file comes any more and the catalogue has them all."""
        digest = self.seal(upload_id, files)
        size = sum(version.size for version in versions(files))
        self.say(
            DatasetCompleted(
                upload_id=upload_id, dataset_id="d1", files=files, bytes=size, manifest_sha256=digest,
                url="https://vuo.facility.eu/datasets/d1",
            )
        )  # fmt: skip


def rings(number: int) -> NDArray[np.float64]:
    """Make a powder's rings, as a detector sees them."""
    y, x = np.mgrid[-200:200, -240:240]
    radius = np.hypot(x + 20 * number, y - 30)
    found: NDArray[np.float64] = 40 + 400 * np.exp(-radius / 90)
    found += np.random.default_rng(number).normal(0, 8, radius.shape)
    for ring in (60, 95, 130, 150, 190, 230):
        found += 900 * np.exp(-(((radius - ring - 4 * number) / 2.5) ** 2))
    found[195:205, :] = np.nan
    return found


def destination(dataset: str) -> Destination:
    """Return where a dataset goes."""
    return Destination(remote=_REMOTE, location=f"experiments/20260101/{dataset}")


def versions(count: int, first: int = 0, *, written: datetime | None = None) -> tuple[FileVersion, ...]:
    """Return versions of so many frames, a hundred to a scan."""
    mtime_ns = int(written.timestamp()) * 1_000_000_000 if written else 1
    return tuple(
        FileVersion.of(
            f"scan_{n // 100:04d}/frame_{n % 100:05d}.tif".encode(), size=8_400_000, mtime_ns=mtime_ns,
            sha256=f"{n:064x}", revision=1,
        )
        for n in range(first, first + count)
    )  # fmt: skip


def _portions(files: Sequence[FileVersion]) -> Iterator[tuple[FileVersion, ...]]:
    for first in range(0, len(files), MOST_FILES):
        yield tuple(files[first : first + MOST_FILES])
