"""What rclone's error texts mean, and what a person can do about them."""

import re
from dataclasses import dataclass

from datauploader_transfer.ports import State

__all__ = ["NOTHING_READ", "Failure", "classify", "is_about_storage"]

NOTHING_READ = "the drive has not answered"
"""What we say, not rclone, of a source that hangs."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Say what kind of failure a text stands for, whether to try again, and what to do."""

    state: State
    says: str
    hint: str
    retryable: bool
    retry_after_s: float | None = None


_FULL = Failure(
    State.STORAGE_FULL,
    "The storage is full.",
    "Free space at the storage or raise the quota; the upload goes on by itself.",
    retryable=True,
    retry_after_s=60,
)
_DENIED = Failure(
    State.REFUSED,
    "The storage refuses our credentials.",
    "Ask the administrator to check the remote's user, password or key and its permissions.",
    retryable=False,
)
_BUSY = Failure(
    State.UNREACHABLE,
    "The storage asks for a pause.",
    "Nothing to do: the upload goes on by itself.",
    retryable=True,
    retry_after_s=10,
)
_AWAY = Failure(
    State.UNREACHABLE,
    "The storage cannot be reached.",
    "Check the network and the storage's address; the upload goes on by itself.",
    retryable=True,
)
_LOST_PLACE = Failure(
    State.REFUSED,
    "The storage has no such bucket or folder to write to.",
    "Ask the administrator to create it or to correct the remote's base.",
    retryable=False,
)
_BAD_NAME = Failure(
    State.REFUSED,
    "The storage cannot hold a file of this name.",
    "Rename the file, or give the dataset a shorter path.",
    retryable=False,
)
_GROWN = Failure(
    State.SOURCE_CHANGED,
    "The file changed while it was read.",
    "Nothing to do: its newest version is uploaded when it has settled.",
    retryable=False,
)
_SILENT_SOURCE = Failure(
    State.FAILED,
    "The drive that holds the file does not answer.",
    "Check the network and the server of this drive; the file is sent when it answers again.",
    retryable=True,
)
_STOPPED = Failure(
    State.STOPPED,
    "The upload was stopped.",
    "Start it again to go on.",
    retryable=True,
)
_BROKEN = Failure(
    State.UNREACHABLE,
    "The storage or the connection to it failed.",
    "Nothing to do: the upload is tried again.",
    retryable=True,
)
_OTHER = Failure(
    State.FAILED,
    "The file could not be stored.",
    "Look at the message of the storage; retry when its cause is gone.",
    retryable=True,
)

# In this order: a specific text may be wrapped into a general one.
_SIGNS: tuple[tuple[Failure, tuple[str, ...]], ...] = (
    (_SILENT_SOURCE, (NOTHING_READ,)),
    (_FULL, ("no space left", "disk quota exceeded", "insufficient storage", r"\b507\b", "quota ?exceeded")),
    (_FULL, ("not enough space", "storage ?full", "remaining disk space")),
    (_GROWN, ("source file is being updated", "can't copy - source", "size changed")),
    (
        _BAD_NAME,
        ("file ?name too long", r"\b414\b", "KeyTooLong", "invalid file ?name", "illegal byte sequence"),
    ),
    (_BUSY, (r"\b42[359]\b", "too many requests", "slow ?down", "throttl", "rate limit", "retry.?after")),
    (
        _DENIED,
        (r"\b401\b", r"\b403\b", "unauthori[sz]ed", "forbidden", "access ?denied", "permission denied"),
    ),
    (_DENIED, ("unable to authenticate", "InvalidAccessKeyId", "SignatureDoesNotMatch", "certificate")),
    (_DENIED, ("knownhosts", "host key", "handshake failed", "password")),
    (_LOST_PLACE, ("NoSuchBucket", "bucket not found", "read-only file system", "directory not found")),
    (_LOST_PLACE, ("not a directory",)),
    (_STOPPED, ("context canceled", "job stopped")),
    (_AWAY, ("connection refused", "no route to host", "no such host", "network is unreachable", "timeout")),
    (_AWAY, ("deadline exceeded", "couldn't connect", "dial tcp")),
    (_BROKEN, (r"\b50[0-9]\b", "internal server error", "bad gateway", "service unavailable", r"\bEOF\b")),
    (
        _BROKEN,
        ("connection reset", "broken pipe", "connection lost", "failed to send packet", "input/output"),
    ),
)
_MEANINGS = tuple((re.compile("|".join(signs), re.IGNORECASE), failure) for failure, signs in _SIGNS)
_RETRY_AFTER = re.compile(r"(?:retry.?after|try again in)\D{0,12}(\d+(?:\.\d+)?)", re.IGNORECASE)


def is_about_storage(text: str) -> bool:
    """Tell whether an error says that the storage is away or asks for a pause, whichever file is sent next."""
    return classify(text).state is State.UNREACHABLE


def classify(text: str) -> Failure:
    """Return what an error text of rclone means; an unknown one may be retried."""
    found = next((failure for pattern, failure in _MEANINGS if pattern.search(text)), _OTHER)
    named = _RETRY_AFTER.search(text)
    if named is None or not found.retryable:
        return found
    return Failure(found.state, found.says, found.hint, found.retryable, float(named.group(1)))
