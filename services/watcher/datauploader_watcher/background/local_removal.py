"""Whether one local copy may go, found out while it is held: its own bytes, its stamp, and nobody writing to it."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from os import read

from datauploader.errors import MessagingError
from datauploader_watcher.adapters.disk import RootDisk, lstat, stamp_of
from datauploader_watcher.adapters.removal import HeldFile
from datauploader_watcher.adapters.sharing import is_locked
from datauploader_watcher.domain.versions import Stamp, join, split
from datauploader_watcher.errors import PathMissing
from datauploader_watcher.ledger.files import FileRow
from datauploader_watcher.settings import HIDDEN_PREFIX

_BLOCK = 1 << 20
CHANGED = "it has changed since it was uploaded"
OPEN = "another program has it open for writing"
UNKNOWN = (
    "nobody can tell here whether a program still has it open for writing: that takes a local drive, and an account "
    "that owns the file or has the capability CAP_LEASE"
)


@dataclass(frozen=True, slots=True)
class Removal:
    """The removal of one local file, that of a row in state `releasing`."""

    disk: RootDisk
    row: FileRow
    stopping: Callable[[], bool]

    @property
    def hidden(self) -> bytes:
        """The name that the file has for a moment before it is gone: the same after a crash."""
        version = self.row.version
        text = f"{version.key}\0{version.revision}".encode() + b"\0" + self.row.path
        return HIDDEN_PREFIX + hashlib.sha256(text).hexdigest()[:16].encode()

    def left_hidden(self) -> bool:
        """Tell whether a former run died after it had hidden the file.

        Raises:
            FolderError: its folder could not be looked at.
        """
        try:
            lstat(self.disk, join(split(self.row.path)[0], self.hidden))
        except PathMissing:
            return False
        return True

    def remove(self, mark: Callable[[], None]) -> str:
        """Remove the file if nothing speaks against it; return why it stays.

        Args:
            mark: called before it is touched, to leave a note for the case of a crash.

        Raises:
            MessagingError: the watcher stops.
        """
        folder, name = split(self.row.path)
        try:
            with self.disk.folder(folder) as opened, opened.hold(name) as held:
                if why := self._objection(held, self.row.stamp):
                    return why
                mark()
                return held.remove(self.hidden)
        except OSError as error:
            return _problem(error)

    def finish(self) -> str:
        """Remove the file that was hidden already, or give it its name again; return why it stays.

        Raises:
            MessagingError: the watcher stops.
        """
        folder, name = split(self.row.path)
        stamp = self.row.stamp._replace(ctime_ns=0)  # the hiding has changed it
        try:
            with self.disk.folder(folder) as opened:
                with opened.hold(self.hidden) as held:
                    why = self._objection(held, stamp) or held.remove(self.hidden)
                return why and why + opened.put_back(self.hidden, name)
        except OSError as error:
            return _problem(error)

    def _objection(self, held: HeldFile, stamp: Stamp) -> str:
        """Say what speaks against the removal of the file that is held, after reading it whole."""
        if held.free is None:
            return UNKNOWN
        if not stamp.agrees(stamp_of(os.fstat(held.descriptor))):
            return CHANGED
        digest = hashlib.sha256()
        while held.free and (data := read(held.descriptor, _BLOCK)):
            if self.stopping():
                raise MessagingError("the watcher stops")
            digest.update(data)
        if not held.free:
            return OPEN
        same = digest.digest() == self.row.digests.sha256 and stamp.agrees(stamp_of(os.fstat(held.descriptor)))
        return "" if same else CHANGED


def _problem(error: OSError) -> str:
    return OPEN if is_locked(error) else f"it could not be removed: {error.strerror}"
