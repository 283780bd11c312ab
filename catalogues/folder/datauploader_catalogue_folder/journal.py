"""Small files that are written whole or not at all, and lists that only grow, one JSON object a line."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def read_document(path: Path) -> dict[str, Any]:
    """Read one JSON object; raise OSError or ValueError where that cannot be done."""
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object")  # noqa: TRY004 - what is wrong is the content
    return found


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Put a JSON object in the place of the former one; after a power cut there is the one or the other."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def append_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Add rows; what a power cut has left of a last line is cut off before."""
    with path.open("ab+") as file:
        file.truncate(_whole(file.seek(0, os.SEEK_END), path))
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read the rows; a line without an end was never said to be there, so it is not."""
    return (row for _, row in read_lines_from(path, 0))


def read_lines_from(path: Path, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the rows behind a place in the file, each with the place where it ends."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            for line in file:
                if line.endswith(b"\n"):
                    start += len(line)
                    yield start, json.loads(line)
    except FileNotFoundError:
        return


def sync_folder(folder: Path) -> None:
    """Have the names in a folder outlive a power cut, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _whole(size: int, path: Path) -> int:
    """Find where the last whole line ends."""
    with path.open("rb") as file:
        while size:
            step = min(size, 1 << 16)
            file.seek(size - step)
            end = file.read(step).rfind(b"\n")
            if end >= 0:
                return size - step + end + 1
            size -= step
    return 0
