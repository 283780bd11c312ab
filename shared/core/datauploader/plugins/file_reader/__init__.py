"""Readers of files, as plug-ins: what a file says about itself, read in a process that can hurt nobody but itself.

A distribution names its reader in the entry-point group `datauploader.readers`; the station's watcher finds it there
and offers to people what their files say, before they upload them. Harvesters read what is stored in the same way.
"""

import errno
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path

from datauploader.contracts.datasets import Parameter

GROUP = "datauploader.readers"
_PASSES = frozenset(
    number
    for name in (
        "ENOENT", "EACCES", "EPERM", "EIO", "EAGAIN", "EBUSY", "ENOLCK", "ESTALE", "ENOTCONN", "ENODEV", "ENXIO",
        "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ECONNREFUSED", "ECONNRESET",
        "ECONNABORTED", "EREMOTEIO", "ENFILE", "EMFILE",
    )
    if (number := getattr(errno, name, None)) is not None
)  # fmt: skip
_IN_WORDS = re.compile(r"errno = (\d+)")
"""How HDF5 says which error of the system was the cause, where h5py has not made it the exception's own."""


@dataclass(frozen=True, slots=True)
class QuickLook:
    """A small picture of what is in a file, for people: PNG, JPEG or WebP, which is judged here."""

    data: bytes
    title: str = ""
    """What is seen, such as `frame 12 of 25`."""


Found = Parameter | QuickLook | tuple[str, object] | tuple[str, object, str]
"""What a reader yields: a parameter, or name, value and units of one that is judged here; or a picture."""
Read = Callable[[Path], Iterable[Found]]
"""Reads one file; raises OSError or ValueError with a sentence when it cannot."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the files whose names fit one of the patterns."""

    patterns: tuple[str, ...]
    read: Read

    def fits(self, name: str) -> bool:
        """Tell whether a file of this name is for this reader."""
        return any(fnmatch(name.lower(), pattern.lower()) for pattern in self.patterns)


def passes(error: BaseException) -> bool:
    """Tell whether an error is a storage's that may be over later: it is away, the file is not seen yet, or locked."""
    if isinstance(error, OSError) and error.errno in _PASSES:
        return True
    return any(int(number) in _PASSES for number in _IN_WORDS.findall(str(error)))


def there_are_readers() -> bool:
    """Tell whether any reader is installed, without loading it."""
    return bool(entry_points(group=GROUP))


def readers() -> list[Reader]:
    """Load the installed readers, in order of their names."""
    found = [entry.load() for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)]
    return [one for one in found if isinstance(one, Reader)]
