"""Removing one file that is held open, so that it is that file and nobody is writing to it.

On Linux a lease on the open file tells that nobody writes. The file is first given a hidden name in its own folder,
which nobody can have looked up; if it then is the one that is open, and nobody has asked to write to it, it goes. On
Windows others may do with it what they want while it is read. Then it is opened once more, so that for a moment nobody
can write to it or rename it; if it is the same file, with the size and times that it had, it goes when that is closed.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from datauploader.runtime.crash_points import crash_point
from datauploader_watcher.adapters.sharing import (
    change_time,
    give_lease_back,
    holds_lease,
    open_sharing,
    open_to_remove,
    remove_when_closed,
    take_lease,
)

_NO_REPLACE = 1


class HeldFile(Protocol):
    """A file that is held open."""

    @property
    def descriptor(self) -> int:
        """It is open for reading under this descriptor."""

    @property
    def free(self) -> bool | None:
        """Tell whether nobody has had it open for writing since it is held; None where nobody can tell."""

    def remove(self, hidden: bytes) -> str:
        """Remove it by way of a hidden name beside its own; return why it stays, "" when it is gone."""


def rename_new(folder: int, old: bytes, new: bytes) -> None:
    """Rename within a folder, never over another file.

    Raises:
        OSError: there is a file of that name, or this drive cannot promise that there is none.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, "this system cannot rename without overwriting")
    if rename(folder, old, folder, new, _NO_REPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Leased:
    """POSIX."""

    def __init__(self, folder: int, name: bytes, descriptor: int) -> None:
        self._folder, self._name, self.descriptor = folder, name, descriptor
        self._leased = take_lease(descriptor)

    @property
    def free(self) -> bool | None:
        return self._leased and holds_lease(self.descriptor)

    def remove(self, hidden: bytes) -> str:
        if self._name != hidden:
            rename_new(self._folder, self._name, hidden)
            crash_point("watcher.hidden")
        opened, named = os.fstat(self.descriptor), os.stat(hidden, dir_fd=self._folder, follow_symlinks=False)
        same = (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)
        if same and self.free:
            os.unlink(hidden, dir_fd=self._folder)
            return ""
        why = "another program has opened it for writing" if same else "another file has taken its place"
        return why if self._name == hidden else why + put_back(self._folder, hidden, self._name)

    def close(self) -> None:
        if self._leased:
            give_lease_back(self.descriptor)
        os.close(self.descriptor)


def put_back(folder: int, hidden: bytes, name: bytes) -> str:
    """Give a hidden file its own name again; return what is to be said of it if that name is taken, else ""."""
    try:
        rename_new(folder, hidden, name)
    except OSError:
        return f"; it was kept beside it as {hidden.decode()}, because its name is in use"
    return ""


@contextmanager
def hold_in(folder: int, name: bytes, flags: int) -> Iterator[HeldFile]:
    """Hold a file in a folder that is open under a descriptor."""
    held = _Leased(folder, name, os.open(name, flags, dir_fd=folder))
    try:
        yield held
    finally:
        held.close()


class _Shared:
    """Windows."""

    free = True

    def __init__(self, path: str) -> None:
        self._path = path
        self.descriptor = open_sharing(path)
        self._before = _state(self.descriptor)

    def remove(self, hidden: bytes) -> str:  # noqa: ARG002 - its path is enough
        alone = open_to_remove(self._path)
        try:
            if not os.path.samestat(os.fstat(alone), os.fstat(self.descriptor)):
                return "another file has taken its place"
            if _state(alone) != self._before:
                return "another program has opened it for writing"
            remove_when_closed(alone)
        finally:
            os.close(alone)
        return ""


def _state(descriptor: int) -> tuple[int, int, int]:
    """Return what a write changes: some file systems, such as FAT, keep no time of change."""
    seen = os.fstat(descriptor)
    return seen.st_size, seen.st_mtime_ns, change_time(descriptor)


@contextmanager
def hold_path(path: str) -> Iterator[HeldFile]:
    """Hold a file by its path: Windows."""
    held = _Shared(path)
    try:
        yield held
    finally:
        os.close(held.descriptor)
