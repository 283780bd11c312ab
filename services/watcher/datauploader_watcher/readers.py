"""The process in which plug-ins read files: `python -m datauploader_watcher.readers`, asked on stdin, killed when late.

Foreign files make foreign libraries hang, crash or eat memory; here nothing else is lost with them.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from datauploader.contracts.names import display
from datauploader.reading import Reader, readers
from datauploader_watcher.adapters.disk import LocalDisk
from datauploader_watcher.domain.versions import split

MEMORY = 2 * 1024**3
"""Bytes of address space."""


def main() -> None:
    """Read the files that were asked for, and say what was found, line by line."""
    _limit()
    asked = json.load(sys.stdin)
    say, sys.stdout = _Saying(sys.stdout), sys.stderr  # what a reader prints is no answer
    disk, known = LocalDisk(os.fsencode(asked["root"])), readers()
    left = int(asked["most"])
    for name in asked["files"]:
        path = os.fsencode(name)
        reader = next((one for one in known if one.fits(display(split(path)[1]))), None)
        if reader is None:
            continue
        _read(disk, path, reader, say)
        left -= 1
        if left <= 0:
            return


def _read(disk: LocalDisk, path: bytes, reader: Reader, say: "_Saying") -> None:
    source = display(path)
    try:
        with _opened(disk, path) as place:
            found = [parameter.model_dump(mode="json") for parameter in reader.read(place)]
    except Exception as error:  # noqa: BLE001 - a reader is somebody else's code
        say({"problem": f"{source[:200]} could not be read ({type(error).__name__})."})
        return
    for parameter in found:
        say({"parameter": parameter, "source": source[:1000]})
    say({"read": source[:1000]})


@contextmanager
def _opened(disk: LocalDisk, path: bytes) -> Iterator[Path]:
    """Open a file below the root, following no link, and give a path that means this file and no other."""
    folder, name = split(path)
    with disk.folder(folder) as opened:
        descriptor = opened.open(name)
    try:
        mine = Path(f"/proc/self/fd/{descriptor}")
        yield mine if mine.exists() else Path(os.fsdecode(disk.root)) / os.fsdecode(path)
    finally:
        os.close(descriptor)


class _Saying:
    """Writes lines to whoever has asked."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, line: dict[str, object]) -> None:
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


def _limit() -> None:
    """Take little memory, and no processor that somebody else wants."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - there is none on Windows

    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.nice(10)


if __name__ == "__main__":
    main()
