"""The ground rules of REST's models: frozen, strict where they are built, and with what a reader cannot do without."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")

NEEDED = "needed"
"""Marks a field without which an answer means nothing to a client."""
Needed = Annotated[T, NEEDED]
"""A field that every release sends: a client refuses an answer without it, and takes any other for empty."""


class RestModel(BaseModel):
    """A data transfer object of the REST interface: whoever builds one must give every field that has no default.

    A client reads the same class tolerantly, with `datauploader_client.reading`.
    """

    model_config = ConfigDict(frozen=True)
