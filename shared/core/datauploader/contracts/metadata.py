"""What harvesters say: metadata that they read in a stored file, and pictures of it."""

from typing import ClassVar

from pydantic import Field

from datauploader.contracts.datasets import Parameter
from datauploader.contracts.files import FileVersion
from datauploader.contracts.model import EventData, Sentence, UploadId, WireModel
from datauploader.contracts.pictures import MOST_PICTURES, Picture


class ExtractedFile(WireModel):
    """What one file says about itself."""

    file: FileVersion
    parameters: tuple[Parameter, ...] = Field(default=(), max_length=500)
    problem: Sentence = ""
    """Why nothing, or not everything, could be read."""
    pictures: tuple[Picture, ...] = Field(default=(), max_length=MOST_PICTURES)
    """For people to look at; no part of the metadata, and nothing that is sealed."""


class MetadataExtracted(EventData):
    """A harvester has read these files."""

    name: ClassVar[str] = "metadata.extracted"

    upload_id: UploadId
    harvester: str = Field(pattern=r"^[a-z0-9_-]{1,63}$")
    files: tuple[ExtractedFile, ...] = Field(min_length=1, max_length=100)
