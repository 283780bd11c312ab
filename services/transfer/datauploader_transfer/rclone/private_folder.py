"""A private folder that vanishes with its owner: at once when it closes, at the next start after a kill."""

import contextlib
import os
import shutil
import stat
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

import structlog

if sys.platform != "win32":
    import fcntl

__all__ = ["FolderOnDemand", "PrivateFolder", "in_memory"]

log = structlog.get_logger()

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder that only we may enter is made in it
_OWNER = "owner"
"""The file that the owner holds: locked, or on Windows open and therefore not removable, as long as it lives."""


def in_memory() -> Path | None:
    """Return the folder of the system whose files lie in memory, None where there is none that we may use.

    On a disk with ext4 each new file is looked a place for among all that were removed in the last seconds: the links
    to 10,000 files, 500 at a time, took 5 to 10 s of processor there instead of 0.5 s.
    """
    return _MEMORY if sys.platform != "win32" and os.access(_MEMORY, os.W_OK | os.X_OK) else None


class PrivateFolder:
    """Make a folder that only we may enter, and first remove those whose owners were killed."""

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        place = parent or Path(tempfile.gettempdir())
        _sweep(prefix, place)
        if sys.platform == "win32":  # no folder is renamed that has an open file; one without an owner is left alone
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
            self._owner = (self.path / _OWNER).open("wb")
            return
        made = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=place))  # created with mode 0700
        self._owner = (made / _OWNER).open("wb")
        _try_lock(self._owner)
        self.path = place / made.name.removeprefix(".")  # found by others only now that it is held
        made.rename(self.path)

    def close(self) -> None:
        """Remove the folder with everything in it."""
        self._owner.close()
        shutil.rmtree(self.path, ignore_errors=True)


class FolderOnDemand:
    """A private folder that is made when it is first asked for; what killed owners have left goes at once.

    One that somebody has removed is made anew: systemd does that to what a user has in memory when they log out.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        self._prefix, self._parent = prefix, parent
        self._lock = threading.Lock()
        self._made: PrivateFolder | None = None
        _sweep(prefix, parent or Path(tempfile.gettempdir()))

    @property
    def path(self) -> Path:
        """Where it is; OSError as the system raises it where it cannot be made."""
        with self._lock:
            if self._made is not None and not self._made.path.is_dir():
                self._made.close()
                self._made = None
            if self._made is None:
                if self._parent is not None:
                    self._parent.mkdir(parents=True, exist_ok=True)
                self._made = PrivateFolder(self._prefix, self._parent)
            return self._made.path

    def close(self) -> None:
        """Remove it with everything in it."""
        with self._lock:
            if self._made is not None:
                self._made.close()


def _sweep(prefix: str, place: Path) -> None:
    for folder in place.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            seen = folder.lstat()
            ours = stat.S_ISDIR(seen.st_mode) and (sys.platform == "win32" or seen.st_uid == os.geteuid())
            if ours and _is_free(folder / _OWNER):
                shutil.rmtree(folder, ignore_errors=True)
                log.info("leftover_removed", folder=str(folder))


def _is_free(owner: Path) -> bool:
    """Tell whether nobody holds the file any more; one that is not there belongs to somebody unknown."""
    if sys.platform == "win32":
        owner.unlink()  # refused while it is open
        return True
    with owner.open("rb") as file:
        return _try_lock(file)


def _try_lock(file: IO[bytes]) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
