"""Text logs as acquisition programs keep them: appended to while measuring, and rotated when they are long."""

from itertools import pairwise
from pathlib import Path
from typing import IO, Self


class ScanLog:
    """A log that stays open while its scan runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def line(self, text: str) -> None:
        """Append a line and hand it to the disk."""
        self._file.write(f"{text}\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class RotatingLog:
    """A log that is opened for each line, and renamed to `.1`, `.2`, … when it is full; the oldest goes."""

    def __init__(self, path: Path, *, limit: int = 400, kept: int = 2) -> None:
        self._path, self._limit, self._kept = path, limit, kept

    def line(self, text: str) -> list[Path]:
        """Append a line; return the files that hold something else than before."""
        changed = self._rotate() if self._path.exists() and self._path.stat().st_size >= self._limit else []
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
        return [*changed, self._path]

    def _rotate(self) -> list[Path]:
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._kept + 1))]
        moves = [(old, new) for old, new in pairwise(names) if old.exists()]
        return [old.replace(new) for old, new in reversed(moves)]
