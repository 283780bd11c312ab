"""Which objects are what an attempt left behind that was cut off: rclone's temporary names, and our own."""

import hashlib
import re
from collections.abc import Iterable

__all__ = ["BESIDE", "SUFFIX", "beside", "is_leftover", "leftovers"]

BESIDE = ".du-next-"
"""How the name begins under which a newer version is sent and proved before it takes its predecessor's place."""

SUFFIX = ".du.partial"
"""What rclone puts behind a name while it sends a file: nobody else's, so that it may be removed without a question."""

_PARTIAL = re.compile(rf"(?P<stem>.+)\.[0-9a-f]{{8}}{re.escape(SUFFIX)}", re.DOTALL)
_BESIDE = re.compile(rf"(.*/)?{re.escape(BESIDE)}[0-9a-f]{{16}}", re.DOTALL)
_ADDED = len(".01234567") + len(SUFFIX)
_LONG = 100
"""Of a name with more bytes rclone drops the end, so that it does not grow by the suffix."""
_LONGEST_CHARACTER = 4


def beside(target: str) -> str:
    """Return where the successor of an object is sent: in the same folder, so that a renaming brings it there."""
    folder, slash, _ = target.rpartition("/")
    digits = hashlib.sha256(target.encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{folder}{slash}{BESIDE}{digits}"


def is_leftover(name: str) -> bool:
    """Tell whether an object's name is one that we give for a while and nobody else gives."""
    return _PARTIAL.fullmatch(name) is not None or _BESIDE.fullmatch(name) is not None


def leftovers(name: str, listed: Iterable[str]) -> list[str]:
    """Return the names in a folder's listing under which rclone sends the file `name` before it renames it."""
    size = len(name.encode(errors="surrogateescape"))
    found = []
    for other in listed:
        if (partial := _PARTIAL.fullmatch(other)) is None:
            continue
        stem = partial["stem"]
        missing = size - len(stem.encode(errors="surrogateescape")) - _ADDED
        cut = size > _LONG and name.startswith(stem) and 0 <= missing < _LONGEST_CHARACTER
        if cut or (size <= _LONG and stem == name):
            found.append(other)
    return found
