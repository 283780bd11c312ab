"""What the view knows about one file: a few bits about its newest version, and its digest, in 64 bytes."""

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple, Self

from datauploader.contracts import (
    DatasetPartlyRefused,
    EventData,
    FileCatalogued,
    FileReady,
    FileReleased,
    FileStored,
    FileVersion,
    MetadataExtracted,
    RefusedFile,
    StoredFile,
)
from datauploader.contracts.model import microseconds
from datauploader.contracts.rest.files import FileState
from datauploader_gateway.projection.timing import NEVER, Times

UNVERIFIED, VERIFIED, CATALOGUED, RELEASED, FAILED, FINAL, READ_BY_ANY = (1 << bit for bit in range(7))
STORED = UNVERIFIED | VERIFIED | CATALOGUED
METHODS = {"backend sha256": 1 << 7, "backend sha1": 1 << 8, "backend md5": 1 << 9, "read back": 1 << 10}
"""How a stored version was verified, as `file.stored` says it."""
ANOTHER_WAY = 1 << 11
"""In words that this release does not know."""
LEFT_OUT = 1 << 12
"""It is on the record as left out now, whatever version of it was announced."""
REFUSED = 1 << 13
"""The catalogue refuses it as a datafile."""
UNTAKEN = 1 << 14
"""The catalogue refuses metadata of it."""
UNREAD = 1 << 15
"""A harvester could not read it, or not wholly, and no later try of it could; READ_BY_ANY, which releases before wrote
when any harvester could, outlives that."""
_READERS = 16
"""The bit from which on there is one for each harvester that could read it; of more than eight, some share one."""

_PROOF = {"verified": VERIFIED, "unverified": UNVERIFIED}
STATES: tuple[FileState, ...] = ("failed", "retrying", "ready", "unverified", "verified", "catalogued")
"""In the order in which people want to see them."""

_LAYOUT = struct.Struct("<HQI32sB3I3B")
"""Redis keeps small uploads compactly as long as no value has more than 64 bytes."""
_LARGE = struct.Struct("<HQQ32sB3I3B")
"""Of a file of 4 GiB and more."""
_SMALL = 1 << 32
_TIMED = struct.Struct("<HQQ32sB3I")
_HARVESTED = struct.Struct("<HQQ32sB3IB")
"""As releases wrote them that did not know when a file was seen, nor how long its proof took."""
_UNTIMED = struct.Struct("<HQQ32s")
"""As releases before the times wrote it, and where no time is known."""
_SHORT = struct.Struct("<BQQ4s")
"""As releases before the receipts wrote it: with the first bytes of the digest alone."""
_VERSION = struct.Struct("<QI32s")
ROW, VERSION = _LAYOUT.size, slice(2, 2 + _VERSION.size)
"""The size of the usual row, and where in it the version is; what is around that is what has happened to it."""
_MARK = 4
_LAYOUTS = {layout.size: layout for layout in (_LAYOUT, _LARGE, _TIMED, _HARVESTED, _UNTIMED, _SHORT)}


class FileFacts(NamedTuple):
    """The newest version of a file, and what has happened to it; facts are only ever added to a version."""

    revision: int
    size: int
    digest: bytes
    """Its SHA-256; the first four bytes where an older release wrote it and the event log has not said it again."""
    facts: int = 0
    times: Times = NEVER
    """When it was seen, announced, stored, proved and registered, as far as that is known."""

    @classmethod
    def of(cls, version: FileVersion) -> Self:
        """Begin with a version that nothing has happened to."""
        return cls(version.revision, version.size, bytes.fromhex(version.sha256))

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Read what `pack` wrote."""
        known = _LAYOUTS[len(packed)].unpack(packed)
        facts, revision, size, digest, *more = known
        if len(packed) in (_LAYOUT.size, _LARGE.size):
            return cls(revision, size, digest, facts | known[10] << _READERS, known[4:10])
        readers = more[4] << _READERS if len(packed) == _HARVESTED.size else 0
        return cls(revision, size, digest, facts | readers, (*known[4:8], 0, 0) if more else NEVER)

    def pack(self) -> bytes:
        """Write the facts as compact as a million files want them."""
        revision, size, digest, facts, times = self
        low, readers = facts & (1 << _READERS) - 1, facts >> _READERS
        if len(digest) == _MARK:
            return _SHORT.pack(low, revision, size, digest)
        if times == NEVER and not readers:
            return _UNTIMED.pack(low, revision, size, digest)
        layout = _LAYOUT if size < _SMALL else _LARGE
        return layout.pack(low, revision, size, digest, *times, readers)

    @property
    def order(self) -> tuple[int, bytes, int]:
        """Of two versions the one with the greater order stands."""
        return self.revision, self.digest, self.size

    def describes(self, version: FileVersion) -> bool:
        """Tell whether this is that version, with its whole digest."""
        return self[:3] == (version.revision, version.size, bytes.fromhex(version.sha256))

    @property
    def sha256(self) -> str:
        """The digest in hexadecimal, "" while only its beginning is known."""
        return "" if len(self.digest) == _MARK else self.digest.hex()

    def abbreviates(self, other: Self) -> bool:
        """Tell whether this is the other version, written by an older release."""
        same = (self.revision, self.size) == (other.revision, other.size)
        return same and len(self.digest) == _MARK and other.digest.startswith(self.digest)

    def completed(self, other: Self) -> Self:
        """Return the same version with the digest of one that it abbreviates."""
        return type(self)(self.revision, self.size, other.digest, self.facts, self.times)

    def adding(self, bits: int, times: Times) -> Self:
        """Return the same version with more facts, and these times."""
        return type(self)(self.revision, self.size, self.digest, self.facts | bits, times)

    def judged(self, *, final: bool) -> Self:
        """Return the same version with this verdict on its failure instead of an earlier one."""
        return self._with(self.facts & ~FINAL | FAILED | (FINAL if final else 0))

    def marked(self, bit: int, *, on: bool) -> Self:
        """Return the same version with what holds now, or holds no longer: left out, refused, unread."""
        return self._with(self.facts | bit if on else self.facts & ~bit)

    def _with(self, facts: int) -> Self:
        return type(self)(self.revision, self.size, self.digest, facts, self.times)

    @property
    def belongs(self) -> bool:
        """Whether it is one of the upload's files: what is left out is so only if a version of it is stored."""
        return self.proof is not None or not self.facts & LEFT_OUT

    @property
    def proof(self) -> Literal["verified", "unverified"] | None:
        """How sure it is that the storage holds this version; None while it does not."""
        if self.facts & VERIFIED:
            return "verified"
        return "unverified" if self.facts & UNVERIFIED else None

    @property
    def methods(self) -> tuple[str, ...]:
        """How it was verified, in words, as far as that was heard."""
        words = METHODS | {"another way": ANOTHER_WAY}
        return tuple(word for word, bit in words.items() if self.facts & bit)

    @property
    def released(self) -> bool:
        """The local copy was removed."""
        return bool(self.facts & RELEASED)

    @property
    def unread(self) -> bool:
        """A harvester could not read it, or not wholly."""
        return bool(self.facts & UNREAD) and not self.facts & READ_BY_ANY

    @property
    def lacks_metadata(self) -> bool:
        """Metadata of it were not read, or not taken by the catalogue."""
        return bool(self.facts & UNTAKEN) or self.unread

    @property
    def state(self) -> FileState:
        """The furthest that this version has come."""
        if self.facts & CATALOGUED:
            return "catalogued"
        if self.facts & REFUSED:
            return "failed"
        if self.proof is not None:
            return self.proof
        if self.facts & FAILED:
            return "failed" if self.facts & FINAL else "retrying"
        return "ready"

    @property
    def counts(self) -> Mapping[str, int]:
        """What this file adds to the counts of its upload."""
        return dict.fromkeys(counted(self.facts), self.size)


def packed(files: Iterable[tuple[FileVersion, int]]) -> list[bytes]:
    """Return versions, whatever is added to them, as rows have them at `VERSION`.

    Raises:
        struct.error: one has 4 GiB or more, which a row has in another way.
    """
    pack, digest = _VERSION.pack, bytes.fromhex
    return [pack(version.revision, version.size, digest(version.sha256)) for version, _ in files]


def newest(known: FileFacts | None, version: FileVersion) -> FileFacts | None:
    """Return what is known of this version of a path, of which so much is known; None where a newer one stands."""
    if known is not None and known.describes(version):
        return known
    fresh = FileFacts.of(version)
    if known is None:
        return fresh
    if known.abbreviates(fresh):
        return known.completed(fresh)
    return fresh if known.order < fresh.order else None


@lru_cache(maxsize=1024)
def listed(facts: int) -> FileState | None:
    """Return under which state a file with these facts is listed, None where it is not."""
    file = FileFacts(0, 0, b"", facts)
    return file.state if file.belongs else None


@lru_cache(maxsize=1024)
def counted(facts: int) -> tuple[str, ...]:
    """Name the counts of its upload that a file with these facts adds to."""
    file = FileFacts(0, 0, b"", facts)
    if not file.belongs:
        return ()
    words = ["ready"]
    if file.proof is not None:
        words += ["stored", file.proof]
    if facts & CATALOGUED:
        words.append("catalogued")
    if file.state in ("failed", "retrying"):
        words.append(file.state)
    if file.released:
        words.append("released")
    if file.lacks_metadata:
        words.append("metadata_lacks")
    if file.unread:
        words.append("metadata_unread")
    if facts >> _READERS:
        words.append("harvested")
    return tuple(words)


def news(data: EventData) -> Iterable[tuple[FileVersion, int]]:
    """Yield each version that the event speaks about, with the facts that it adds; failures are not additions."""
    if isinstance(data, FileReady):
        return ((version, 0) for version in data.files)
    if isinstance(data, FileStored):
        return ((stored.file, _proof(stored)) for stored in data.files)
    if isinstance(data, FileCatalogued):
        return ((known.file, CATALOGUED | _PROOF[known.state]) for known in data.files)
    if isinstance(data, FileReleased):
        return ((version, RELEASED) for version in data.files)
    if isinstance(data, MetadataExtracted | DatasetPartlyRefused):
        # what is refused or could not be read may be taken back, so it is no fact: see `fold`
        return (
            (one.file, 0 if isinstance(one, RefusedFile) or one.problem else read_by(_harvester(data)))
            for one in data.files
        )
    return ()


@lru_cache(maxsize=64)
def read_by(harvester: str) -> int:
    """Return the bit of files that this harvester could read."""
    return 1 << _READERS + zlib.crc32(harvester.encode()) % 8


def _harvester(data: EventData) -> str:
    return data.harvester if isinstance(data, MetadataExtracted) else ""


def _proof(stored: StoredFile) -> int:
    bits = _PROOF[stored.state]
    return bits | METHODS.get(stored.method, ANOTHER_WAY) if bits == VERIFIED else bits


@dataclass(frozen=True, slots=True)
class FileFailure:
    """The latest word on why a version is not on the storage."""

    order: tuple[int, bytes, int]
    """The version that it is about."""
    stamp: tuple[int, str]
    """Order and id of the event, by which the latest word is known."""
    reason: str
    detail: str
    hint: str
    final: bool

    def dump(self) -> str:
        """Write it as JSON."""
        revision, mark, size = self.order
        return json.dumps([revision, mark.hex(), size, *self.stamp, self.reason, self.detail, self.hint, self.final])

    @classmethod
    def load(cls, text: str | bytes) -> Self:
        """Read what `dump` wrote."""
        revision, mark, size, order, event_id, reason, detail, hint, final = json.loads(text)
        return cls((revision, bytes.fromhex(mark), size), (_number(order), event_id), reason, detail, hint, final)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The latest word on whether something in the folder is left out."""

    stamp: tuple[int, str]
    reason: str
    detail: str
    returned: bool

    def dump(self) -> str:
        """Write it as JSON."""
        return json.dumps([*self.stamp, self.reason, self.detail, self.returned])

    @classmethod
    def load(cls, text: str | bytes) -> Self:
        """Read what `dump` wrote."""
        order, event_id, reason, detail, returned = json.loads(text)
        return cls((_number(order), event_id), reason, detail, returned)


def _number(order: int | str) -> int:
    """Return an order; older releases kept the event's time."""
    return order if isinstance(order, int) else microseconds(datetime.fromisoformat(order))
