"""Previews in REST: what an upload would take and meet."""

from pydantic import Field

from datauploader.contracts.previews import LeftOutGroup
from datauploader.contracts.rest.model import Needed, RestModel


class Together(RestModel):
    """An upload that is still open and to which some of these files belong already."""

    upload: str | None = Field(description="Null where it is another person's, which the caller may not see.")
    mine: bool
    files: Needed[int]


class Destination(RestModel):
    """What the storage holds already where the files would go."""

    exists: Needed[bool]
    objects: int
    bytes: int
    first: tuple[str, ...] = Field(description="Some objects, by their paths below the location.")
    partial: bool = Field(description="There may be more.")


class Conflicts(RestModel):
    """Files that would meet an object of the same name which the station's own transfer has never written."""

    differing: int = Field(description="Of another size: these are not uploaded until one of the two is gone.")
    first: tuple[str, ...] = Field(description="Some of them.")
    same_size: int = Field(description="Of the same size: their content is compared when they are uploaded.")
    partial: bool = Field(description="Not everything was compared: there may be more.")


class UploadPreview(RestModel):
    """What an upload would take and meet now."""

    path: Needed[str] = Field(description="The folder that file names are relative to.")
    sources: tuple[str, ...]
    remote: Needed[str]
    location: Needed[str]
    files: Needed[int]
    bytes: Needed[int]
    first: tuple[str, ...] = Field(description="Some of the files.")
    left_out: tuple[LeftOutGroup, ...]
    settling: int = Field(description="Files that were changed so lately that they may still be written.")
    settling_first: tuple[str, ...]
    oldest: str | None = Field(description="When the file that was not changed for the longest time was changed.")
    newest: str | None
    together_with: tuple[Together, ...]
    partial: bool = Field(description="Counting was ended early: there may be more.")
    trouble: str
    destination: Destination | None = Field(description="Null where the storage did not say; see below.")
    destination_trouble: str
    continues: tuple[str, ...] = Field(
        default=(),
        description="Earlier uploads of the same dataset, whose objects newer versions may replace.",
    )
    alike: str = Field(
        default="", description="Another dataset of the investigation that people may take for this one by its name."
    )
    conflicts: Conflicts | None = Field(description="Null where nothing could be compared.")
    seconds: float | None = Field(description="Estimated from what moves, or moved last, on this way; null: unknown.")
