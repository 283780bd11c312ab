"""Events for tests: each builder gives a valid one, and takes only what the test is about."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from datauploader.contracts.address import Station
from datauploader.contracts.datasets import DatasetCompleted, DatasetEnsured, DatasetSpec
from datauploader.contracts.envelope import Event
from datauploader.contracts.files import (
    CataloguedFile,
    FailedFile,
    FileCatalogued,
    FileFailed,
    FileReady,
    FileStored,
    FileVersion,
    StoredFile,
)
from datauploader.contracts.model import EventData
from datauploader.contracts.uploads import (
    Action,
    Destination,
    Mode,
    Person,
    UploadControlled,
    UploadRequested,
    UploadSealed,
    manifest_digest,
)

UPLOAD = "upload-0001"
ROOT = "/data/visit"
HERE = Station(facility="elettra", beamline="xrd1", station="ws01")
THERE = Destination(remote="storage", location="20250001/scan1")
SOMEBODY = Person(id="1234", name="Marie Curie")


def station(text: str = "elettra.xrd1.ws01") -> Station:
    """Read a station's address."""
    return Station.parse(text)


def event(data: EventData, *, at: Station = HERE, service: str = "test", id: str = "") -> Event[EventData]:  # noqa: A002 - the envelope's own word
    """Put data into an envelope; `id` is random unless given."""
    return Event(data, at, service, id=id) if id else Event(data, at, service)


def file_version(path: str | bytes = "scan/frame_0001.h5", content: bytes = b"frame", revision: int = 1) -> FileVersion:
    """Describe a file with this content."""
    return FileVersion.of(
        path.encode() if isinstance(path, str) else path,
        size=len(content),
        mtime_ns=1_750_000_000_000_000_000 + revision,
        sha256=hashlib.sha256(content).hexdigest(),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        revision=revision,
    )


def upload_requested(
    upload_id: str = UPLOAD,
    *,
    investigation: str = "20250001",
    dataset: str = "scan1",
    root: str = ROOT,
    sources: tuple[str, ...] = (".",),
    mode: Mode = "batch",
    destination: Destination = THERE,
    requested_by: Person = SOMEBODY,
    quiet_period_s: float = 0.1,
) -> UploadRequested:
    """Ask for an upload of one folder."""
    return UploadRequested(
        upload_id=upload_id,
        investigation=investigation,
        dataset=DatasetSpec(name=dataset),
        root=root,
        sources=sources,
        mode=mode,
        destination=destination,
        requested_by=requested_by,
        quiet_period_s=quiet_period_s,
    )


def upload_controlled(action: Action, upload_id: str = UPLOAD) -> UploadControlled:
    """Steer an upload."""
    return UploadControlled(upload_id=upload_id, action=action, requested_by=SOMEBODY)


def file_ready(*files: FileVersion, upload_id: str = UPLOAD, root: str = ROOT) -> FileReady:
    """Announce finished versions."""
    return FileReady(upload_id=upload_id, root=root, destination=THERE, files=files or (file_version(),))


def file_stored(
    *files: FileVersion, upload_id: str = UPLOAD, state: Literal["verified", "unverified"] = "verified"
) -> FileStored:
    """Say that versions are on the storage."""
    stored = [
        StoredFile(file=file, object=f"{THERE.location}/{file.path}", state=state, method="backend sha256")
        for file in files or (file_version(),)
    ]
    return FileStored(upload_id=upload_id, destination=THERE, files=tuple(stored))


def file_failed(
    *files: FileVersion, upload_id: str = UPLOAD, reason: str = "unreachable", final: bool = False
) -> FileFailed:
    """Say that versions could not be moved."""
    failed = [
        FailedFile(file=file, reason=reason, detail="The storage does not answer.", hint="Wait.", final=final)
        for file in files or (file_version(),)
    ]
    return FileFailed(upload_id=upload_id, files=tuple(failed))


def file_catalogued(*files: FileVersion, upload_id: str = UPLOAD, dataset_id: str = "42") -> FileCatalogued:
    """Say that versions are datafiles."""
    known = [
        CataloguedFile(file=file, datafile_id=f"{dataset_id}.{number}", state="verified")
        for number, file in enumerate(files or (file_version(),), start=1)
    ]
    return FileCatalogued(upload_id=upload_id, dataset_id=dataset_id, files=tuple(known))


def upload_sealed(files: Sequence[FileVersion] = (), upload_id: str = UPLOAD, left_out: int = 0) -> UploadSealed:
    """Seal an upload with exactly these versions."""
    return UploadSealed(
        upload_id=upload_id,
        files=len(files),
        bytes=sum(file.size for file in files),
        left_out=left_out,
        manifest_sha256=manifest_digest((file.raw, file.sha256) for file in files),
    )


def dataset_ensured(upload_id: str = UPLOAD, investigation_id: str = "7", dataset_id: str = "42") -> DatasetEnsured:
    """Say that the dataset exists."""
    return DatasetEnsured(upload_id=upload_id, investigation_id=investigation_id, dataset_id=dataset_id)


def dataset_completed(files: Sequence[FileVersion] = (), upload_id: str = UPLOAD) -> DatasetCompleted:
    """Say that the dataset holds exactly these versions."""
    sealed = upload_sealed(files, upload_id)
    return DatasetCompleted(
        upload_id=upload_id,
        dataset_id="42",
        files=sealed.files,
        bytes=sealed.bytes,
        manifest_sha256=sealed.manifest_sha256,
    )
