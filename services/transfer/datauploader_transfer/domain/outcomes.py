"""The sentences in which a person is told what became of a file."""

import errno
from dataclasses import replace

from datauploader_transfer.domain.failures import NOT_TRIED, NOTHING_READ, classify
from datauploader_transfer.ports import UNPROVED, Item, Outcome, State, Stored, Whose

__all__ = [
    "conflict",
    "failed",
    "given_up",
    "mismatch",
    "refused",
    "source_changed",
    "source_gone",
    "source_led_away",
    "source_silent",
    "source_unreadable",
    "unverified",
    "verified",
]

_LONGEST = 300
"""Characters of a storage's own words."""


def verified(item: Item, stored: Stored, *, proof_ms: int | None = None) -> Outcome:
    """Report that the stored bytes have the hash that was read from the source."""
    detail = f"Stored and verified: the {stored.algorithm} of the stored file equals that of the source."
    return Outcome(
        item.key,
        State.VERIFIED,
        detail,
        method=stored.method,
        algorithm=stored.algorithm,
        digest=stored.digest,
        proof_ms=proof_ms,
    )


def unverified(item: Item) -> Outcome:
    """Report that the file was sent and nobody has looked at what arrived."""
    return Outcome(
        item.key,
        State.UNVERIFIED,
        "Stored, but not verified: this storage provides no checksums, and reading back is turned off.",
        "Turn on read_back for this remote to have files verified.",
    )


def conflict(item: Item, *, found: str = "", just_now: bool = False) -> Outcome:
    """Report that something that is not ours stands where the file should go; `found` is its digest, where known."""
    when = "appeared there during the upload" if just_now else "is already there"
    return Outcome(
        item.key,
        State.CONFLICT,
        f"A different file {when} under the name {item.target!r}, not written by this upload. It was not changed.",
        "Choose another dataset name; or have the file on the storage moved away, then press Retry.",
        holds="other",
        found=found,
    )


def source_gone(item: Item) -> Outcome:
    """Report that the file vanished before it was stored."""
    return Outcome(
        item.key,
        State.SOURCE_GONE,
        "The file is no longer on the workstation's disk.",
        "If it was renamed, it is uploaded automatically under its new name.",
    )


def source_led_away(item: Item) -> Outcome:
    """Report that the way to the file leads through a link, which might lead anywhere."""
    return Outcome(
        item.key,
        State.SOURCE_GONE,
        "The file is no longer at its place: a part of its path is now a link or a file, and links are not followed.",
        "Put the folder back. If this machine reaches the station's folder through a link, set the real "
        "folder in root_maps.",
    )


def source_changed(item: Item) -> Outcome:
    """Report that the file is no longer the version that was to be moved."""
    return Outcome(
        item.key,
        State.SOURCE_CHANGED,
        "The file has changed since it was found to be finished.",
        "Nothing to do: the newest version is uploaded when it no longer changes.",
    )


def source_silent(item: Item) -> Outcome:
    """Report that the drive with the file does not answer."""
    return failed(item, NOTHING_READ)


def no_room_for_copy(item: Item, error: OSError) -> Outcome:
    """Report that a file which is taken while a program writes it cannot be copied first."""
    return Outcome(
        item.key,
        State.FAILED,
        f"A program is writing the file, so {item.size:,} bytes of it are copied on this computer before they are "
        f"sent, and that failed ({error.strerror or error}).",
        "Free space on the disk where transfer keeps its state; it is retried automatically.",
        retryable=True,
        whose=Whose.NEITHER,
    )


_UNREADABLE = {
    errno.EACCES: "Give the service's account read access to the file, then press Retry.",
    errno.EPERM: "Give the service's account read access to the file, then press Retry.",
    errno.ENAMETOOLONG: "Give the file or its folders shorter names; it is then uploaded automatically under its "
    "new path.",
    errno.EINVAL: "Rename the file; it is then uploaded automatically under its new name.",
    errno.EILSEQ: "Rename the file; it is then uploaded automatically under its new name.",
}
"""What keeps a file from being read that waiting does not mend, and what to do."""


def source_unreadable(item: Item, error: OSError) -> Outcome:
    """Report that the disk does not give the file out."""
    own = error.errno in _UNREADABLE
    return Outcome(
        item.key,
        State.FAILED,
        f"The file cannot be read on the workstation ({error.strerror or error}).",
        _UNREADABLE.get(error.errno or 0, "Check the drive; the file is sent when it can be read again."),
        retryable=True,
        whose=Whose.FILE if own else Whose.NEITHER,
    )


def mismatch(item: Item, found: Stored, *, left: bool) -> Outcome:
    """Report that what arrived is not what was sent."""
    end = "The wrong copy could not be removed." if left else "The wrong copy was removed."
    return Outcome(
        item.key,
        State.MISMATCH,
        f"The stored file differs from the source ({found.algorithm} {found.digest[:12]}…). {end}",
        "It is sent again. If this happens again, the network or the storage damages data: tell the administrator.",
        method=found.method,
        algorithm=found.algorithm,
        digest=found.digest if left else "",
        retryable=True,
        whose=Whose.FILE,
    )


def failed(item: Item, text: str) -> Outcome:
    """Report a failure in plain words, with the storage's own ones behind them."""
    failure = classify(text, str(item.source), item.target)
    words = " ".join(text.split())
    if len(words) > _LONGEST:  # a long path stands before the reason, so the middle is left out
        words = f"{words[: _LONGEST // 2]} … {words[-_LONGEST // 2 :]}"
    return Outcome(
        item.key,
        failure.state,
        f"{failure.says} ({words})",
        failure.hint,
        retryable=failure.retryable,
        whose=failure.whose,
        by_hand=failure.by_hand,
        endless=failure.endless,
        untried=text.startswith(NOT_TRIED),
        retry_after_s=failure.retry_after_s,
    )


def not_begun(item: Item, other: Outcome) -> Outcome:
    """Report that the item's turn did not come: its storage wants to be left alone, as another's outcome says."""
    return replace(other, key=item.key, digest="", untried=True, unproved=UNPROVED in item.replaces)


def given_up(outcome: Outcome, tries: int) -> Outcome:
    """Report that a file failed for the last time, by itself: its storage takes others."""
    return replace(
        outcome,
        state=State.FAILED if outcome.state is State.UNREACHABLE else outcome.state,
        detail=f"{outcome.detail} It was tried {tries} times; the storage accepts other files.",
        hint="Show this message to the storage's administrator; or rename the file or leave it out. "
        "When the cause is fixed, press Retry.",
    )


def refused(item: Item, says: str, hint: str) -> Outcome:
    """Report that the item was not even tried, and will not be."""
    return Outcome(item.key, State.REFUSED, says, hint)
