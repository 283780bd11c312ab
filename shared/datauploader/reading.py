"""Readers of files, as plug-ins: what a file says about itself is offered to people before they upload it.

A distribution names its reader in the entry-point group `datauploader.readers`; the station's watcher finds it there
and calls it in a process of its own, which ends after a few seconds whatever happens.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path

from datauploader.contracts.datasets import Parameter

GROUP = "datauploader.readers"


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the files whose names fit one of the patterns; `read` raises OSError or ValueError for what is none."""

    patterns: tuple[str, ...]
    read: Callable[[Path], Iterable[Parameter]]

    def fits(self, name: str) -> bool:
        """Tell whether a file of this name is for this reader."""
        return any(fnmatch(name.lower(), pattern.lower()) for pattern in self.patterns)


def there_are_readers() -> bool:
    """Tell whether any reader is installed, without loading it."""
    return bool(entry_points(group=GROUP))


def readers() -> list[Reader]:
    """Load the installed readers, in order of their names."""
    found = [entry.load() for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)]
    return [one for one in found if isinstance(one, Reader)]
