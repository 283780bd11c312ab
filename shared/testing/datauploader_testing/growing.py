"""A file that a program goes on writing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def growing(path: Path, *, every_s: float = 0.1, data: bytes = b"a line\n") -> Iterator[None]:
    """Write at the end of a file, again and again, for as long as the block lasts."""
    stop = threading.Event()

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.wait(every_s):
                file.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()
