"""Splits the items of one move into copy batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from datauploader_transfer.domain.names import place
from datauploader_transfer.ports import Item

__all__ = ["BatchLimits", "split_batches"]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The limits of a copy batch, one call: small files by count and bytes, large ones few at a time."""

    files: int = 500
    size: int = 256 * 1024**2
    large: int = 64 * 1024**2
    large_files: int = 4


def split_batches(items: Sequence[Item], limits: BatchLimits) -> Iterator[list[Item]]:
    """Yield the items in batches, in order; no batch holds two versions of one target.

    Nor two targets that a storage may take for one (case, Unicode form): the second then finds the
    first one there and is a conflict, instead of both being written over each other.

    Large files travel with large ones, so that small ones are not kept waiting for them.
    """
    small = [item for item in items if item.size < limits.large]
    large = [item for item in items if item.size >= limits.large]
    if not {place(item.target) for item in small}.isdisjoint(place(item.target) for item in large):
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
