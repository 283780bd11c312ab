"""How a list is cut into as many events as its bytes need: the one place that knows how much fits into an event."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from datauploader.contracts.envelope import LARGEST
from datauploader.contracts.files import MOST_FILES
from datauploader.contracts.model import EventData, WireModel
from datauploader.contracts.structs import WireStruct

ENVELOPE = 2 * 1024
"""Bytes that the attributes around the data take at most: three ids of 200, a source of four words, and the rest."""
MOST_SENTENCES = 16 * 1024
"""Bytes that the sentences of one report may take."""

T = TypeVar("T", bound=WireModel | WireStruct)
D = TypeVar("D", bound=EventData)


def split(
    items: Iterable[T], make: Callable[[tuple[T, ...]], D], *, most: int = MOST_FILES, beside_each: int = 0
) -> Iterator[D]:
    """Yield the facts that `make` builds of runs of items, in order, each of at most `LARGEST` bytes when encoded.

    With `beside_each` so many bytes more are kept free for each item, for what `make` says of it elsewhere.
    An item that is larger alone goes alone: a path of 4,096 bytes, whatever they are, takes some 60 KiB at most, one
    of Windows' 32,767 characters some 200 KiB, and a body of `LARGEST_ACCEPTED` bytes is still taken.
    """
    batch: list[T] = []
    room = beside = -1
    for item in items:
        size = _size(item) + 1
        if beside < 0:
            beside = _size(make((item,))) - size + 1
        size += beside_each
        if batch and (size > room or len(batch) >= most):
            yield make(tuple(batch))
            batch = []
        if not batch:
            room = LARGEST - ENVELOPE - beside
        batch.append(item)
        room -= size
    if batch:
        yield make(tuple(batch))


def bounded(sentences: Iterable[str], most_bytes: int = MOST_SENTENCES) -> tuple[str, ...]:
    """Return the first sentences, as many as a report has room for, and how many more there are."""
    kept: list[str] = []
    given = tuple(sentences)
    for sentence in given:
        short = sentence if len(sentence) <= _LONGEST else f"{sentence[: _LONGEST - 1]}…"
        most_bytes -= len(short.encode("utf-8", "replace"))
        if most_bytes < 0:
            return (*kept, f"And {len(given) - len(kept)} more like this; the service's log lists all of them.")
        kept.append(short)
    return tuple(kept)


_LONGEST = 2000
"""Characters of one sentence."""


def _size(value: WireModel | WireStruct) -> int:
    return len(value.to_json())
