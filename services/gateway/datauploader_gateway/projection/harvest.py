"""What harvesters have read in files, and pictures of them, as far as the view keeps them: the first files by path."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from datauploader.contracts import EventData, FileVersion, MetadataExtracted
from datauploader.contracts.pictures import MOST_OF_UPLOAD, MOST_PICTURES
from datauploader_gateway.projection.remarks import VersionWords

What = Literal["values", "pictures"]
KINDS: tuple[What, ...] = ("values", "pictures")
MOST_FILES: Mapping[What, int] = {"values": 100, "pictures": MOST_OF_UPLOAD}
"""Files of one upload of which the view keeps something; the catalogue has the values of all."""
MOST_IN_FILE: Mapping[What, int] = {"values": 100, "pictures": 2 * MOST_PICTURES}
LONGEST_VALUE = 200
"""Characters of a text; what is longer is shortened."""
MOST_IN_VIEW = 3000
"""Pictures that the view keeps of all uploads, 96 MiB at most; of more the latest."""


class Harvest(VersionWords):
    """What was read in one version of a file: a harvester's name, a space, and the name of the value or picture.

    The words about a value are the value and its units, those about a picture its digest, media type and size.
    """

    def bounded(self, most: int) -> Self:
        """Return the first of it by name; one more than are shown, so that it is known that there are more."""
        first = sorted(self.said.items())[: most + 1]
        return replace(self, said=dict(first))


@dataclass(frozen=True, slots=True)
class Harvested:
    """What one event says about one file, of values or of pictures."""

    what: What
    file: FileVersion
    said: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class FirstFiles:
    """The files of one upload of which something is kept: of more than there is room for the first by path."""

    paths: tuple[bytes, ...] = ()
    """All of them, in order."""
    known: Mapping[bytes, Harvest] = field(default_factory=dict)
    """What is kept of those that were looked up."""
    changed: frozenset[bytes] = frozenset()
    """Those of which something else is kept than was looked up, or, where they are not in `paths`, no longer."""

    def adding(self, found: Harvested, order: tuple[int, bytes, int]) -> Self:
        """Add what was read in the version of this order; return the same object where that changes nothing."""
        path, most = found.file.raw, MOST_FILES[found.what]
        if path not in self.paths and len(self.paths) >= most and path > self.paths[-1]:
            return self
        known, new = self.known.get(path), Harvest(order, found.said)
        both = (known.adding(new) if known is not None else new).bounded(MOST_IN_FILE[found.what])
        if both == known:
            return self
        ordered = sorted({*self.paths, path})
        gone = ordered[most:]
        kept = {one: words for one, words in {**self.known, path: both}.items() if one not in gone}
        return type(self)(tuple(ordered[:most]), kept, self.changed | {path, *gone})


def harvests_of(data: MetadataExtracted, said: tuple[int, str]) -> Iterator[Harvested]:
    """Yield what was read in each file."""
    for read in data.files:
        values = {
            f"{data.harvester} {one.name}": (*said, _short(one.value), one.units) for one in reversed(read.parameters)
        }
        pictures = {
            f"{data.harvester} {one.title}": (*said, digest(one.content), one.media_type, one.width, one.height)
            for one in read.pictures
        }
        if values:
            yield Harvested("values", read.file, values)
        if pictures:
            yield Harvested("pictures", read.file, pictures)


def pictures_of(data: EventData) -> Mapping[str, bytes]:
    """Return the pictures of an event by their digests."""
    if not isinstance(data, MetadataExtracted):
        return {}
    found = (picture.content for read in data.files for picture in read.pictures)
    return {digest(content): content for content in found}


def digest(content: bytes) -> str:
    """Return the name under which a picture is kept, and which its address ends in."""
    return hashlib.sha256(content).hexdigest()


def _short(value: object) -> object:
    return f"{value[: LONGEST_VALUE - 1]}…" if isinstance(value, str) and len(value) > LONGEST_VALUE else value
