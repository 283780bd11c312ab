"""Whether somebody has a file open for writing: Windows says it when a file is opened, Linux when a lease is asked for.

A read lease (`man 2 fcntl`) is given only while no process has the file open for writing, a writable memory map
included. Who opens it for writing later waits until the lease is given back, and its holder can see that.
"""

import errno
import os
import signal
import sys
import time
from pathlib import Path

from datauploader.files import win32
from datauploader_watcher.adapters.mounts import is_network

SHARING_VIOLATION = 32
LOCK_VIOLATION = 33


def is_locked(error: OSError) -> bool:
    """Tell whether the file is only in use now, which says "later" and not "never"."""
    return getattr(error, "winerror", None) in (SHARING_VIOLATION, LOCK_VIOLATION)


def has_writer(descriptor: int) -> bool | None:
    """Tell whether a program has the file open for writing now; None where this system, drive or account cannot."""
    free = take_lease(descriptor)
    if free:
        give_lease_back(descriptor)
    return None if free is None else not free


if sys.platform == "linux":
    import fcntl

    _FDINFO, _MOUNTS = Path("/proc/self/fdinfo"), Path("/proc/self/mountinfo")
    _REMEMBERED_S = 10.0
    _kinds: dict[int, tuple[float, str | None]] = {}

    def take_lease(descriptor: int) -> bool | None:
        """Take a read lease on a file that is open for reading; False while somebody writes, None where none is given.

        An account that neither owns the file nor has the capability CAP_LEASE is given none, and a lease on a drive
        with writers elsewhere would say nothing about those.
        """
        kind = _kind(descriptor)
        if kind is None or is_network(kind):
            return None
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # ignored by default; SIGIO would end the process
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return False if error.errno == errno.EAGAIN else None
        return True

    def holds_lease(descriptor: int) -> bool:
        """Tell whether the lease stands, and nobody waits to open the file for writing."""
        return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK

    def give_lease_back(descriptor: int) -> None:
        """Let writers in again."""
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def _kind(descriptor: int) -> str | None:
        """Return the type of the file system that a file lies on, None where nobody says it."""
        device = os.fstat(descriptor).st_dev
        known = _kinds.get(device)
        if known is None or known[0] < time.monotonic():
            known = _kinds[device] = (time.monotonic() + _REMEMBERED_S, _look_up(descriptor))
        return known[1]

    def _look_up(descriptor: int) -> str | None:
        try:
            mount = next(
                line.split()[1] for line in (_FDINFO / str(descriptor)).read_text().splitlines() if "mnt_id" in line
            )
            rows = (line.split() for line in _MOUNTS.read_text(errors="replace").splitlines())
            return next(row[row.index("-") + 1] for row in rows if row[0] == mount)
        except (OSError, StopIteration, ValueError):
            return None

else:

    def take_lease(descriptor: int) -> bool | None:  # noqa: ARG001 - as on Linux
        """Other systems give no leases."""
        return None

    def holds_lease(descriptor: int) -> bool:  # noqa: ARG001 - as on Linux
        """There is none."""
        return False

    def give_lease_back(descriptor: int) -> None:
        """There is none."""


def open_sharing(path: str) -> int:
    """Open a file of Windows for reading, once nobody has it open for writing; nobody is kept from it meanwhile.

    An instrument that wants to write on, rename or remove it can do so at any moment: stamps tell that it has changed.

    Raises:
        OSError: with `winerror` 32 while a program has it open for writing.
    """
    os.close(win32.open_file(path, share=win32.SHARE_READ | win32.SHARE_DELETE))
    return win32.open_file(path)


if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.SetFileInformationByHandle.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
    _kernel.GetFileInformationByHandleEx.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
    _BASIC, _CHANGE_TIME_AT, _SIZE_OF_BASIC, _DISPOSITION = 0, 3, 5, 4

    def change_time(descriptor: int) -> int:
        """Return when anything of a file was changed last, in 100 ns since 1601: no program can put that back.

        https://learn.microsoft.com/windows/win32/api/winbase/ns-winbase-file_basic_info
        """
        found = (ctypes.c_int64 * _SIZE_OF_BASIC)()
        handle = msvcrt.get_osfhandle(descriptor)
        if not _kernel.GetFileInformationByHandleEx(handle, _BASIC, ctypes.byref(found), ctypes.sizeof(found)):
            raise ctypes.WinError(ctypes.get_last_error())
        return found[_CHANGE_TIME_AT]

    def open_to_remove(path: str) -> int:
        """Open for removal; OSError with `winerror` 32 while others have it open for more than reading."""
        return win32.open_file(path, access=win32.READ | win32.DELETE, share=win32.SHARE_READ)

    def remove_when_closed(descriptor: int) -> None:
        """Have a file that `open_to_remove` opened go when it is closed."""
        gone = ctypes.c_ubyte(1)
        handle = msvcrt.get_osfhandle(descriptor)
        if not _kernel.SetFileInformationByHandle(handle, _DISPOSITION, ctypes.byref(gone), 1):
            raise ctypes.WinError(ctypes.get_last_error())

else:

    def change_time(descriptor: int) -> int:
        """Return when anything of a file was changed last."""
        return os.fstat(descriptor).st_ctime_ns

    def open_to_remove(path: str) -> int:
        """Refuse: elsewhere files are held by the descriptor of their folder."""
        raise OSError(errno.ENOSYS, "only Windows removes a file by its path", path)

    def remove_when_closed(descriptor: int) -> None:
        """Refuse: nothing was opened for that."""
        raise OSError(errno.ENOSYS, "only Windows removes a file by its handle", str(descriptor))
