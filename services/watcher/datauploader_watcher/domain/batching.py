"""How many things fit into one event."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from datauploader.contracts.files import MOST_FILES
from datauploader.contracts.model import Travelling

MOST_BYTES = 56 * 1024
"""Encoded bytes that the items of one event may take, which leaves room for the envelope (64 KiB in all)."""

T = TypeVar("T", bound=Travelling)


def batches(items: Iterable[T], *, most_bytes: int = MOST_BYTES, most: int = MOST_FILES) -> Iterator[tuple[T, ...]]:
    """Split items into runs that fit one event each, in order."""
    batch: list[T] = []
    room = most_bytes
    for item in items:
        size = len(item.model_dump_json(exclude_none=True).encode()) + 1
        if batch and (size > room or len(batch) >= most):
            yield tuple(batch)
            batch, room = [], most_bytes
        batch.append(item)
        room -= size
    if batch:
        yield tuple(batch)
