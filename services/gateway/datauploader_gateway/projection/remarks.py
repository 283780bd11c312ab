"""What is said of a file beside how far it is: that the catalogue refuses it, and what of its metadata is not taken."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from datauploader.contracts import DatasetPartlyRefused, EventData, FileVersion, MetadataExtracted
from datauploader_gateway.projection.facts import FileFacts, read_by

Word = tuple[Any, ...]
"""Order and id of the event, what it says, what to do, and whether it stays so by itself."""
DATAFILE, CATALOGUE = " datafile", "catalogue "
"""Sources: the catalogue about a file, and (before a harvester's name) about what that harvester has read; no harvester
has a space in its name."""


@dataclass(frozen=True)
class VersionWords:
    """The latest words on one version of a file, each from a source; words begin with order and id of their event."""

    order: tuple[int, bytes, int]
    """The version that they are about."""
    said: Mapping[str, tuple[Any, ...]]
    """By source."""

    def adding(self, other: Self) -> Self:
        """Put the words of two together; what is said of a newer version stands alone."""
        if self.order != other.order:
            return max(self, other, key=lambda one: one.order)
        words = dict(self.said)
        for source, word in other.said.items():
            words[source] = max(words.get(source, word), word)
        return replace(self, said=words)

    def dump(self) -> str:
        """Write it as JSON."""
        revision, mark, size = self.order
        return json.dumps([revision, mark.hex(), size, self.said])

    @classmethod
    def load(cls, text: str | bytes) -> Self:
        """Read what `dump` wrote."""
        revision, mark, size, said = json.loads(text)
        return cls((revision, bytes.fromhex(mark), size), {source: tuple(word) for source, word in said.items()})


class Remarks(VersionWords):
    """The latest words on what the catalogue does not take of a version, and on what could not be read in it.

    Sources are `DATAFILE`, `CATALOGUE` with a harvester's name, or a harvester's name alone.
    """

    @property
    def refused(self) -> Word | None:
        """Why the catalogue refuses the file, None where it does not."""
        word = self.said.get(DATAFILE)
        return word if word is not None and word[2] else None

    @property
    def untaken(self) -> list[Word]:
        """What the catalogue says of metadata that it refuses."""
        return [word for source, word in sorted(self.said.items()) if source.startswith(CATALOGUE) and word[2]]

    def unread(self, facts: FileFacts) -> list[Word]:
        """What harvesters say that could not read it, and could not at any other try."""
        own = ((source, word) for source, word in sorted(self.said.items()) if " " not in source)
        return [word for source, word in own if not facts.facts & read_by(source)]

    def metadata(self, facts: FileFacts) -> str:
        """Say what is wrong with the metadata of the version that these facts are about, "" where nothing is."""
        if facts.order != self.order or not facts.lacks_metadata:
            return ""
        words = [*self.untaken, *(self.unread(facts) if facts.unread else ())]
        return " ".join(f"{word[2]} {word[3]}".strip() for word in words)


def remarks_of(data: EventData, said: tuple[int, str]) -> Iterable[tuple[FileVersion, str, Word]]:
    """Yield what is said of the metadata of versions, and of versions that the catalogue refuses, and who says it."""
    if isinstance(data, MetadataExtracted):
        for read in data.files:
            if read.problem:
                yield read.file, data.harvester, (*said, read.problem, "", True)
    if isinstance(data, DatasetPartlyRefused):
        for one in data.files:
            source = DATAFILE if one.what == "datafile" else f"{CATALOGUE}{one.harvester}"
            yield one.file, source, (*said, one.detail, one.hint, one.final)
