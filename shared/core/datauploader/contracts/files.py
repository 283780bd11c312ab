"""What is said about files: this version is ready, stored, failed, catalogued, left out, released."""

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import msgspec
from pydantic import Field

from datauploader.contracts.model import (
    LARGEST,
    LATEST_NS,
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
from datauploader.contracts.names import RelativePath, all_relative, display, pack, unpack
from datauploader.contracts.paths import FilePath, PackedPath
from datauploader.contracts.structs import ListEvent, WireStruct, checked_together
from datauploader.contracts.uploads import Destination

MOST_FILES = 500
"""File versions in one event; the encoded size may allow fewer."""
_HOW_MANY = Field(min_length=1, max_length=MOST_FILES)
LONGEST_MS = 10**12
"""What took longer is told as this, some 31 years."""
LONGEST_METHOD = 80
"""Characters."""
_SHA256S, _MD5S, _SHA1S = (re.compile(rf"[0-9a-f]{{{n}}}(?:\n[0-9a-f]{{{n}}})*") for n in (64, 32, 40))
"""A digest on each line."""
FileRevision = Annotated[int, Field(ge=0, le=LARGEST)]
Milliseconds = Annotated[int, Field(ge=0, le=LONGEST_MS)]


class FileVersion(WireStruct, frozen=True, kw_only=True):
    """One state of one file: what was read from the disk, once."""

    path: RelativePath
    """`/`-separated; display text where `path_b64` is given."""
    path_b64: PackedPath = None
    """The bytes in base64, only where they are not UTF-8."""
    size: FileSize
    """Bytes."""
    mtime_ns: Nanoseconds
    """Modification time, nanoseconds since 1970-01-01 UTC; one beyond the bounds is told as the bound."""
    sha256: Sha256
    md5: Md5 | None = None
    sha1: Sha1 | None = None
    revision: FileRevision
    """Orders the versions of one path: a higher one supersedes a lower one."""
    as_is: bool = msgspec.field(default_factory=bool)
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
        packed = pack(raw)
        return cls(
            path=raw.decode() if packed is None else display(raw), path_b64=packed, size=size, mtime_ns=mtime_ns,
            sha256=sha256, md5=md5, sha1=sha1, revision=revision, as_is=as_is,
        )  # fmt: skip

    @property
    def raw(self) -> bytes:
        """The bytes of the path."""
        return self.path.encode() if self.path_b64 is None else unpack(self.path, self.path_b64)

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


def _all_match(pattern: re.Pattern[str], texts: Sequence[str]) -> bool:
    return not texts or pattern.fullmatch("\n".join(texts)) is not None


def _check_versions(versions: Sequence[FileVersion]) -> None:
    """Compare versions with their annotations, all at once; only where something is unusual each by itself."""
    usual = (
        all_relative([one.path for one in versions])
        and _all_match(_SHA256S, [one.sha256 for one in versions])
        and _all_match(_MD5S, [one.md5 for one in versions if one.md5 is not None])
        and _all_match(_SHA1S, [one.sha1 for one in versions if one.sha1 is not None])
        and all(
            one.path_b64 is None
            and 0 <= one.size <= LARGEST
            and -LATEST_NS <= one.mtime_ns <= LATEST_NS
            and 0 <= one.revision <= LARGEST
            for one in versions
        )
    )
    if not usual:
        for one in versions:
            one.check()


_Versions = Annotated[tuple[FileVersion, ...], _HOW_MANY, checked_together(FileVersion, MOST_FILES, _check_versions)]


class FileReady(ListEvent):
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
    files: _Versions
    seen_ms: tuple[Milliseconds, ...] | None = Field(default=None, max_length=MOST_FILES)
    """For each of the files, in their order, how long before this event the station first saw this version.

    Left out where it is not known of all of them, such as when they are announced again.
    """


Proof = Literal["verified", "unverified"]


class StoredFile(WireStruct, frozen=True, kw_only=True):
    """A version that the storage holds, and how that is known."""

    file: FileVersion
    object: RelativePath
    """Path of the object below the remote's base, as `names.escape` writes it."""
    state: Proof
    method: Annotated[str, Field(max_length=LONGEST_METHOD)]
    """How it was verified, in words: `backend sha256`, `read back`, `not verified`."""


def _check_stored(files: Sequence[StoredFile]) -> None:
    _check_versions([one.file for one in files])
    if not all_relative([one.object for one in files]) or any(len(one.method) > LONGEST_METHOD for one in files):
        for one in files:
            one.check()


_StoredFiles = Annotated[tuple[StoredFile, ...], _HOW_MANY, checked_together(StoredFile, MOST_FILES, _check_stored)]


class FileStored(ListEvent):
    """These versions are on the storage."""

    name: ClassVar[str] = "file.stored"
    said_again: ClassVar[bool] = True

    upload_id: UploadId
    destination: Destination
    files: _StoredFiles
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


class CataloguedFile(WireStruct, frozen=True, kw_only=True):
    """A version that the catalogue knows."""

    file: FileVersion
    datafile_id: str = msgspec.field(default_factory=str)
    """The catalogue's own id, where it gives one; the natural key is the dataset and the path."""
    state: Proof


def _check_catalogued(files: Sequence[CataloguedFile]) -> None:
    _check_versions([one.file for one in files])


_CataloguedFiles = Annotated[
    tuple[CataloguedFile, ...], _HOW_MANY, checked_together(CataloguedFile, MOST_FILES, _check_catalogued)
]


class FileCatalogued(ListEvent):
    """These versions are datafiles of their dataset."""

    name: ClassVar[str] = "file.catalogued"
    said_again: ClassVar[bool] = True

    upload_id: UploadId
    dataset_id: str
    files: _CataloguedFiles


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


class FileReleased(ListEvent):
    """The local copies of these versions were removed after their stored copies were hashed again."""

    name: ClassVar[str] = "file.released"

    upload_id: UploadId
    files: _Versions
