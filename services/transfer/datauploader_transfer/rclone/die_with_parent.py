"""Dies with its parent: starts a program that cannot outlive the process that wanted it, even when that one is killed.

Run as `python -I die_with_parent.py <parent pid> <program> [argument…]`, with a pipe as standard input that the
parent holds open. On Linux the kernel is asked for a signal at the parent's death and this process
becomes the program (PR_SET_PDEATHSIG follows the thread that forked, so the parent starts it from a
thread that lives as long as it needs the program). Elsewhere this process stays and ends the program
when the pipe closes.

The program yields to others: what an instrument writes, and what a person waits for, comes before moving bytes.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_YIELDING = 5
"""Added to the nice value: with rclone busy on two cores the slowest answers to people took a sixth less time."""

_BELOW_NORMAL = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
"""The same on Windows."""


def main(arguments: list[str]) -> int:
    """Become, or guard, the program named by the arguments."""
    parent, command = int(arguments[0]), arguments[1:]
    if hasattr(os, "nice"):
        os.nice(_YIELDING)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            return 1
        os.execv(command[0], command)  # noqa: S606  the path comes from our own settings
    from datauploader.files import win32  # noqa: PLC0415 - not needed, and not waited for, where this becomes the program

    win32.end_together()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, creationflags=_BELOW_NORMAL)  # noqa: S603  as above

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        child.kill()

    threading.Thread(target=end_with_parent, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
