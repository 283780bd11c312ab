"""What a process has started, and what that has started: found and ended also where it has left its group.

On Linux alone, where the kernel hands orphans to the process that asks for them (PR_SET_CHILD_SUBREAPER of prctl(2)):
so whatever a reader starts stays below it as long as it lives.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_MOST_ROUNDS = 100
"""What is started while others are ended is found in the next round."""


def adopt_orphans() -> None:
    """Have what our children leave behind become our children."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children() -> None:
    """End all that this process has started, directly or not, and wait for it."""
    if sys.platform == "linux":
        while _has_children():
            end_descendants(os.getpid())


def end_descendants(ancestor: int) -> None:
    """Kill all that a process has started; it must be one that takes orphans, and should not start more meanwhile."""
    if sys.platform != "linux":
        return
    for _ in range(_MOST_ROUNDS):
        found = list(_descendants(ancestor))
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


def _has_children() -> bool:
    """Reap those that have ended; tell whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _descendants(ancestor: int) -> Iterator[int]:
    """Yield those that live."""
    children: dict[int, list[int]] = {}
    ended = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):
            state, parent = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            children.setdefault(int(parent), []).append(int(entry.name))
            if state == "Z":
                ended.add(int(entry.name))
    below = [ancestor]
    while below:
        for child in children.get(below.pop(), ()):
            below.append(child)
            if child not in ended:
                yield child
