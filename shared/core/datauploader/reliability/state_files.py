"""Whole copies of state files, also of those that are in use."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from datauploader.errors import StateUnavailable

ENDINGS = (".sqlite", ".sqlite3")


def state_files(folder: Path) -> Iterator[Path]:
    """Find the state files in a folder and in the folders directly below it; what was set aside is none."""
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        yield from sorted(path for path in place.iterdir() if path.suffix in ENDINGS and path.is_file())


def copy_state(source: Path, target: Path) -> None:
    """Copy a state file as it is at one moment; whoever writes it meanwhile goes on.

    Raises:
        StateUnavailable: it cannot be read, or is damaged.
    """
    try:
        address = f"{source.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as db, closing(sqlite3.connect(target)) as copy:
            db.backup(copy, pages=1000, sleep=0.01)
            copy.execute("PRAGMA journal_mode=DELETE")
            verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise StateUnavailable(f"{source} cannot be copied ({error})") from error
    if verdict != "ok":
        raise StateUnavailable(f"{source} is damaged ({verdict}): start its service, which sets it aside")
