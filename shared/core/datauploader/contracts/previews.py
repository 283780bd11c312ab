"""What is said about an upload before it is asked for: what it would take, leave out and meet at its destination."""

from pydantic import Field

from datauploader.contracts.datasets import Parameter
from datauploader.contracts.model import Nanoseconds, Sentence, UploadId, WireModel
from datauploader.contracts.names import RelativePath


class LeftOutGroup(WireModel):
    """Things that would stay out for one reason."""

    reason: str
    detail: Sentence
    count: int = Field(ge=0)
    """A folder that is left out counts as one, because nobody looks into it."""
    examples: tuple[str, ...] = ()


class Overlap(WireModel):
    """An upload that is still open and to which some of these files belong already."""

    upload_id: UploadId
    requested_by: str
    """The identifier of the person who asked for it."""
    files: int = Field(ge=1)
    """How many of the counted files."""


class Refused(WireModel):
    """Why the station would reject the upload, as `upload.rejected` would say it."""

    reason: str = Field(pattern=r"^[a-z-]{2,40}$")
    detail: Sentence
    hint: Sentence = ""


class HeldObject(WireModel):
    """An object of a storage."""

    path: RelativePath
    """Below the location that was asked about, as `names.escape` writes it."""
    size: int = Field(ge=0)
    """Bytes."""


class Preview(WireModel):
    """What an upload would find on the station now."""

    files: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)
    first: tuple[str, ...] = ()
    """The first files that were met, by their paths below the root."""
    left_out: tuple[LeftOutGroup, ...] = ()
    settling: int = Field(default=0, ge=0)
    """Files that were changed so lately that they may still be written."""
    settling_first: tuple[str, ...] = ()
    oldest_mtime_ns: Nanoseconds | None = None
    newest_mtime_ns: Nanoseconds | None = None
    overlaps: tuple[Overlap, ...] = ()
    differing: int = Field(default=0, ge=0)
    """Files of which the storage holds an object of the same name and another size, of those that were named."""
    differing_first: tuple[str, ...] = ()
    same_size: int = Field(default=0, ge=0)
    """Files of which it holds one of the same name and size: whether they differ shows when they are uploaded."""
    entries: int = Field(default=0, ge=0)
    """Entries of folders that were looked at."""
    partial: bool = False
    """Not everything was looked at within the bounds of the question: there may be more of each kind."""
    trouble: Sentence = ""
    """What went wrong with the folder while it was looked at."""
    refused: Refused | None = None
    """The upload would be rejected; everything else is empty then."""


class DestinationContent(WireModel):
    """What the storage holds already where an upload would go."""

    exists: bool
    """There is at least one object or folder."""
    objects: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)
    first: tuple[str, ...] = ()
    """Some objects, by their paths below the location."""
    foreign: tuple[HeldObject, ...] = ()
    """Objects that none of the uploads that would be continued has written, so that they would not be replaced."""
    foreign_partial: bool = False
    """There may be more of them."""
    partial: bool = False
    """There may be more: the question's bounds were met first."""


class FoundValue(WireModel):
    """Something that a file says about itself."""

    parameter: Parameter
    source: str
    """The file, by its path below the root."""


class FoundValues(WireModel):
    """What the chosen files say about themselves."""

    values: tuple[FoundValue, ...] = ()
    """Of each name the first that was found."""
    problems: tuple[Sentence, ...] = ()
    """Why a file could not be read."""
    files: int = Field(default=0, ge=0)
    """Files that were read."""
