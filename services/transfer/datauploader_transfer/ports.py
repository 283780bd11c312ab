"""What the service asks of whatever moves files, and in which words it is answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Protocol

__all__ = ["Contents", "Health", "Item", "Mover", "Outcome", "State", "Stored"]


@dataclass(frozen=True, slots=True)
class Item:
    """Name one file version to move.

    `source` and `target` are text as `os.fsdecode` gives it, so that any bytes survive (surrogateescape).
    `target` lies below the remote's base. `digests` maps algorithm to lower-case hex: always sha256 and
    md5, maybe sha1. `replaces` holds the hex digests (any algorithm) of what we wrote at the target
    before: overwriting one of those is no conflict.
    """

    key: str
    source: Path
    target: str
    size: int
    mtime_ns: int
    digests: Mapping[str, str]
    replaces: frozenset[str] = field(default_factory=frozenset)


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tell what became of one item, in a sentence for people and in fields for programs.

    `method` is how it was verified ("backend md5", "read back"), `algorithm` and `digest` what was found
    at the storage. After a mismatch `digest` is what we left there: add it to the next `replaces`.
    """

    key: str
    state: State
    detail: str
    hint: str = ""
    method: str = ""
    algorithm: str = ""
    digest: str = ""
    retryable: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Give the hash of a stored object, taken just now from the stored bytes, and its size where that was asked."""

    algorithm: str
    digest: str
    method: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Tell whether a remote can be reached and written; `free` in bytes where the storage says it."""

    remote: str
    reachable: bool
    writable: bool
    free: int | None
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Contents:
    """Count what lies below a folder; `partial`: the bounds were met first.

    `held` are the first objects, by their paths below the folder, with their bytes.
    """

    exists: bool
    objects: int
    bytes: int
    held: tuple[tuple[str, int], ...]
    partial: bool


MOST_HELD = 1000
"""Objects that `Contents` names."""


class Mover(Protocol):
    """Move file versions to named remotes and prove what arrived. Every method is thread-safe."""

    def move(
        self,
        remote: str,
        items: Sequence[Item],
        *,
        on_progress: Callable[[int], None] | None = None,
        cancel: Event | None = None,
    ) -> list[Outcome]:
        """Move the items and return one outcome for each, in their order; block until then.

        `on_progress` is called about once a second with the bytes moved so far in this call. Setting
        `cancel` ends the call soon, with `stopped` for what was not finished.
        """

    def hash_stored(self, remote: str, target: str, algorithms: Sequence[str]) -> Stored | None:
        """Hash a stored object again with one of the algorithms, and tell its size; None when there is no such object.

        Raises:
            TransferError: the remote cannot be asked.
        """

    def contents(self, remote: str, folder: str, *, most: int, within_s: float) -> Contents:
        """Count the objects below a folder, as far as `most` objects and so many seconds go.

        Raises:
            TransferError: the remote cannot be asked, or did not answer in time.
        """

    def sweep(self, remote: str, targets: Sequence[str]) -> None:
        """Remove what attempts that were cut off have left beside these objects.

        Raises:
            TransferError: the remote cannot be asked.
        """

    def check(self, remote: str) -> Health:
        """Find out whether the remote can be reached and written."""

    def limit(self, bytes_per_s: int | None) -> None:
        """Limit the bandwidth of everything that moves; None lifts the limit."""

    def close(self) -> None:
        """Stop what runs and free everything."""
