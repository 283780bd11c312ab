"""Paths as their stations write them, whichever system the gateway runs on."""

import re
from pathlib import PurePath, PurePosixPath, PureWindowsPath

_WINDOWS = re.compile(r"^([A-Za-z]:[\\/]|\\\\)")


def pure(path: str) -> PurePath:
    """Return a path as its station understands it."""
    return PureWindowsPath(path) if _WINDOWS.match(path) else PurePosixPath(path)


def child(folder: str, name: str) -> str:
    """Return the path of an entry of a folder, as its station writes it."""
    return str(pure(folder) / name)
