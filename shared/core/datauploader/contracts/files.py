"""What is said about files: this version is ready, stored, failed, catalogued, left out, released."""

import hashlib
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from datauploader.contracts.model import (
    LARGEST,
    EventData,
    FileSize,
    Md5,
    Nanoseconds,
    Sentence,
    Sha1,
    Sha256,
    UploadId,
    WireModel,
)
from datauploader.contracts.names import RelativePath, display, pack
from datauploader.contracts.paths import FilePath
from datauploader.contracts.uploads import Destination

MOST_FILES = 500
"""File versions in one event; the encoded size may allow fewer."""
LONGEST_MS = 10**12
"""What took longer is told as this, some 31 years."""
Milliseconds = Annotated[int, Field(ge=0, le=LONGEST_MS)]


class FileVersion(FilePath):
    """One state of one file: what was read from the disk, once."""

    size: FileSize
    """Bytes."""
    mtime_ns: Nanoseconds
    """Modification time, nanoseconds since 1970-01-01 UTC; one beyond the bounds is told as the bound."""
    sha256: Sha256
    md5: Md5 | None = None
    sha1: Sha1 | None = None
    revision: int = Field(ge=0, le=LARGEST)
    """Orders the versions of one path: a higher one supersedes a lower one."""
    as_is: bool = False
    """A program went on writing while it was read: the file's first `size` bytes are this version, whatever follows."""

    @classmethod
    def of(
        cls,
        raw: bytes,
        *,
        size: int,
        mtime_ns: int,
        sha256: str,
        md5: str | None = None,
        sha1: str | None = None,
        revision: int,
        as_is: bool = False,
    ) -> Self:
        """Build a version from the bytes of its path."""
        return cls(
            path=display(raw), path_b64=pack(raw), size=size, mtime_ns=mtime_ns,
            sha256=sha256, md5=md5, sha1=sha1, revision=revision,
            as_is=as_is,
        )  # fmt: skip

    @property
    def key(self) -> str:
        """Name this version by its content: the same file state gives the same key wherever it is seen."""
        known: str | None = self.__dict__.get("key")  # `cached_property` takes a lock, and that costs as much again
        if known is None:
            content = b"%b\0%d\0%d\0%b" % (self.raw, self.size, self.mtime_ns, self.sha256.encode())
            known = self.__dict__["key"] = hashlib.sha256(content).hexdigest()[:32]
        return known

    @property
    def digests(self) -> dict[str, str]:
        """The digests that are known, by algorithm, in hexadecimal."""
        known = {"sha256": self.sha256, "md5": self.md5, "sha1": self.sha1}
        return {name: value for name, value in known.items() if value}


class FileReady(EventData):
    """These versions are finished and wait to be moved."""

    name: ClassVar[str] = "file.ready"
    said_again: ClassVar[bool] = True

    upload_id: UploadId
    root: str
    """Absolute path on the station below which the paths lie."""
    root_b64: str | None = None
    destination: Destination
    continues: tuple[UploadId, ...] = Field(default=(), max_length=50)
    """See `UploadRequested.continues`."""
    files: tuple[FileVersion, ...] = Field(min_length=1, max_length=MOST_FILES)
    seen_ms: tuple[Milliseconds, ...] | None = Field(default=None, max_length=MOST_FILES)
    """For each of the files, in their order, how long before this event the station first saw this version.

    Left out where it is not known of all of them, such as when they are announced again.
    """


Proof = Literal["verified", "unverified"]


class StoredFile(WireModel):
    """A version that the storage holds, and how that is known."""

    file: FileVersion
    object: RelativePath
    """Path of the object below the remote's base, as `names.escape` writes it."""
    state: Proof
    method: str = Field(max_length=80)
    """How it was verified, in words: `backend sha256`, `read back`, `not verified`."""


class FileStored(EventData):
    """These versions are on the storage."""

    name: ClassVar[str] = "file.stored"
    said_again: ClassVar[bool] = True

    upload_id: UploadId
    destination: Destination
    files: tuple[StoredFile, ...] = Field(min_length=1, max_length=MOST_FILES)
    proof_ms: Milliseconds | None = None
    """How long their proof took, after the last of them lay at the storage: files that are sent together are proved
    together. Left out where nothing was sent, or nothing proved, such as when this is said again."""

    def forbidden(self, asked: Destination) -> str:
        """Say why a station may not say this of an upload that goes to `asked`; "" where it may.

        The broker vouches for the station alone: an object of somebody else's could be named here.
        """
        if self.destination != asked:
            return (
                f"forbidden: files of {self.upload_id} are said to be at {self.destination}, but it was asked for "
                f"an upload to {asked}"
            )
        strange = next((one.object for one in self.files if not one.object.startswith(f"{asked.location}/")), None)
        return f"forbidden: {strange[:200]!r} lies outside {asked}, where {self.upload_id} goes" if strange else ""


class FailedFile(WireModel):
    """A version that could not be moved, and what to do about it."""

    file: FileVersion
    reason: str = Field(pattern=r"^[a-z-]{2,40}$")
    """Stable word: `conflict`, `source-gone`, `source-changed`, `storage-full`, `unreachable`, `not-allowed` …"""
    detail: Sentence
    hint: Sentence = ""
    final: bool
    """False: it is tried again by itself; True: it waits for a person (or for a new version of the file)."""
    holds: Literal["unknown", "former", "nothing", "other"] = "unknown"
    """What the storage had in its place when transfer looked; it looks where the file is gone or has changed."""
    former: Sha256 | None = None
    """Which earlier version that is, of this upload or one that it continues; with `former` only."""


class FileFailed(EventData):
    """These versions are not on the storage, and why."""

    name: ClassVar[str] = "file.failed"

    upload_id: UploadId
    files: tuple[FailedFile, ...] = Field(min_length=1, max_length=MOST_FILES)


class CataloguedFile(WireModel):
    """A version that the catalogue knows."""

    file: FileVersion
    datafile_id: str = ""
    """The catalogue's own id, where it gives one; the natural key is the dataset and the path."""
    state: Proof


class FileCatalogued(EventData):
    """These versions are datafiles of their dataset."""

    name: ClassVar[str] = "file.catalogued"
    said_again: ClassVar[bool] = True

    upload_id: UploadId
    dataset_id: str
    files: tuple[CataloguedFile, ...] = Field(min_length=1, max_length=MOST_FILES)


class RefusedFile(WireModel):
    """A stored version that the catalogue does not take, or whose metadata it does not take."""

    file: FileVersion
    what: Literal["datafile", "metadata"]
    harvester: str = Field(default="", max_length=63)
    """Who has read the metadata."""
    detail: Sentence
    """Why, in the catalogue's words; "" takes an earlier word back."""
    hint: Sentence = ""
    final: bool = True
    """False: it is tried again by itself, rarely."""


class DatasetPartlyRefused(EventData):
    """The catalogue takes the dataset without these; a datafile that is refused keeps it from being completed."""

    name: ClassVar[str] = "dataset.partly-refused"

    upload_id: UploadId
    dataset_id: str = ""
    files: tuple[RefusedFile, ...] = Field(default=(), max_length=MOST_FILES)
    metadata: Sentence | None = None
    """What is not taken of the metadata that were asked for with the dataset; "" takes an earlier word back."""


class LeftOutFile(FilePath):
    """Something in the folder that is not uploaded, on the record."""

    reason: str = Field(pattern=r"^[a-z-]{2,40}$")
    """Stable word: `excluded`, `not-included`, `symlink-outside`, `special-file`, `unreadable`, `gone` …"""
    detail: Sentence
    returned: bool = False
    """True takes an earlier record back: the file is uploaded after all."""


class FileLeftOut(EventData):
    """These are not uploaded, and why."""

    name: ClassVar[str] = "file.left-out"

    upload_id: UploadId
    files: tuple[LeftOutFile, ...] = Field(min_length=1, max_length=MOST_FILES)


class FileReleased(EventData):
    """The local copies of these versions were removed after their stored copies were hashed again."""

    name: ClassVar[str] = "file.released"

    upload_id: UploadId
    files: tuple[FileVersion, ...] = Field(min_length=1, max_length=MOST_FILES)
