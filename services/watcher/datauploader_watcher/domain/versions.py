"""What is known about a file: what the disk says of it, and what its bytes hash to."""

from dataclasses import dataclass
from typing import NamedTuple

from datauploader.contracts.files import FileVersion
from datauploader.contracts.model import LATEST_NS, bounded_ns

SIGNED = 0x7FFF_FFFF_FFFF_FFFF


class Stamp(NamedTuple):
    """What one look at a file says. A tuple, for speed.

    Anybody may set the modification time, nobody the time of the last change: two equal stamps mean that nobody wrote
    in between, unless through a memory map that was there before (`man 2 msync`).
    """

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0
    """When anything of the file was changed last; 0 where that is not known (Windows, rows of older releases)."""

    def agrees(self, seen: "Stamp") -> bool:
        """Tell whether a look finds the file as this one did; a time of change that is not known is not compared."""
        return self[:3] == seen[:3] and (self.ctime_ns == seen.ctime_ns or not (self.ctime_ns and seen.ctime_ns))


def stamp(size: int, mtime_ns: int, inode: int, ctime_ns: int = 0) -> Stamp:
    """Build a stamp that fits signed 64-bit columns.

    NTFS and FUSE use all 64 bits of the inode; ext4, XFS and file servers deliver years that no such column holds.
    """
    if size <= SIGNED and 0 <= inode <= SIGNED and abs(mtime_ns) <= LATEST_NS and abs(ctime_ns) <= LATEST_NS:
        return Stamp(size, mtime_ns, inode, ctime_ns)  # as almost every one is
    return Stamp(min(size, SIGNED), bounded_ns(mtime_ns), inode & SIGNED, bounded_ns(ctime_ns))


class Digests(NamedTuple):
    """The digests of one reading."""

    sha256: bytes
    md5: bytes | None = None
    """Only where a storage may be asked for it."""
    sha1: bytes | None = None


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A known version: as the ledger has it."""

    stamp: Stamp
    """What the disk said when it was last found unchanged."""
    state: str
    mtime_ns: int
    """Modification time of the version that was announced."""
    digests: Digests
    revision: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The content is the announced one; only what the disk says of it has changed."""


@dataclass(frozen=True, slots=True)
class Reannounced:
    """The content is the announced one, but it must be announced again."""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A new version with its revision."""

    revision: int


Judgement = Unchanged | Reannounced | NewVersion

SAFE = frozenset(("stored", "catalogued", "releasing", "released"))
"""States in which the storage already holds the version."""


def judge(known: KnownVersion | None, seen: Stamp, digests: Digests, now_ns: int) -> Judgement:
    """Decide what a finished file means beside what the ledger has.

    A file that was only touched, copied back or remounted (same bytes, another inode or time) is no new version
    once the storage holds it. Before that it is one, because whoever moves it compares size and time.
    """
    if known is None:
        return NewVersion(now_ns)
    same = known.stamp.size == seen.size and known.digests.sha256 == digests.sha256
    if same and known.state in SAFE:
        return Unchanged()
    if same and known.mtime_ns == seen.mtime_ns:
        return Unchanged() if known.state in ("ready", "announced", "failed") else Reannounced()
    return NewVersion(max(known.revision + 1, now_ns))


def version(
    path: bytes, size: int, mtime_ns: int, digests: Digests, revision: int, *, as_is: bool = False
) -> FileVersion:
    """Build what travels."""
    return FileVersion.of(
        path,
        size=size,
        mtime_ns=mtime_ns,
        sha256=digests.sha256.hex(),
        md5=digests.md5.hex() if digests.md5 else None,
        sha1=digests.sha1.hex() if digests.sha1 else None,
        revision=revision,
        as_is=as_is,
    )


def split(path: bytes) -> tuple[bytes, bytes]:
    """Split a path below the root into its folder (b"" for the root) and its name."""
    folder, _, name = path.rpartition(b"/")
    return folder, name


def join(folder: bytes, name: bytes) -> bytes:
    """Join a folder below the root and a name."""
    return folder + b"/" + name if folder else name
