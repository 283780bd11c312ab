"""What people say about datasets and investigations after these exist, and that the catalogue has it.

A word is a whole description: the latest by time, then by id, is right, and nothing of an earlier one is left.
"""

from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from datauploader.contracts.datasets import Parameter
from datauploader.contracts.model import EventData, Sentence, UploadId, microseconds
from datauploader.contracts.uploads import Person


class DatasetDescribed(EventData):
    """Somebody has completed or corrected what is said about the dataset of an upload."""

    name: ClassVar[str] = "dataset.described"

    upload_id: UploadId
    description: str = Field(max_length=4000)
    parameters: tuple[Parameter, ...] = Field(default=(), max_length=200)
    """Those that people gave, each with its value now; others of the dataset stay as they are."""
    requested_by: Person


class InvestigationDescribed(EventData):
    """Somebody has completed or corrected the description of an investigation."""

    name: ClassVar[str] = "investigation.described"

    upload_id: Literal[""] = ""
    investigation: str = Field(min_length=1, max_length=200)
    """The investigation's identifier in the catalogue."""
    description: str = Field(max_length=4000)
    requested_by: Person


class _Annotated(EventData):
    """What has become of one word."""

    word: str = Field(min_length=1, max_length=200)
    """Id of the event that said it."""
    said: AwareDatetime
    """Time of that event."""
    sequence: int | None = Field(default=None, ge=0)
    """Its number, where it had one: whether an answer is to the latest word, the numbers tell."""

    @property
    def order(self) -> int:
        """The order of the event that is answered; see `Event.order`."""
        return self.sequence if self.sequence is not None else microseconds(self.said)

    refusal: Sentence = ""
    """Why the catalogue will not have it; empty: it has it, or a later one."""


class DatasetAnnotated(_Annotated):
    """The catalogue says of the dataset what a person said, or will not."""

    name: ClassVar[str] = "dataset.annotated"

    upload_id: UploadId
    dataset_id: str


class InvestigationAnnotated(_Annotated):
    """The catalogue says of the investigation what a person said, or will not."""

    name: ClassVar[str] = "investigation.annotated"

    upload_id: Literal[""] = ""
    investigation: str = Field(min_length=1, max_length=200)
