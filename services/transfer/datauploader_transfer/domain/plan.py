"""Splits the items of one move into copy batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from datauploader_transfer.domain.names import place
from datauploader_transfer.ports import Item

__all__ = ["LARGE", "BatchLimits", "fair_share", "large_or_small", "split_batches"]

LARGE = 64 * 1024**2
"""Bytes from which on a file is a large one: its sending takes longer than what stands around it."""
LEAST_FILES = 64
"""Files of an upload's first batch, however many uploads wait: fewer cost less than what stands around a call."""
LEAST_LATER = 256
"""Files of its later ones: with 64 each, a hundred uploads took 1.6 times as long as one with all their files."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The limits of a copy batch, one call: small files by count and bytes, large ones few at a time."""

    files: int = 500
    size: int = 256 * 1024**2
    large: int = LARGE
    large_files: int = 4


def split_batches(items: Sequence[Item], limits: BatchLimits) -> Iterator[list[Item]]:
    """Yield the items in batches, in order; no batch holds two versions of one target.

    Nor two targets that a storage may take for one (case, Unicode form): the second then finds the
    first one there and is a conflict, instead of both being written over each other.

    Large files travel with large ones, so that small ones are not kept waiting for them.
    """
    small = [item for item in items if item.size < limits.large]
    large = [item for item in items if item.size >= limits.large]
    if large and not {place(item.target) for item in small}.isdisjoint(place(item.target) for item in large):
        yield from _cut(items, limits.files, limits.size)
        return
    yield from _cut(small, limits.files, limits.size)
    yield from _cut(large, limits.large_files, None)


def _cut(items: Sequence[Item], most: int, size: int | None) -> Iterator[list[Item]]:
    batch: list[Item] = []
    targets: set[str] = set()
    total = 0
    for item in items:
        spot = place(item.target)
        too_big = size is not None and batch and total + item.size > size
        if len(batch) >= most or too_big or spot in targets:
            yield batch
            batch, targets, total = [], set(), 0
        batch.append(item)
        targets.add(spot)
        total += item.size
    if batch:
        yield batch


def fair_share(most: int, movers: int, uploads: int, *, begun: bool) -> int:
    """Return how many files one upload may send at a time while so many wait.

    Uploads take turns, and one of which nothing was sent yet comes first. The more there are, the smaller the batches,
    so that each has its first file stored soon; but not below what one call is worth.
    """
    least = LEAST_LATER if begun else LEAST_FILES
    return most if uploads <= movers else min(most, max(least, most * movers // uploads))


def large_or_small(movers: int, sending: int, *, after_large: bool) -> tuple[bool, ...]:
    """Say which files a mover takes that is free: large ones (True), others (False), and which it looks for first.

    A large file may take hours. So a third of the movers send large ones while others wait, all but one when none do:
    a small file always finds a mover. A single one takes turns.

    Args:
        movers: how many there are.
        sending: how many of them send large files now.
        after_large: the batch that was taken last was one of large files.
    """
    first = not after_large if movers == 1 else sending < max(1, movers // 3)
    if first:
        return (True, False)
    return (False, True) if sending < max(1, movers - 1) else (False,)
