"""Names of systems and of programs at work: what lies between people's files and is none of them.

One table for everybody: standing rules make no dataset of such a folder, uploads leave out what has such a name, and
harvesters do not try it. Names count whatever their case. A system's own name stays what it is; a temporary one waits
for the program to give the file its own name.
"""

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Literal

SYSTEM_FOLDERS: dict[str, tuple[str, ...]] = {
    "macOS": (
        ".AppleDB", ".AppleDesktop", ".AppleDouble", ".DocumentRevisions-V100", ".fseventsd", ".Spotlight-V100",
        ".TemporaryItems", ".Trashes", "__MACOSX", "Network Trash Folder",
    ),
    "Windows": ("$RECYCLE.BIN", "RECYCLER", "System Volume Information"),
    "Synology, QNAP": ("#recycle", "#snapshot", "@eaDir", "@Recently-Snapshot", "@Recycle", "@tmp", ".@__thumb"),
    "NetApp, ZFS": (".snapshot", "~snapshot", ".zfs"),
    "Linux": (".Trash", ".Trash-*", "lost+found"),
}  # fmt: skip
"""Folders, with whose they are: recycle bins, snapshots, indexes, thumbnails; deleted files of people lie in some."""
SYSTEM_FILES: dict[str, tuple[str, ...]] = {
    "macOS": ("._*", ".apdisk", ".DS_Store", ".VolumeIcon.icns", "Icon\r"),
    "Windows": ("desktop.ini", "ehthumbs.db", "hiberfil.sys", "pagefile.sys", "swapfile.sys", "Thumbs.db"),
    "Linux": (".directory",),
}
TEMPORARY: dict[str, tuple[str, ...]] = {
    "browsers and downloads": (
        "*.aria2", "*.crdownload", "*.download", "*.opdownload", "*.part", "*.partial", "*.filepart",
    ),
    "editors and offices": (".*.sw?", "*.swp", ".*.kate-swp", "?*~", "#*#", ".#*", ".~lock*", "~$*"),
    "desktops and synchronization": (".goutputstream-*", ".*.tmp", "~syncthing~*.tmp", ".~tmp~"),
    "SQLite": ("?*.?*-journal", "?*.?*-shm", "?*.?*-wal"),
    "locks": ("*.lock",),
    "network file systems": (".__smb*", ".cifs*", ".fuse_hidden*", ".nfs*", ".smbdelete*"),
}  # fmt: skip
"""Files, and folders, under the name that they have while a program works on them."""
RSYNC = re.compile(r"\..+\.(?![a-z]{6}$|[A-Z]{6}$|[0-9]{6}$)[A-Za-z0-9]{6}", re.DOTALL)
"""`.name.XXXXXX`, six random signs: a word (`.run.sqlite`) or a date (`.log.202601`) is none."""

Leftover = Literal["system", "temporary"]


def any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Make one expression that a name fits, whatever its case, where it fits one of some shell patterns."""
    return re.compile("|".join(f"(?:{translate(pattern)})" for pattern in patterns) or r"(?!)", re.IGNORECASE)


def all_names(table: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the patterns of a table."""
    return tuple(pattern for patterns in table.values() for pattern in patterns)


_FOLDERS, _FILES = any_of(all_names(SYSTEM_FOLDERS)), any_of(all_names(SYSTEM_FILES))
_TEMPORARY = any_of(all_names(TEMPORARY))


def is_system(name: str, *, folder: bool) -> bool:
    """Tell whether a system gave this name to a folder, or to a file."""
    return (_FOLDERS if folder else _FILES).fullmatch(name) is not None


def leftover(name: str, *, folder: bool = False) -> Leftover | None:
    """Tell whose a name is: a system's, a program's at work, or, with None, a person's."""
    if is_system(name, folder=folder):
        return "system"
    return "temporary" if _TEMPORARY.fullmatch(name) or RSYNC.fullmatch(name) else None


def is_leftover(path: str) -> bool:
    """Tell it of a file by its path, the folders that it lies in included."""
    *folders, name = path.split("/")
    return leftover(name) is not None or any(leftover(one, folder=True) for one in folders)
