"""What the error texts of rclone and its storages mean, whose trouble that is, and what a person can do about it."""

import re
from dataclasses import dataclass, replace

from datauploader_transfer.ports import State, Whose

__all__ = ["NOTHING_READ", "NOT_TRIED", "SKEWED", "TABLE", "FailureKind", "classify", "is_about_storage"]

NOTHING_READ = "the drive has not answered"
"""What we say, not rclone, of a source that hangs."""
NOT_TRIED = "not tried, because another file failed: "
"""Stands before the text with which another file failed, where this one's turn did not come."""


SKEWED = "RequestTimeTooSkewed"
"""What S3 says to whoever's clock is wrong."""


@dataclass(frozen=True, slots=True)
class FailureKind:
    """A kind of failure that a text stands for, and what follows from it; the fields are those of `Outcome`."""

    state: State
    says: str
    hint: str
    whose: Whose
    signs: tuple[str, ...] = ()
    """Regular expressions, without regard to case; one that is found is enough."""
    retryable: bool = True
    by_hand: bool = False
    endless: bool = False
    retry_after_s: float | None = None


_GOES_ON = "the upload continues automatically"

TABLE: tuple[FailureKind, ...] = (
    # In this order: a specific text may be wrapped into a general one. Words from rclone 1.75.2 with its local, webdav,
    # s3, sftp and smb backends, Apache, OpenSSH and Samba, as seen on these servers; S3's codes from its error list.
    FailureKind(
        State.FAILED,
        "The drive that holds the file does not answer.",
        "Check the network and the server of this drive; the file is sent when it answers again.",
        Whose.NEITHER,
        (NOTHING_READ,),
    ),
    FailureKind(
        State.UNREACHABLE,
        "The storage's certificate is not valid or not trusted.",
        "Ask the administrator to renew it, or to name the authority that signed it as ca_file of the remote; "
        f"{_GOES_ON}, after a change of ca_file only when transfer is restarted.",
        Whose.REMOTE,
        ("x509:", "certificate", "--ca-cert"),
        by_hand=True,
    ),
    FailureKind(
        State.UNREACHABLE,
        "The storage refuses the connection because this computer's clock is wrong.",
        f"Correct the clock of this computer; {_GOES_ON}.",
        Whose.REMOTE,
        (SKEWED, "RequestExpired", "request time and the (current|server.s) time", "clock skew"),
        by_hand=True,
    ),
    FailureKind(
        State.STORAGE_FULL,
        "The storage is full.",
        f"Free space on the storage or raise the quota; {_GOES_ON}.",
        Whose.EITHER,
        (
            "no space left", "disk quota exceeded", "insufficient storage", r"\b507\b", "quota ?exceeded",
            "not enough space", "storage ?full", "remaining disk space", "disk (is |was )?full",
        ),
        endless=True,
        retry_after_s=60,
    ),
    FailureKind(
        State.SOURCE_CHANGED,
        "The file changed while it was read.",
        "Nothing to do: the newest version is uploaded when it no longer changes.",
        Whose.FILE,
        ("source file is being updated", "can't copy - source", "size changed"),
        retryable=False,
    ),
    FailureKind(
        State.REFUSED,
        "The storage does not accept this file name.",
        "Rename the file, or give the dataset a shorter path.",
        Whose.FILE,
        (
            "file ?name too long", r"\b414\b", "KeyTooLong", "invalid file ?name", "illegal byte sequence",
            "InvalidObjectName", "InvalidURI", "object name is invalid", "object name not valid",
        ),
        retryable=False,
    ),
    FailureKind(
        State.REFUSED,
        "The file is too large for the storage.",
        "Ask the administrator to raise the storage's limit for one file, then press Retry; or leave the file out.",
        Whose.FILE,
        (r"\b413\b", "EntityTooLarge", "file too large", "entity too large"),
        retryable=False,
    ),
    FailureKind(
        State.FAILED,
        "The storage reports that the file is in use by someone else.",
        "Nothing to do: it is retried. If this continues, ask the administrator who has locked the file.",
        Whose.EITHER,
        (r"\b42[35]\b", r"\blocked\b", "sharing violation", "being used by another process", "is not shared"),
        retry_after_s=10,
    ),
    FailureKind(
        State.UNREACHABLE,
        "The storage asks to slow down.",
        f"Nothing to do: {_GOES_ON}.",
        Whose.REMOTE,
        (r"\b429\b", "too many requests", "slow ?down", "throttl", "rate limit", "retry.?after"),
        retry_after_s=10,
    ),
    FailureKind(
        State.REFUSED,
        "The storage's host key is not the expected one.",
        "Ask the administrator whether the server was replaced, and to correct the remote's known hosts; "
        f"{_GOES_ON}.",
        Whose.REMOTE,
        ("knownhosts", "host key"),
        by_hand=True,
    ),
    FailureKind(
        State.REFUSED,
        "The storage does not accept the configured user, password or key.",
        f"Ask the administrator to check the credentials of the remote; {_GOES_ON}.",
        Whose.REMOTE,
        (
            r"\b401\b", "unauthori[sz]ed", "unable to authenticate", "InvalidAccessKeyId", "SignatureDoesNotMatch",
            "ExpiredToken", "InvalidToken", "attempted logon is invalid", "account is (locked|disabled|currently)",
            "password", "handshake failed",
        ),
        by_hand=True,
    ),
    FailureKind(
        State.REFUSED,
        "The storage is read-only at the moment.",
        f"Ask the administrator to make it writable again; {_GOES_ON}.",
        Whose.EITHER,
        ("read-only file ?system", "write.protected"),
    ),
    FailureKind(
        State.REFUSED,
        "The storage does not allow writing there.",
        "Ask the administrator to check what the remote's user may do there, and this computer's clock; "
        f"{_GOES_ON}.",
        Whose.EITHER,
        (r"\b403\b", "forbidden", "access ?(is )?denied", "permission denied", "not permitted"),
        by_hand=True,
    ),
    FailureKind(
        State.REFUSED,
        "The storage has no such bucket or share.",
        f"Ask the administrator to create it or to correct the remote; {_GOES_ON}.",
        Whose.REMOTE,
        ("NoSuchBucket", "bucket not found", "bad network name", "share name cannot be found"),
        by_hand=True,
    ),
    FailureKind(
        State.REFUSED,
        "The storage has no such folder to write to.",
        f"Ask the administrator to create it or to correct the remote's base; {_GOES_ON}.",
        Whose.EITHER,
        ("directory not found", "not a directory", r"\b410\b", r"\b405\b"),
        by_hand=True,
    ),
    FailureKind(
        State.STOPPED,
        "The upload was stopped.",
        "Start it again to continue.",
        Whose.NEITHER,
        ("context canceled", "job stopped"),
    ),
    FailureKind(
        State.UNREACHABLE,
        "The storage cannot be reached.",
        f"Check the network and the storage's address; {_GOES_ON}.",
        Whose.REMOTE,
        (
            "connection refused", "no route to host", "no such host", "network is unreachable", "couldn't connect",
            "dial tcp",
        ),
    ),
    FailureKind(
        State.UNREACHABLE,
        "The storage does not answer in time.",
        "Nothing to do: it is retried automatically.",
        Whose.EITHER,
        ("timeout", "timed out", "deadline exceeded"),
    ),
    FailureKind(
        State.UNREACHABLE,
        "The storage or the connection to it failed.",
        "Nothing to do: it is retried automatically.",
        Whose.EITHER,
        (
            r"\b50[0-9]\b", "internal ?(server)? ?error", "bad gateway", "service unavailable", r"\bEOF\b",
            "connection reset", "broken pipe", "connection lost", "failed to send packet", "input/output",
        ),
    ),
    FailureKind(
        State.FAILED,
        "The storage does not accept the file.",
        "It is retried automatically. If this continues, show this message to the storage's administrator.",
        Whose.EITHER,
    ),
)  # fmt: skip
"""Every kind of failure; the last one stands for what nobody knows."""

_MEANINGS = tuple((re.compile("|".join(row.signs), re.IGNORECASE), row) for row in TABLE if row.signs)
_RETRY_AFTER = re.compile(r"(?:retry.?after|try again in)\D{0,12}(\d+(?:\.\d+)?)", re.IGNORECASE)
_ADDRESS = re.compile(r'"[a-z0-9]+://[^"]*"|https?://\S+', re.IGNORECASE)
"""An address holds names, and a name may hold any word or number."""


def is_about_storage(text: str) -> bool:
    """Tell whether an error may say that the storage fails whichever file is sent next."""
    found = classify(text)
    return found.state is State.UNREACHABLE or found.whose is Whose.REMOTE


def classify(text: str, *names: str) -> FailureKind:
    """Return what an error text means; these names in it, and addresses, mean nothing."""
    for name in (*names, *(name.replace("/", "\\") for name in names)):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    text = _ADDRESS.sub("…", text)
    found = next((row for pattern, row in _MEANINGS if pattern.search(text)), TABLE[-1])
    named = _RETRY_AFTER.search(text)
    return replace(found, retry_after_s=float(named.group(1))) if named and found.retryable else found
