"""The source file on the local disk: is it still the version that was announced? No look and no open follows a link."""

import contextlib
import errno
import hashlib
import itertools
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from datauploader.contracts.model import bounded_ns
from datauploader.files import nofollow
from datauploader_transfer.domain.outcomes import (
    no_room_for_copy,
    source_changed,
    source_gone,
    source_led_away,
    source_unreadable,
)
from datauploader_transfer.ports import Item, Outcome
from datauploader_transfer.rclone.private_folder import FolderOnDemand

if sys.platform != "win32":
    import fcntl
    import resource

__all__ = [
    "BY_NUMBER",
    "OpenSources",
    "at_once",
    "digest_of_start",
    "faults_of_sources",
    "raise_limit",
    "read",
    "still_holds",
    "why_unread",
]

BY_NUMBER = nofollow.BY_DESCRIPTOR and Path(f"/proc/{os.getpid()}/fd").is_dir()
"""Another process of ours can open what we hold open, by its number: Linux."""
_BLOCK = 1024**2
_AT_ONCE = 512
_ENOUGH_OPEN = 65536
COPY_PREFIX = "taken-"
"""Begins the name of the copy of a file that a program goes on writing."""
_FIRST_NUMBER = 4096
_numbers = itertools.count()


def faults_of_sources(items: Iterable[Item]) -> list[Outcome | None]:
    """Return why each source cannot be moved, or None where it is the version that was announced."""

    def fault(item: Item) -> Outcome | None:
        try:
            return _differs(item, paths.look(os.fsencode(item.source)))
        except OSError as error:
            return _fault(item, error)

    with nofollow.Paths() as paths:
        return [fault(item) for item in items]


def why_unread(item: Item) -> Outcome | None:
    """Return what at the source kept it from being sent, or None when it was not the source."""
    try:
        with _stream(item) as stream:
            return _differs(item, os.fstat(stream.fileno()))
    except OSError as error:
        return _fault(item, error)


def still_holds(item: Item) -> bool:
    """Read the source again and tell whether it has the content that was announced."""
    size = item.size if item.as_is else item.size + 1
    try:
        return digest_of_start(item, size, "sha256") == item.digests["sha256"]
    except OSError:
        return False


def digest_of_start(item: Item, size: int, algorithm: str) -> str:
    """Return the hash of the first `size` bytes of the source."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with _stream(item) as stream:
        while size > 0 and (block := stream.read(min(_BLOCK, size))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def read(item: Item) -> bytes:
    """Return the whole content of the source; of one that is taken as it was, what it was then."""
    with _stream(item) as stream:
        return stream.read(item.size if item.as_is else -1)


class OpenSources:
    """The source files of one copy, held open to its end: what is sent is what was looked at, wherever its name leads.

    Where nobody else can open what we hold open, they are sent by their names, and the proof afterwards must do.
    A file that a program goes on writing is copied first, as far as it was when it was taken: rclone sends what it
    finds, or gives a file up that grows meanwhile.
    """

    def __init__(self, folder: FolderOnDemand) -> None:
        """Hold none; copies are made in this folder."""
        self._folder = folder
        self._lock = threading.Lock()
        self._held: list[int] = []
        self._copies: list[Path] = []
        self._over = False

    def open(self, items: Iterable[Item]) -> list[str | Outcome]:
        """Open some, and return of each where another process of ours reaches it, or what is wrong with it."""
        lowest = _lowest_number()
        with nofollow.Paths() as paths:
            return [self._open(item, paths, lowest) for item in items]

    def _open(self, item: Item, paths: nofollow.Paths, lowest: int) -> str | Outcome:
        try:
            descriptor = paths.open_file(os.fsencode(item.source))
            if item.as_is:
                with open(descriptor, "rb") as stream:  # noqa: PTH123 - a descriptor
                    return _differs(item, os.fstat(descriptor)) or self._copied(item, stream)
            if (fault := _differs(item, os.fstat(descriptor))) is not None or not BY_NUMBER:
                os.close(descriptor)
                return fault or os.fspath(item.source)
            number = _out_of_the_way(descriptor, lowest)
        except OSError as error:
            return _fault(item, error)
        with self._lock:
            over = self._over
            if not over:
                self._held.append(number)
        if over:
            os.close(number)
            return _fault(item, OSError(errno.EBADF, "the copy is over"))
        return f"/proc/{os.getpid()}/fd/{number}"

    def close(self) -> None:
        """Let go of all, also of one that a slow drive opens only now."""
        with self._lock:
            self._over = True
            held, self._held = self._held, []
        for descriptor in held:
            os.close(descriptor)
        for copy in self._copies:
            copy.unlink(missing_ok=True)

    def _copied(self, item: Item, stream: BinaryIO) -> str | Outcome:
        """Copy the part of a file that was taken, and return the copy, or what is wrong."""
        digest, left = hashlib.sha256(), item.size
        try:
            with tempfile.NamedTemporaryFile(prefix=COPY_PREFIX, dir=self._folder.path, delete=False) as copy:
                place = Path(copy.name)
                self._copies.append(place)
                while left and (block := stream.read(min(_BLOCK, left))) and not self._over:
                    left -= len(block)
                    digest.update(block)
                    copy.write(block)
            os.utime(place, ns=(item.mtime_ns, item.mtime_ns))
        except OSError as error:
            return no_room_for_copy(item, error)
        if self._over:  # nobody waits for it any more
            place.unlink(missing_ok=True)
        if left or digest.hexdigest() != item.digests["sha256"]:
            return source_changed(item)
        return os.fspath(place)


def at_once() -> int:
    """Return how many files a batch may hold open: with the most batches at a time still far from the limit."""
    if sys.platform == "win32":
        return _AT_ONCE
    return min(_AT_ONCE, max(8, _limit() // 64))


def raise_limit() -> None:
    """Let this process hold more files open than the 1,024 that a login shell gives it, as far as it may."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_OPEN if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_OPEN)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH_OPEN if soft == resource.RLIM_INFINITY else soft


def _lowest_number() -> int:
    """Return the least of the numbers under which sources are held: no other kind of file gets one of those here."""
    return min(_FIRST_NUMBER, _limit() // 2) if sys.platform != "win32" else 0


def _out_of_the_way(descriptor: int, lowest: int) -> int:
    """Give it a number from the lowest on.

    An rclone that was given up may ask for a number late; then it must not find our state or a secret under it.
    """
    if sys.platform == "win32":
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest + next(_numbers) % lowest)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _stream(item: Item) -> Iterator[BinaryIO]:
    with open(nofollow.open_file(os.fsencode(item.source)), "rb") as stream:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise FileNotFoundError(errno.ENOENT, "it is no longer a regular file")
        yield stream


def _differs(item: Item, seen: os.stat_result) -> Outcome | None:
    if item.as_is:
        same = seen.st_size >= item.size
    else:
        of_then = seen.st_mtime_ns == item.mtime_ns or bounded_ns(seen.st_mtime_ns) == item.mtime_ns
        same = of_then and seen.st_size == item.size
    return None if same and stat.S_ISREG(seen.st_mode) else source_changed(item)


def _fault(item: Item, error: OSError) -> Outcome:
    if error.errno == errno.ENOENT:
        return source_gone(item)
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return source_led_away(item)
    return source_unreadable(item, error)
