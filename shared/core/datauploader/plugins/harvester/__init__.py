"""What a metadata harvester is made of: a name, the files it can read, and one function; the rest is here.

A harvester's distribution names a factory in the entry-point group `datauploader.services`:

    create = harvester("nexus", ("*.nxs", "*.h5"), read)

`harvesters/nexus` is the example to begin from.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datauploader.errors import ConfigurationError
from datauploader.plugins.file_reader import QuickLook, Read
from datauploader.plugins.harvester.extracting import Extractor, Reading
from datauploader.plugins.harvester.kinds import HarvesterSettings, Kind, mounts
from datauploader.plugins.harvester.service import HarvesterService
from datauploader.runtime.config import load
from datauploader.runtime.service import Context

__all__ = ["Harvester", "HarvesterSettings", "Kind", "QuickLook", "Reading", "harvester", "mounts"]


@dataclass(frozen=True, slots=True)
class Harvester:
    """A kind of harvester, and the factory of its service."""

    kind: Kind

    def __call__(self, context: Context) -> HarvesterService:
        """Build the service, without starting anything."""
        return HarvesterService(context, self.kind, load(HarvesterSettings))

    def read(self, path: Path) -> Reading:
        """Read a file as the service would, in a process of its own with its limits; for tests of what is read."""
        extractor, real = Extractor(self.kind, load(HarvesterSettings)), path.resolve()
        try:
            return extractor.read(os.fsencode(real.parent), os.fsencode(real.name))
        finally:
            extractor.close()


def harvester(name: str, patterns: Sequence[str], read: Read) -> Harvester:
    """Make a harvester; what an entry point of the group `datauploader.services` names.

    Args:
        name: of the harvester; its queue is `harvester.<name>`.
        patterns: shell patterns of the file names it reads, in small letters.
        read: returns what the file says about itself; a function that its module has by name, because it is called in
            another process.

    Raises:
        ConfigurationError: `read` has no such name.
    """
    where, what = getattr(read, "__module__", ""), getattr(read, "__qualname__", "")
    if not where or not what.isidentifier():
        raise ConfigurationError(
            f"the harvester {name} needs a function of a module to read with, not {what or read!r}"
        )
    return Harvester(Kind(name, tuple(patterns), f"{where}:{what}"))
