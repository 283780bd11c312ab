"""Drives that hang as a whole, with whoever touches them: network mounts, read so that nobody else has to wait."""

import os
import time
from collections.abc import Generator
from concurrent.futures import wait
from contextlib import AbstractContextManager

from datauploader.reliability.hang_guard import DriveTimeout, HangGuard, in_a_thread
from datauploader_watcher.adapters.disk import LocalDisk, OpenFolder, Page, RootDisk
from datauploader_watcher.adapters.mounts import file_system, is_mounted, is_network
from datauploader_watcher.errors import RootLost

SOON_S = 0.005
"""Within which a page of a healthy drive usually comes."""
SILENT_S = 10.0
"""A drive that owes a page for longer is called silent; it may still be a slow one, so its answer is waited for."""


class HangGuardedDisk:
    """A disk behind a hang guard: nobody waits for its pages, and for its single answers only so long."""

    def __init__(self, inner: RootDisk, place: bytes) -> None:
        """Take the disk, and the mount point that hangs with it."""
        self._inner, self.root, self.place = inner, inner.root, place
        self._hang_guard = HangGuard()
        self._asked_at: float | None = None

    @property
    def silent(self) -> bool:
        """See `RootDisk.silent`."""
        return self._asked_at is not None and time.monotonic() - self._asked_at > SILENT_S

    def verify_root(self) -> None:
        """See `RootDisk.verify_root`; a drive that does not answer is as good as lost."""
        try:
            self._hang_guard.call_with_deadline(self.root, self._inner.verify_root, "check")
        except DriveTimeout as error:
            raise RootLost(
                f"{os.fsdecode(self.root)} does not answer; check the network and the server of this drive"
            ) from error

    def folder(self, path: bytes) -> AbstractContextManager[OpenFolder]:
        """See `RootDisk.folder`; only for threads that serve this drive alone."""
        return self._inner.folder(path)

    def pages(self, path: bytes, only: frozenset[bytes] | None) -> Generator[Page | None, None, None]:
        """See `RootDisk.pages`."""
        pages = self._inner.pages(path, only)
        answer = in_a_thread(lambda: next(pages, None))
        try:
            while True:
                self._asked_at = time.monotonic()
                while not wait((answer,), SOON_S).done:
                    yield None
                self._asked_at = None
                page = answer.result()
                if page is None:
                    return
                yield page
                answer = in_a_thread(lambda: next(pages, None))
        finally:
            self._asked_at = None
            answer.add_done_callback(lambda _: pages.close())  # at once, or when the drive lets go of the thread

    def lstat(self, path: bytes) -> os.stat_result:
        """See `RootDisk.lstat`."""
        return self._hang_guard.call_with_deadline(self.root, lambda: self._inner.lstat(path))

    def lists(self, path: bytes) -> bool:
        """See `RootDisk.lists`."""
        try:
            return self._hang_guard.call_with_deadline(self.root, lambda: self._inner.lists(path))
        except DriveTimeout:
            return False

    def leads_inside(self, path: bytes) -> bool:
        """See `RootDisk.leads_inside`."""
        return self._hang_guard.call_with_deadline(self.root, lambda: self._inner.leads_inside(path))


def disk_of(root: bytes, mount: bytes) -> RootDisk:
    """Return the disk below a resolved root: a patient one where it lies on a drive that may hang.

    Of a drive that is away now nobody knows what it will be, so it counts as one.
    """
    local = LocalDisk(root, mount)
    if is_network(file_system(root)) or (mount and not is_mounted(mount)):
        return HangGuardedDisk(local, mount or root)
    return local
