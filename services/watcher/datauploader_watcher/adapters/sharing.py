"""Windows' way of saying that somebody writes: an open that denies writers fails while there is one."""

import os
import sys

SHARING_VIOLATION = 32
LOCK_VIOLATION = 33


def is_locked(error: OSError) -> bool:
    """Tell whether the file is only in use now, which says "later" and not "never"."""
    return getattr(error, "winerror", None) in (SHARING_VIOLATION, LOCK_VIOLATION)


def long_path(path: str) -> str:
    r"""Write an absolute Windows path so that more than 260 characters are allowed (`\\?\`, UNC shares included)."""
    text = path.replace("/", "\\")
    if text.startswith("\\\\?\\"):
        return text
    if text.startswith("\\\\"):
        return "\\\\?\\UNC\\" + text[2:]
    return "\\\\?\\" + text


if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.CreateFileW.restype = wintypes.HANDLE
    _GENERIC_READ = 0x80000000
    _SHARE_READ_AND_DELETE = 0x1 | 0x4
    _OPEN_EXISTING = 3
    _OPEN_REPARSE_POINT = 0x00200000

    def open_denying_writers(path: str, flags: int) -> int:
        """Open for reading; OSError with `winerror` 32 while another program has the file open for writing."""
        handle = _kernel.CreateFileW(
            long_path(path), _GENERIC_READ, _SHARE_READ_AND_DELETE, None, _OPEN_EXISTING, _OPEN_REPARSE_POINT, None
        )
        if handle == wintypes.HANDLE(-1).value:
            raise ctypes.WinError(ctypes.get_last_error())
        return msvcrt.open_osfhandle(handle, flags)

else:

    def open_denying_writers(path: str, flags: int) -> int:
        """Open for reading; elsewhere no open denies writers, so this one does not either."""
        return os.open(path, flags)
