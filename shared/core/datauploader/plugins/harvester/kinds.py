"""What one harvester is, and where the files that it reads can be found."""

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from datauploader.contracts import FileStored, StoredFile
from datauploader.contracts.envelope import data_of
from datauploader.files.leftovers import is_leftover
from datauploader.plugins.file_reader.reader_process import MEMORY
from datauploader.runtime.config import SectionSettings, Settings

_MEBI = 1024**2
_ENDING = re.compile(r"\*[\w.-]+")
"""A pattern that says nothing but how names end, with what stands in JSON as it is."""


class HarvesterSettings(SectionSettings):
    """Where harvesters find the stored files, and what they may use to read them: table `[harvesters]`."""

    section: ClassVar[str] = "harvesters"
    model_config = SettingsConfigDict(env_prefix="DATAUPLOADER_HARVESTERS_")

    mounts: dict[str, Path] = Field(default_factory=dict)
    """Folder under which a remote's base can be read here, by the remote's name; local remotes need none."""
    seconds: float = Field(default=60.0, gt=0, le=3600)
    """How long one file may be read; then what was read until there is kept."""
    memory_mb: int = Field(default=MEMORY // _MEBI, ge=96, le=65536)
    """MiB that each of the two processes that read may take; a container needs twice that and about 150 more."""

    report_interval_s: float = Field(default=30.0, gt=0)
    """How often a harvester says that it is alive, and what keeps it from its work."""

    @property
    def memory(self) -> int:
        """Bytes that the process that reads may take."""
        return self.memory_mb * _MEBI


@dataclass(frozen=True, slots=True)
class Kind:
    """What one harvester is."""

    name: str
    patterns: tuple[str, ...]
    reader: str
    """`module:function`, which is called in another process, or an `Executable` as JSON, which is started below it."""

    @property
    def service(self) -> str:
        """Name its service."""
        return f"{self.name}-harvester"

    def skips(self, body: bytes) -> bool:
        """Tell by the text of a file.stored alone that no file of it has a name that this harvester reads."""
        data = data_of(body, FileStored)
        if data is None or b"\\u" in data:  # what is written so may be any letter
            return False
        text = data.decode("utf-8", "replace").lower()
        return all(_ENDING.fullmatch(pattern) and f'{pattern[1:]}"' not in text for pattern in self.patterns)

    def wants(self, stored: StoredFile) -> bool:
        """Tell whether the file's name is one that this harvester reads, and neither a system's nor a temporary one."""
        return self.fits(stored.file.path.rsplit("/", 1)[-1]) and not is_leftover(stored.file.path)

    def fits(self, name: str) -> bool:
        """Tell whether a file of this name is for this harvester."""
        return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in self.patterns)


def mounts(settings: Settings, own: HarvesterSettings) -> dict[str, Path]:
    """Return where each remote's base can be read: what is configured, and local remotes as they are."""
    local = {
        name: Path(str(fields["base"]))
        for name, fields in settings.remotes.items()
        if fields.get("type") == "local" and fields.get("base")
    }
    return local | own.mounts
