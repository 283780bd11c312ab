"""Names of objects: which may be written, which some storages take for one, and how rclone wants them.

Names are encoded here and nowhere else. rclone writes paths in its "standard" form: control characters, DEL and NUL
stand as their Unicode symbols (newline is U+240A), and a name that holds such a symbol itself has it quoted with
U+201B (https://rclone.org/overview/#restricted-filenames). Each backend then decodes the standard form into what its
storage can hold. Giving rclone the plain name works for most names and takes the wrong file for the others, so every
name passes through here.

Bytes that are not UTF-8 stay what they are (surrogateescape); JSON cannot carry them, query parameters
of rclone's rc can, and `needs_bytes` tells the two apart.
"""

import posixpath
import re
from collections.abc import Iterable

from datauploader.contracts.names import same_look
from datauploader_transfer.errors import BadTarget

__all__ = ["checked_target", "common_folder", "needs_bytes", "place", "plain_path", "standard_path"]

_QUOTE = "\u201b"
_SPECIAL = re.compile("[\x00-\x1f\x7f\u201b\u2400-\u241f\u2421\uff0f\uff0e]")
_FULL_DOTS = {"\uff0e": "\u201b\uff0e", "\uff0e\uff0e": "\u201b\uff0e\u201b\uff0e"}
_SYMBOLS = (
    {chr(code): chr(0x2400 + code) for code in range(0x20)}
    | {"\x7f": "\u2421"}
    | {chr(code): _QUOTE + chr(code) for code in (*range(0x2400, 0x2420), 0x2421, 0x201B, 0xFF0F)}
)
_TABLE = str.maketrans(_SYMBOLS)
_STANDARD = re.compile("\u201b(.)|[\u2400-\u241f\u2421]", re.DOTALL)
_NO_NAMES = frozenset({"", ".", ".."})
_SURROGATE = re.compile("[\udc80-\udcff]")


def standard_path(path: str) -> str:
    """Return a '/'-separated path in rclone's standard form."""
    if _is_plain(path) or not _SPECIAL.search(path):
        return path
    return "/".join(_FULL_DOTS.get(name) or name.translate(_TABLE) for name in path.split("/"))


def plain_path(path: str) -> str:
    """Return the path that `standard_path` wrote so."""

    def character(found: re.Match[str]) -> str:
        if quoted := found[1]:
            return str(quoted)
        return "\x7f" if found[0] == "\u2421" else chr(ord(found[0]) - 0x2400)

    return _STANDARD.sub(character, path)


def needs_bytes(text: str) -> bool:
    """Tell whether the text holds bytes that are not UTF-8, which JSON cannot carry."""
    return not _is_plain(text) and _SURROGATE.search(text) is not None


def checked_target(target: str) -> str:
    """Return the target unchanged when it is a plain relative path.

    Raises:
        BadTarget: it is empty, absolute, has an empty, '.' or '..' part, or holds a NUL.
    """
    if not target or "\x00" in target:
        raise BadTarget(f"{target!r} is no object path: it is empty or holds a NUL. Name the file it stands for.")
    if not _NO_NAMES.isdisjoint(target.split("/")):
        raise BadTarget(
            f"{target!r} would not stay below the remote's base. Give a relative path without '.', '..' or empty parts."
        )
    return target


def _is_plain(text: str) -> bool:
    """Tell quickly of most names that nothing about them is peculiar."""
    return text.isascii() and text.isprintable()


def common_folder(targets: Iterable[str]) -> str:
    """Return the deepest folder that holds all targets, "" for the remote's base; the same on every system."""
    return posixpath.commonpath([target.rpartition("/")[0] for target in targets])


def place(target: str) -> str:
    """Return what two targets share that some storages take for one: no case, one Unicode form."""
    return same_look(target)
