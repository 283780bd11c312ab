"""What Windows offers beyond Python: opening a file by any name it has, and so that nobody else is kept from it."""

import os
import signal
import sys

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, *((signal.Signals["SIGBREAK"],) if sys.platform == "win32" else ()))
"""What asks a process to end: on Windows also Ctrl-Break, and a console that is closed."""
READ = 0x80000000
DELETE = 0x00010000
SHARE_READ, SHARE_WRITE, SHARE_DELETE = 0x1, 0x2, 0x4
SHARE_ALL = SHARE_READ | SHARE_WRITE | SHARE_DELETE
_OPEN_EXISTING = 3
_OPEN_REPARSE_POINT = 0x00200000
_DRIVE_REMOTE = 4
_KILL_ON_JOB_CLOSE, _EXTENDED_LIMITS, _SIZE_OF_LIMITS, _FLAGS_AT = 0x2000, 9, 144, 16


def long_path(path: str) -> str:
    r"""Write an absolute Windows path so that Windows takes it to the letter (`\\?\`, UNC shares included).

    It may then have more than 260 characters, end in a dot or a blank, and be called as a device (`CON`).
    https://learn.microsoft.com/windows/win32/fileio/naming-a-file
    """
    text = path.replace("/", "\\")
    if text.startswith("\\\\?\\"):
        return text
    if text.startswith("\\\\"):
        return "\\\\?\\UNC\\" + text[2:]
    return "\\\\?\\" + text


def verbatim(path: bytes) -> bytes:
    """Write an absolute path so that the system takes it to the letter; elsewhere than on Windows it does anyway."""
    return os.fsencode(long_path(os.fsdecode(path))) if os.name == "nt" else path


if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.CreateFileW.restype = wintypes.HANDLE
    _kernel.CreateJobObjectW.restype = wintypes.HANDLE
    _kernel.GetCurrentProcess.restype = wintypes.HANDLE
    _kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    _kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)

    def open_file(path: str, *, access: int = READ, share: int = SHARE_ALL) -> int:
        """Open a file, never what a link leads to, and let others open it for as much as `share` says.

        Raises:
            OSError: with `winerror` 32 where others have it open for more than that.
        """
        how = (None, _OPEN_EXISTING, _OPEN_REPARSE_POINT, None)
        handle = _kernel.CreateFileW(long_path(path), access, share, *how)
        if handle == wintypes.HANDLE(-1).value:
            raise ctypes.WinError(ctypes.get_last_error())
        return msvcrt.open_osfhandle(handle, os.O_RDONLY | os.O_BINARY)

    def is_remote(drive: str) -> bool:
        r"""Tell whether a drive (`D:`, `\\server\share`) is one of another computer."""
        return drive.startswith("\\\\") or _kernel.GetDriveTypeW(drive + "\\") == _DRIVE_REMOTE

    def end_together() -> None:
        """Have the system end every process that this one starts when this one ends, however that comes."""
        job = _kernel.CreateJobObjectW(None, None)  # held until the end of this process
        limits = (ctypes.c_ubyte * _SIZE_OF_LIMITS)()
        ctypes.c_uint32.from_buffer(limits, _FLAGS_AT).value = _KILL_ON_JOB_CLOSE
        _kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), _SIZE_OF_LIMITS)
        _kernel.AssignProcessToJobObject(job, _kernel.GetCurrentProcess())

else:

    def open_file(path: str, *, access: int = READ, share: int = SHARE_ALL) -> int:  # noqa: ARG001 - as on Windows
        """Open a file; elsewhere no open keeps others from it."""
        return os.open(path, os.O_RDONLY)

    def is_remote(drive: str) -> bool:  # noqa: ARG001 - as on Windows
        """Only Windows has drives."""
        return False

    def end_together() -> None:
        """Only Windows needs it."""
