"""Many things in few requests: cut as a catalogue accepts them, and taken apart when it refuses them together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from datauploader.plugins.catalogue.errors import (
    CatalogError,
    CatalogueForbids,
    CatalogueRefused,
    NoSuchInvestigation,
    Taken,
    UnknownSession,
    ValueRefused,
)

T = TypeVar("T")

PROBES = 8
"""Things that are sent alone when all together were refused; if none of them goes in, it is not about the things."""
_ABOUT_ALL = (CatalogueForbids, UnknownSession, NoSuchInvestigation, Taken)
Found = tuple[Sequence[T], CatalogError | None]


def batches(entries: Iterable[str], *, most: int, most_bytes: int) -> Iterator[list[str]]:
    """Yield the entries in order, in lists of at most `most` and `most_bytes`; a larger entry goes alone."""
    batch: list[str] = []
    filled = 0
    for entry in entries:
        size = len(entry) if entry.isascii() else len(entry.encode())
        if batch and (len(batch) >= most or filled + size > most_bytes):
            yield batch
            batch, filled = [], 0
        batch.append(entry)
        filled += size
    if batch:
        yield batch


def send_apart(
    items: Sequence[T], send: Callable[[Sequence[T]], None], on: tuple[type[CatalogError], ...] = (CatalogueRefused,)
) -> Iterator[Found[T]]:
    """Send all at once or, where that is refused, in halves; yield what went in, and each refused thing alone.

    Sending the same thing twice must change nothing. A batch of n with one refused thing takes about 2 log2 n calls
    beside the probes.

    Args:
        items: what is to be sent; not empty.
        send: sends some of them, all or none.
        on: the errors that may be about a single thing.

    Raises:
        CatalogError: any other error; or one of these, where not even single things go in: then it is about all.
    """
    error = attempt(items, send, on)
    if error is None:
        yield items, None
        return
    step = -(-len(items) // PROBES)
    probes = items[::step]
    found = [(one, error if len(items) == 1 else attempt([one], send, on)) for one in probes]
    each = len(probes) == len(items) and all(isinstance(refusal, ValueRefused) for _, refusal in found)
    if not each and all(refusal is not None for _, refusal in found):
        raise error
    yield from (([one], refusal) for one, refusal in found)
    yield from _halves([one for number, one in enumerate(items) if number % step], send, on)


def _halves(
    items: Sequence[T], send: Callable[[Sequence[T]], None], on: tuple[type[CatalogError], ...]
) -> Iterator[Found[T]]:
    if not items:
        return
    error = attempt(items, send, on)
    if error is None or len(items) == 1:
        yield items, error
        return
    middle = len(items) // 2
    yield from _halves(items[:middle], send, on)
    yield from _halves(items[middle:], send, on)


def attempt(
    items: Sequence[T], send: Callable[[Sequence[T]], None], on: tuple[type[CatalogError], ...]
) -> CatalogError | None:
    """Send all or none; return one of these errors where it may be about a single thing.

    Raises:
        CatalogError: any other one.
    """
    try:
        send(items)
    except _ABOUT_ALL:
        raise
    except on as error:
        return error
    return None
