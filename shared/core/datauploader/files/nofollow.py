"""Opens a path from the top, part by part, so that no link on the way leads elsewhere, whatever is swapped meanwhile.

The paths are absolute and were resolved before: a part that has become a link since is an error, never followed.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from datauploader.files import win32

__all__ = ["BY_DESCRIPTOR", "FILE", "Paths", "check_parts", "folder", "leads_elsewhere", "look", "open_file"]

BY_DESCRIPTOR = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and os.listdir in os.supports_fd
"""Folders can be held open and looked into; not so on Windows, where every part is looked at instead."""
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_ENTER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | _CLOEXEC
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | _ENTER
"""Passing through a folder needs no right to list it; `O_DIRECTORY` has an automounter mount it all the same."""
FILE = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | _CLOEXEC
    | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
)  # fmt: skip
"""How a file is opened for reading: a link is refused, a pipe does not block."""
_NAME_SURROGATE = 0x20000000
"""The bit of a reparse tag that stands for another path: junction, link, mounted volume [MS-FSCC 2.1.2.1]. The tag of a
file that lies in a cloud or is deduplicated is without it."""


@contextmanager
def folder(path: bytes) -> Iterator[int]:
    """Open a folder for listing and give its descriptor; OSError as the system raises it, ENOTDIR for a link."""
    above, name = _split(path)
    descriptor = _pass(above)
    try:
        opened = os.open(name or b".", os.O_RDONLY | _ENTER, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    try:
        yield opened
    finally:
        os.close(opened)


class Paths:
    """Many paths, one after the other: the last one's folder is held open, because most have the next one beside it.

    Whoever uses it closes it, in the same thread: a drive may keep that waiting.
    """

    def __init__(self) -> None:
        self._folder: bytes | None = None
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Return these paths."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the folder go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._folder, self._descriptor = None, -1

    def open_file(self, path: bytes) -> int:
        """Open a file for reading and return its descriptor, which the caller closes; OSError as the system says."""
        if not BY_DESCRIPTOR:
            check_parts(path)
            return win32.open_file(os.fsdecode(path))
        return os.open(self._enter(path), FILE, dir_fd=self._descriptor)

    def look(self, path: bytes) -> os.stat_result:
        """Look at what lies at a path, never at what that points to; OSError as the system raises it."""
        if not BY_DESCRIPTOR:
            check_parts(os.path.dirname(path))  # noqa: PTH120 - bytes
            return os.lstat(win32.verbatim(path))
        return os.stat(self._enter(path) or b".", dir_fd=self._descriptor, follow_symlinks=False)

    def _enter(self, path: bytes) -> bytes:
        """Hold the folder of a path open, and return the name in it."""
        folder, _, name = path.rpartition(b"/")
        if folder != self._folder or name in {b"", b".", b".."}:
            above, name = _split(path)
            self.__exit__()
            self._descriptor = _pass(above)
            self._folder = folder
        return name


def open_file(path: bytes) -> int:
    """Open a file for reading and return its descriptor, which the caller closes; OSError as the system raises it."""
    with Paths() as paths:
        return paths.open_file(path)


def look(path: bytes) -> os.stat_result:
    """Look at what lies at a path, never at what that points to; OSError as the system raises it."""
    with Paths() as paths:
        return paths.look(path)


def check_parts(path: bytes) -> None:
    """Look at every part of an absolute path by its name, where none can be held open.

    Raises:
        NotADirectoryError: a part is a link, a junction or a mounted volume, which whoever may write there can make.
        OSError: as the system raises it.
    """
    drive, rest = os.path.splitdrive(path)
    here = drive + os.fsencode(os.sep)
    for part in rest.replace(b"/", os.fsencode(os.sep)).split(os.fsencode(os.sep)):
        here = os.path.join(here, part) if part else here  # noqa: PTH118 - bytes
        if leads_elsewhere(os.lstat(win32.verbatim(here))):
            raise NotADirectoryError(errno.ENOTDIR, "a part of the path is a link, which is not followed", here)


def leads_elsewhere(seen: os.stat_result) -> bool:
    """Tell whether something stands for another path: a link, or on Windows a junction or a mounted volume."""
    reparse = getattr(seen, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_REPARSE_POINT
    return stat.S_ISLNK(seen.st_mode) or bool(reparse and getattr(seen, "st_reparse_tag", 0) & _NAME_SURROGATE)


def _split(path: bytes) -> tuple[list[bytes], bytes]:
    parts = [part for part in path.split(b"/") if part]
    if not path.startswith(b"/") or b".." in parts:
        raise NotADirectoryError(errno.ENOTDIR, "the path is not absolute, or leads upwards", path)
    return parts[:-1], parts[-1] if parts else b""


def _pass(parts: list[bytes]) -> int:
    """Return a descriptor of the folder that these parts lead to, fit for going on from there."""
    descriptor = os.open(b"/", _PASS)
    try:
        for part in parts:
            inner = os.open(part, _PASS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
