"""A folder of an open upload that the administrator has taken out of `roots`: nothing in it is read any more."""

import errno
import os
from collections.abc import Generator
from typing import NoReturn

from datauploader_watcher.adapters.disk import Page
from datauploader_watcher.errors import RootLost

BARRED = (
    "the administrator has removed this folder from `roots`, so it is no longer read; close the upload "
    "(stored files are kept), or have the folder added again"
)


class BarredDisk:
    """A `RootDisk` that gives nothing out: its root is lost for as long as the service runs."""

    place = b""
    silent = False

    def __init__(self, root: bytes) -> None:
        """Take the root, for its name."""
        self.root = root

    def verify_root(self) -> None:
        """Say why it is lost."""
        raise RootLost(f"{os.fsdecode(self.root)}: {BARRED}")

    def folder(self, path: bytes) -> NoReturn:
        """Refuse."""
        raise PermissionError(errno.EACCES, BARRED, path)

    def pages(self, path: bytes, only: frozenset[bytes] | None) -> Generator[Page | None, None, None]:  # noqa: ARG002 - as `RootDisk` has it
        """Refuse."""
        self.folder(path)
        yield None

    def lstat(self, path: bytes) -> os.stat_result:
        """Refuse."""
        self.folder(path)

    def lists(self, path: bytes) -> bool:  # noqa: ARG002 - as `RootDisk` has it
        """Nothing can be listed."""
        return False

    def leads_inside(self, path: bytes) -> bool:  # noqa: ARG002 - as `RootDisk` has it
        """No link is looked at."""
        return False
