"""What is said about datasets: wanted, ensured in the catalogue, refused, completed."""

import math
from typing import Any, ClassVar

from pydantic import AwareDatetime, Field, model_validator

from datauploader.contracts.model import EventData, Sentence, Sha256, UploadId, WireModel
from datauploader.contracts.names import Name


class Parameter(WireModel):
    """One piece of metadata: a name with a value and a unit."""

    name: str = Field(min_length=1, max_length=200)
    value: str | float | int | bool
    units: str = Field(default="", max_length=60)

    @model_validator(mode="before")
    @classmethod
    def _value_is_one(cls, given: Any) -> Any:
        """Take a scalar of numpy for the value that it is, and say in words of what type anything else is."""
        if not isinstance(given, dict) or "value" not in given:
            return given
        value = given["value"]
        if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
            value = value.item()
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"the value of {str(given.get('name'))[:200]} is not a finite number")
        if not isinstance(value, str | float | int):
            raise ValueError(  # noqa: TRY004 - what pydantic asks of a validator
                f"the value of {str(given.get('name'))[:200]} is no text, number or truth value, but of type "
                f"{type(value).__name__}"
            )
        return given | {"value": value}


class DatasetSpec(WireModel):
    """The dataset that a user asked for; name and investigation are its natural key."""

    name: Name
    type: str = Field(default="raw", max_length=60)
    description: str = Field(default="", max_length=4000)
    parameters: tuple[Parameter, ...] = Field(default=(), max_length=200)


class DatasetEnsured(EventData):
    """The dataset exists in the catalogue."""

    name: ClassVar[str] = "dataset.ensured"

    upload_id: UploadId
    investigation_id: str
    dataset_id: str
    url: str = ""


class DatasetRefused(EventData):
    """The catalogue will not have this dataset; files that are stored stay stored."""

    name: ClassVar[str] = "dataset.refused"

    upload_id: UploadId
    reason: str = Field(pattern=r"^[a-z-]{2,40}$")
    detail: Sentence
    hint: Sentence = ""


class DatasetDelayed(EventData):
    """The catalogue has not taken what this upload has to tell it for a while, or takes it again."""

    name: ClassVar[str] = "dataset.delayed"

    upload_id: UploadId
    detail: Sentence = ""
    """Why, in the catalogue's words where it has said some; "": it goes on."""
    since: AwareDatetime | None = None
    """When the first attempt failed."""
    retry_s: float = Field(default=0, ge=0)
    """How long until the next attempt, seconds."""
    needs_person: bool = False
    """It may not pass by itself."""


class DatasetCompleted(EventData):
    """Every file of the sealed manifest is a datafile, and the catalogue marks the dataset complete."""

    name: ClassVar[str] = "dataset.completed"

    upload_id: UploadId
    dataset_id: str
    files: int = Field(ge=0)
    bytes: int = Field(ge=0)
    manifest_sha256: Sha256
    url: str = ""
    doi: str = ""
