"""Which file system a folder lies on: whether events come from it, and whether it is still there."""

import os
from pathlib import Path

from datauploader.files import win32

NETWORK = frozenset(
    (
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs",
        "ncpfs", "davfs", "sshfs", "virtiofs", "vboxsf", "vmhgfs",
    )
)  # fmt: skip
"""File-system types whose other writers raise no event here; every `fuse…` counts as well."""
_MOUNTS = Path("/proc/self/mounts")


def mount_point(path: bytes, mounts: Path = _MOUNTS) -> bytes:
    """Return the mount point that a folder lies on; b"" for the system's own root, which never goes away.

    The table of mounts tells it, where there is one: of a folder that is mounted elsewhere too the device says nothing.
    """
    here = os.path.realpath(path)
    table = _table(mounts)
    if table is not None:
        return max((point for point, _ in table if _is_on(here, point) and point != b"/"), key=len, default=b"")
    while not os.path.ismount(os.fsdecode(here)):  # on Windows it takes no bytes
        here = os.path.dirname(here)  # noqa: PTH120 - bytes
    return b"" if os.path.dirname(here) == here and os.name != "nt" else here  # noqa: PTH120 - bytes


def file_system(path: bytes, mounts: Path = _MOUNTS) -> str:
    """Return the type of the file system that a folder lies on, "" where that cannot be known.

    Nothing is asked of the folder, which may lie on a drive that does not answer: its path must be resolved already.
    """
    if os.name == "nt":
        return "smb3" if win32.is_remote(os.path.splitdrive(os.fsdecode(path))[0]) else ""
    here, best, kind = os.path.abspath(path), b"", ""  # noqa: PTH100 - bytes
    for point, one in _table(mounts) or ():
        if _is_on(here, point) and len(point) >= len(best):
            best, kind = point, one
    return kind


def is_mounted(point: bytes, mounts: Path = _MOUNTS) -> bool:
    """Tell whether something is mounted at a place, without asking the place itself where there is a table."""
    table = _table(mounts)
    return os.path.ismount(os.fsdecode(point)) if table is None else any(one == point for one, _ in table)


def is_network(kind: str) -> bool:
    """Tell whether a file system has writers whose changes raise no event on this machine."""
    return kind in NETWORK or kind.startswith("fuse")


def _table(mounts: Path) -> list[tuple[bytes, str]] | None:
    """Read the mount points and the types of what is mounted there, in the order of the mounting."""
    if os.name == "nt":  # Wine shows the table of the system below it
        return None
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return None
    rows = (line.split(b" ") for line in lines)
    return [
        (row[1].decode("unicode_escape").encode("latin-1"), row[2].decode("ascii", "replace"))
        for row in rows
        if len(row) > 2  # noqa: PLR2004 - device, mount point, type
    ]


def _is_on(path: bytes, point: bytes) -> bool:
    return path == point or path.startswith(point.rstrip(b"/") + b"/")
