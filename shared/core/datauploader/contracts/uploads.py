"""What is said about uploads: somebody wants one, it is opened, steered, counted and sealed."""

import hashlib
from collections.abc import Iterable
from typing import ClassVar, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from datauploader.contracts.datasets import DatasetSpec
from datauploader.contracts.model import EventData, Sentence, Sha256, UploadId, WireModel, Word
from datauploader.contracts.names import Location
from datauploader.contracts.paths import FilePath

Mode = Literal["sync", "batch"]
Action = Literal["close", "pause", "resume", "cancel", "retry", "take", "leave-out"]
OF_FILES: tuple[Action, ...] = ("take", "leave-out")
"""Actions that are about files by name: what a program still writes is taken as it is then, or is not uploaded."""
WhenRestless = Literal["wait", "take", "leave-out"]


class Person(WireModel):
    """Who asked for something; shown to people and written into the audit log."""

    id: str = Field(min_length=1, max_length=200)
    """The identifier that the catalogue knows, or `rule:<name>` for a standing rule."""
    name: str = Field(default="", max_length=200)


class Destination(WireModel):
    """Where an upload goes: a remote that the administrator defined, and a folder below its base."""

    remote: Word
    location: Location

    def __str__(self) -> str:
        return f"{self.remote}:{self.location}"


class UploadRequested(EventData):
    """These sources of this station belong to this dataset and go there."""

    name: ClassVar[str] = "upload.requested"

    upload_id: UploadId
    investigation: str = Field(min_length=1, max_length=200)
    """The investigation's identifier in the catalogue (a proposal number at most facilities)."""
    dataset: DatasetSpec
    root: str = Field(min_length=1)
    """Absolute path on the station; object names are relative to it."""
    sources: tuple[str, ...] = (".",)
    """Files and folders below the root; a folder stands for everything in it."""
    include: tuple[str, ...] = ()
    """Patterns as in .gitignore; empty means everything."""
    exclude: tuple[str, ...] = ()
    mode: Mode
    destination: Destination
    requested_by: Person
    quiet_period_s: float = Field(default=2.0, ge=0, le=86400)
    """How long a file must stay as it is before it counts as finished."""
    marker: str | None = None
    """Pattern of a file whose appearance closes a sync upload."""
    idle_close_s: float | None = Field(default=None, gt=0)
    """Close a sync upload by itself after so long without any change."""
    delete_after: bool = False
    """Remove local copies whose stored copy was hashed again; only where the station allows it."""
    continues: tuple[UploadId, ...] = Field(default=(), max_length=50)
    """Earlier uploads of the same dataset whose objects this one may replace: it goes on with them."""
    without: tuple[UploadId, ...] = Field(default=(), max_length=50)
    """Earlier uploads of this station whose files are left out where they have not changed since."""
    when_restless: WhenRestless = "wait"
    """What becomes of a file that is still being written a while after the close: see `UploadScanned.restless`."""
    signature: Sha256 | None = None
    """The gateway's proof that it has said this; None from a station's rule and from older releases."""


class UploadControlled(EventData):
    """A person steers an upload."""

    name: ClassVar[str] = "upload.controlled"

    upload_id: UploadId
    action: Action
    requested_by: Person
    files: tuple[FilePath, ...] = Field(default=(), max_length=500)
    """With `retry`: these alone; none names all that failed. With `take` and `leave-out`: which."""

    @model_validator(mode="after")
    def _files_are_where_they_belong(self) -> Self:
        if self.action in OF_FILES and not self.files:
            raise ValueError(f"{self.action} is for files, and none is named")
        if self.files and self.action not in ("retry", *OF_FILES):
            raise ValueError(f"{self.action} is for the whole upload; it cannot name files")
        return self


class UploadOpened(EventData):
    """The watcher has taken the upload up."""

    name: ClassVar[str] = "upload.opened"

    upload_id: UploadId


class UploadRejected(EventData):
    """The watcher cannot do this upload."""

    name: ClassVar[str] = "upload.rejected"

    upload_id: UploadId
    reason: str = Field(pattern=r"^[a-z-]{2,40}$")
    detail: Sentence
    hint: Sentence = ""


class RestlessFile(FilePath):
    """A file that keeps a closed upload from being sealed, because a program goes on writing it."""

    since: AwareDatetime
    """When it was first seen unfinished."""


MOST_RESTLESS = 20
"""Restless files that one event names; the others follow as these are settled."""


class UploadScanned(EventData):
    """What the watcher counts at the moment, at most once a second."""

    name: ClassVar[str] = "upload.scanned"
    said_again: ClassVar[bool] = True

    upload_id: UploadId
    files: int = Field(ge=0)
    """Files that belong to the upload, finished or not."""
    bytes: int = Field(ge=0)
    settling: int = Field(ge=0)
    """Files still being written or hashed."""
    left_out: int = Field(ge=0)
    troubles: tuple[str, ...] = ()
    """Sentences about what is wrong with the folder now, such as an unplugged drive."""
    restless: tuple[RestlessFile, ...] = Field(default=(), max_length=MOST_RESTLESS)
    """Files of a closed upload that go on changing: a person takes them as they are, leaves them out, or waits."""
    question: Sentence | None = None
    """What a person must decide before the upload can go on, and how."""
    looking: bool = False
    """The first look at everything, since the upload or the watcher was started, is not over: there may be more."""


class UploadSealed(EventData):
    """No more files come; this is the complete manifest, as count, bytes and digest."""

    name: ClassVar[str] = "upload.sealed"

    upload_id: UploadId
    files: int = Field(ge=0)
    bytes: int = Field(ge=0)
    left_out: int = Field(ge=0)
    manifest_sha256: Sha256
    """See `manifest_digest`."""
    notes: tuple[str, ...] = Field(default=(), max_length=20)
    """Sentences that belong to the record, such as which files a program still had open when they were taken."""


class UploadOutgrown(EventData):
    """Some time after the dataset was complete its folder has files that are new, or not what was uploaded."""

    name: ClassVar[str] = "upload.outgrown"

    upload_id: UploadId
    files: int = Field(ge=0)
    """Files that came or changed since; 0 takes back what an earlier look said."""
    bytes: int = Field(ge=0)
    first: tuple[FilePath, ...] = Field(default=(), max_length=10)
    """Some of them, in order of their paths."""
    looked_at: AwareDatetime


class UploadCancelled(EventData):
    """The watcher has stopped this upload on request; what is stored stays stored."""

    name: ClassVar[str] = "upload.cancelled"

    upload_id: UploadId


def manifest_digest(lines: Iterable[tuple[bytes, str]]) -> str:
    r"""Return the SHA-256 over `<sha256>  <path bytes>\0` of every (path, sha256), in order of the path's bytes."""
    digest = hashlib.sha256()
    for raw, sha256 in sorted(lines):
        digest.update(manifest_entry(raw, sha256))
    return digest.hexdigest()


def manifest_entry(raw: bytes, sha256: str) -> bytes:
    """Return what one file adds to `manifest_digest`, for those who come by the files in order of their paths."""
    return sha256.encode() + b"  " + raw + b"\0"
