"""What the service asks of whatever moves files, and in which words it is answered."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Literal, Protocol, TypeVar, dataclass_transform

__all__ = [
    "UNPROVED",
    "Begin",
    "FolderContents",
    "Item",
    "Listed",
    "Mover",
    "Outcome",
    "RemoteHealth",
    "State",
    "Stored",
    "Whose",
    "asks_for_pause",
    "value",
]


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a value of which there is one for each file: nobody changes it, and the type checker alone sees to that.

    With `frozen` Python calls a function for each field of each value, and took four times as long to make it.
    """
    return dataclass(slots=True)(cls)


UNPROVED = "unproved"
"""Stands among an item's `replaces` where nothing was at the target when we began to write there, and what we wrote was
never proved: whatever lies there now is ours to replace or remove."""


@value
class Item:
    """Name one file version to move.

    `source` and `target` are text as `os.fsdecode` gives it, so that any bytes survive (surrogateescape).
    No part of `source` is a link: one that has become a link since is never followed.
    `target` lies below the remote's base. `digests` maps algorithm to lower-case hex: always sha256, md5 where the
    storage may be asked for it, maybe sha1. `replaces` holds the hex digests (any algorithm) of what this upload wrote
    at the target before, or began to write: replacing one of those is no conflict. `keeps` holds those that another
    upload needs: what has one of them is no leftover, even if it is the beginning of this file. With `as_is` the file's
    first `size` bytes are the version, whatever follows them by now.
    """

    key: str
    source: str | Path
    target: str
    size: int
    mtime_ns: int
    digests: Mapping[str, str]
    replaces: frozenset[str] = field(default_factory=frozenset)
    keeps: frozenset[str] = field(default_factory=frozenset)
    as_is: bool = False


class State(StrEnum):
    """Say what became of an item; the value is what events and pages show."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    CONFLICT = "conflict"
    SOURCE_CHANGED = "source-changed"
    SOURCE_GONE = "source-gone"
    MISMATCH = "mismatch"
    STORAGE_FULL = "storage-full"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    STOPPED = "stopped"
    FAILED = "failed"


class Whose(StrEnum):
    """Say whose trouble a failure is that may be tried again."""

    FILE = "file"
    """This file's alone: trying it again has an end."""
    REMOTE = "remote"
    """The storage's as a whole: it rests, and is tried again for as long as it takes."""
    EITHER = "either"
    """Not to be told from one failure: the file's if the storage takes others, else the storage's."""
    NEITHER = "neither"
    """That of the drive with the source, or of the catalogue: it has no end and lets the storage alone."""


@value
class Outcome:
    """Tell what became of one item, in a sentence for people and in fields for programs.

    `method` is how it was verified ("backend md5", "read back"), `algorithm` and `digest` what was found
    at the storage. After a failure `digest` is what we left there: add it to the next `replaces`. Where the target
    was looked at and is not this version, `holds` says whether there is anything, and `found` has its digest, if known.
    """

    key: str
    state: State
    detail: str
    hint: str = ""
    method: str = ""
    algorithm: str = ""
    digest: str = ""
    retryable: bool = False
    whose: Whose = Whose.NEITHER
    by_hand: bool = False
    """Somebody must mend the storage: until then it is tried rarely."""
    endless: bool = False
    """It passes without anybody touching the file, so the file is never given up."""
    untried: bool = False
    """The item's turn did not come, because others had failed: the failure is theirs."""
    retry_after_s: float | None = None
    holds: Literal["unknown", "nothing", "other"] = "unknown"
    found: str = ""
    unproved: bool = False
    """Something that we wrote where nothing was may lie at the target, and nobody has hashed it."""
    proof_ms: int | None = field(default=None, compare=False)
    """How long it took to prove what was sent together with it; None where it was not sent now, or is not proved."""


def asks_for_pause(outcome: Outcome) -> bool:
    """Tell whether the storage as a whole wants to be left alone for a while."""
    return outcome.whose is Whose.REMOTE and bool(outcome.retry_after_s)


Begin = Callable[[Sequence[Item], Collection[str]], None]
"""Hears which items are written next, and the keys of those of them that are written where nothing is."""


@value
class Stored:
    """Give the hash of a stored object, taken just now from the stored bytes, and its size where that was asked."""

    algorithm: str
    digest: str
    method: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class RemoteHealth:
    """Tell whether a remote can be reached and written; `free` in bytes where the storage says it."""

    remote: str
    reachable: bool
    writable: bool
    free: int | None
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class FolderContents:
    """Count what lies below a folder; `partial`: the bounds were met first.

    `held` are the first objects, by their paths below the folder, with their bytes.
    """

    exists: bool
    objects: int
    bytes: int
    held: tuple[tuple[str, int], ...]
    partial: bool


@value
class Listed:
    """Name one object that a storage lists, with its hash where the listing gives one.

    `name` is its path below the folder that was listed, text as `os.fsdecode` gives it; a byte that is no UTF-8 may
    stand there as U+FFFD, because not every listing can carry it.
    """

    name: str
    size: int
    algorithm: str = ""
    digest: str = ""


MOST_HELD = 1000
"""Objects that `FolderContents` names."""


class Mover(Protocol):
    """Move file versions to named remotes and prove what arrived. Every method is thread-safe."""

    def move(
        self,
        remote: str,
        items: Sequence[Item],
        *,
        on_begin: Begin | None = None,
        on_progress: Callable[[int], None] | None = None,
        cancel: Event | None = None,
    ) -> list[Outcome]:
        """Move the items and return one outcome for each, in their order; block until then.

        What is at a target and may be replaced (see `Item.replaces`) stays there until its successor lies beside it and
        is proved. Where the source is no longer the version that was announced, the target is looked at: the outcome
        is `verified` if that version is there after all, else it says what is.

        `on_begin` is called with items before the first byte of them is written, once or more often, and with the keys
        of those of them at whose targets nothing lies; not with those whose version is at the target already. What it
        raises ends the call. `on_progress` is called about once a second with the bytes moved so far in this call.
        Setting `cancel` ends the call soon, with `stopped` for what was not finished.
        """

    def hash_stored(self, remote: str, target: str, algorithms: Sequence[str]) -> Stored | None:
        """Hash a stored object again with one of the algorithms, and tell its size; None when there is no such object.

        Raises:
            TransferError: the remote cannot be asked.
        """

    def count_contents(self, remote: str, folder: str, *, most: int, within_s: float) -> FolderContents:
        """Count the objects below a folder, as far as `most` objects and so many seconds go.

        Raises:
            TransferError: the remote cannot be asked, or did not answer in time.
        """

    def list_objects(self, remote: str, folder: str, *, hashing: bool, by_folder: bool = False) -> Iterator[Listed]:
        """Yield every object below a folder, names as the storage has them; nothing where there is no such folder.

        Hashes come with it where the storage has them without reading its objects; with `hashing` also where it is
        this machine that reads them, as of a local disk. `by_folder` asks for one folder after the other, which costs
        a call each and keeps what is held in memory small.

        Raises:
            TransferError: the remote cannot be asked, or not to the end.
        """

    def find_sizes(self, remote: str, targets: Sequence[str]) -> list[int | None]:
        """Return the bytes of what the storage gives under each of these names, None where it gives nothing.

        Raises:
            TransferError: the remote cannot be asked.
        """

    def hash_all(
        self, remote: str, objects: Sequence[tuple[str, int]], algorithms: Sequence[str]
    ) -> list[Stored | None]:
        """Hash stored objects (target, size) again, by reading them back where the storage has no hash.

        Raises:
            TransferError: the remote cannot be asked, or an object cannot be read.
        """

    def sweep_leftovers(self, remote: str, targets: Mapping[str, frozenset[str]]) -> None:
        """Remove what attempts that were cut off have left beside these objects, given with our digests of each.

        An object of ours that lies beside a target that is not there was on its way over it: it is brought there.

        Raises:
            TransferError: the remote cannot be asked.
        """

    def probe_remote(self, remote: str) -> RemoteHealth:
        """Find out whether the remote can be reached and written."""

    def limit_bandwidth(self, bytes_per_s: int | None) -> None:
        """Limit the bandwidth of everything that moves; None lifts the limit."""

    def interrupt(self) -> None:
        """End by force whatever writes now, at once; afterwards the mover can be used again."""

    def close(self) -> None:
        """Stop what runs and free everything."""
