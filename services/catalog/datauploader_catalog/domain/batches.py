"""Cuts a long list into requests that a catalogue accepts, by number and by size."""

from collections.abc import Iterable, Iterator


def batches(entries: Iterable[str], *, most: int, most_bytes: int) -> Iterator[list[str]]:
    """Yield the entries in order, in lists of at most `most` and `most_bytes`; a larger entry goes alone."""
    batch: list[str] = []
    filled = 0
    for entry in entries:
        size = len(entry.encode())
        if batch and (len(batch) >= most or filled + size > most_bytes):
            yield batch
            batch, filled = [], 0
        batch.append(entry)
        filled += size
    if batch:
        yield batch
