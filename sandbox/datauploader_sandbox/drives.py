"""Drives that are unplugged, hang, fill up, or tell nobody what is written to them; to mount one takes root."""

import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from concurrent.futures import wait
from pathlib import Path
from typing import Self

from datauploader.reliability.hang_guard import in_a_thread
from datauploader_testing.waiting import eventually

RCLONE = str(Path(sys.executable).with_name("rclone"))

REMEMBERED_S = 0.4
"""Twice as long as a network drive's answers are remembered here."""


class MountFailedError(RuntimeError):
    """A drive cannot be mounted here; the message says what it takes."""


class _Drive(ABC):
    """Something that is mounted at a folder, from `__enter__` to `__exit__`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        if self.plugged:
            self.unplug()

    @property
    def plugged(self) -> bool:
        """Tell whether it is mounted, without touching it: one that hangs would not answer."""
        points = (line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines())
        return str(self.folder) in points

    @abstractmethod
    def plug(self) -> None:
        """Mount it."""

    def unplug(self) -> None:
        """Unmount it at once, whoever has a file open on it."""
        _run("umount", "--lazy", str(self.folder))


class MemoryDrive(_Drive):
    """A disk of a few MiB in memory; unplugging it loses what it holds."""

    def __init__(self, folder: Path, mib: int) -> None:
        super().__init__(folder)
        self._mib = mib

    def plug(self) -> None:
        """See `_Drive.plug`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._mib}m", "none", str(self.folder))

    def grow(self, mib: int) -> None:
        """Give it more room."""
        _run("mount", "-o", f"remount,size={mib}m", str(self.folder))


class RemovableDrive(_Drive):
    """A folder elsewhere that is mounted here; it keeps what it holds while it is unplugged."""

    def __init__(self, folder: Path, content: Path) -> None:
        super().__init__(folder)
        self.content = content

    def plug(self) -> None:
        """See `_Drive.plug`."""
        for path in (self.folder, self.content):
            path.mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", str(self.content), str(self.folder))


class NetworkDrive(_Drive):
    """A network drive: rclone mounts a folder through FUSE, and what others write there raises no event here.

    `content` is the server's side. A frozen drive is one whose server does not answer: whoever touches it hangs.
    """

    def __init__(self, folder: Path, content: Path) -> None:
        super().__init__(folder)
        self.content = content
        self._mounting: subprocess.Popen[bytes] | None = None

    def plug(self) -> None:
        """See `_Drive.plug`."""
        for path in (self.folder, self.content):
            path.mkdir(parents=True, exist_ok=True)
        fresh = ("--dir-cache-time", "200ms", "--attr-timeout", "200ms", "--vfs-cache-mode", "off", "--config", "")
        self._mounting = process = subprocess.Popen(
            [RCLONE, "mount", str(self.content), str(self.folder), *fresh], stdout=subprocess.DEVNULL
        )
        eventually(lambda: self.plugged or process.poll() is not None, what="rclone mounts the drive")
        if process.poll() is not None:
            raise MountFailedError("rclone cannot mount here; it takes root, /dev/fuse and Debian's package fuse3")

    def unplug(self) -> None:
        """See `_Drive.unplug`."""
        self.drop()
        super().unplug()

    def freeze(self) -> None:
        """Let the server fall silent; return when nothing is answered from what this machine remembers either."""
        self._signal(signal.SIGSTOP)
        eventually(lambda: not wait((in_a_thread(self.folder.stat),), REMEMBERED_S).done, what="the drive hangs")

    def thaw(self) -> None:
        """Let the server answer again."""
        self._signal(signal.SIGCONT)

    def drop(self) -> None:
        """End the connection to the server: every access is an error from now on, until it is plugged again."""
        if self._mounting is not None:
            self._mounting.kill()
            self._mounting.wait()
            self._mounting = None

    def _signal(self, number: int) -> None:
        assert self._mounting is not None, "the drive is not plugged"
        self._mounting.send_signal(number)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MountFailedError(f"mounting takes root with CAP_SYS_ADMIN: {' '.join(command)}: {done.stderr.strip()}")
