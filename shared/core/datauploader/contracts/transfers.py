"""What is said about moving bytes, many times a minute and never twice the same."""

from typing import ClassVar

from pydantic import Field

from datauploader.contracts.model import EventData, UploadId, WireModel


class MovingFile(WireModel):
    """A file on its way."""

    path: str
    size: int = Field(ge=0)
    bytes: int = Field(ge=0)


class TransferProgressed(EventData):
    """How far the running moves of one upload are; may be lost, the next one says more."""

    name: ClassVar[str] = "transfer.progressed"
    said_again: ClassVar[bool] = True
    lossy: ClassVar[bool] = True

    upload_id: UploadId
    waiting: int = Field(ge=0)
    """File versions that wait for their turn."""
    moving: tuple[MovingFile, ...] = ()
    """The largest of the running ones, at most ten."""
    bytes_per_s: float = Field(ge=0)
    paused: bool = False
    trouble: str = ""
    """A sentence when the storage keeps the upload waiting."""
