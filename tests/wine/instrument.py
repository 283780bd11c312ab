"""Writes a file as acquisition programs of Windows do; runs in Windows' Python: `instrument.py WAY FILE GO`.

WAY is `alone` (nobody else may open it meanwhile), `shared` (everybody may do anything), `renamed` (under a temporary
name first), or `appended` (closed, opened again and lengthened, which must not fail while somebody reads). The file is
finished when the file GO is there. The exit code is 0 only if no step was ever refused.
"""

import ctypes
import sys
import time
from pathlib import Path

WRITE, CREATE_ALWAYS, OPEN_ALWAYS, SHARE_ALL = 0x40000000, 2, 4, 7
PIECES = 40


def main(way: str, file: str, go: str) -> None:
    """Write forty pieces, half of them before GO."""
    name = f"{file}.tmp" if way == "renamed" else file
    share = 0 if way == "alone" else SHARE_ALL
    handle = opened(name, share, CREATE_ALWAYS)
    for number in range(PIECES):
        if number == PIECES // 2:
            sys.stdout.write("half\n")
            sys.stdout.flush()
            while not Path(go).exists():
                time.sleep(0.05)
        if way == "appended":
            close(handle)
            handle = opened(name, share, OPEN_ALWAYS)
        write(handle, f"piece {number} of {file}\n".encode() * 100)
    close(handle)
    if way == "renamed":
        Path(name).replace(file)


def opened(name: str, share: int, how: int) -> int:
    """Open a file for writing at its end; OSError if that is refused."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.CreateFileW.restype = ctypes.c_void_p
    handle = kernel.CreateFileW(name, WRITE, share, None, how, 0x80, None)
    if handle == ctypes.c_void_p(-1).value:
        raise ctypes.WinError(ctypes.get_last_error())
    kernel.SetFilePointer(ctypes.c_void_p(handle), 0, None, 2)
    return handle


def write(handle: int, data: bytes) -> None:
    """Write bytes."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    done = ctypes.c_uint32()
    if not kernel.WriteFile(ctypes.c_void_p(handle), data, len(data), ctypes.byref(done), None):
        raise ctypes.WinError(ctypes.get_last_error())


def close(handle: int) -> None:
    """Close the file."""
    ctypes.WinDLL("kernel32").CloseHandle(ctypes.c_void_p(handle))


main(*sys.argv[1:])
