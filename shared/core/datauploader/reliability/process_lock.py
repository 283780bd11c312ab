"""One process for each service and state folder: a lock that the operating system ends with the process."""

import errno
import os
import sys
from pathlib import Path

from datauploader.errors import StateInUse, StateUnavailable

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""How systems say that somebody else has a lock; anything else means that there are no locks here."""
_FAR = 2**30
"""Where the locked byte lies on Windows, so that everybody can still read who holds the lock."""


class FolderLock:
    """Holds `<name>.lock` of a folder until `release`, or until this process is gone, however it ends."""

    def __init__(self, folder: Path, name: str) -> None:
        """Take the lock.

        Raises:
            StateInUse: another process holds it.
            StateUnavailable: the folder cannot be written, or its disk knows no locks.
        """
        self.path = folder / f"{name}.lock"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateUnavailable(
                f"{self.path} cannot be made ({error.strerror}): see DATAUPLOADER_STATE_DIR"
            ) from error
        try:
            _take(self._file)
        except OSError as error:
            os.close(self._file)
            if error.errno not in _HELD:
                raise StateUnavailable(
                    f"{self.path} cannot be locked ({error.strerror}): put the state folder on a disk of this machine"
                ) from error
            raise StateInUse(
                f"{name} already runs on the state folder {folder} ({holder(self.path)}): stop that one first, or give "
                "this one a folder of its own (DATAUPLOADER_STATE_DIR)"
            ) from error
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others have it; the file stays, because removing it could take another one's lock away."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def holder(path: Path) -> str:
    """Say which process wrote its number into a lock file last."""
    try:
        return f"process {int(path.read_text(encoding='ascii'))}"
    except (OSError, ValueError):
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> None:
        os.lseek(file, _FAR, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _take(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
