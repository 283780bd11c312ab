"""Descriptions in REST: what is said of a dataset or an investigation, and whether the catalogue says so as well."""

from typing import Literal

from pydantic import Field

from datauploader.contracts.datasets import Parameter
from datauploader.contracts.rest.model import RestModel
from datauploader.contracts.uploads import Person


class Description(RestModel):
    """What is said now, by whom, and whether the catalogue says so as well."""

    description: str = ""
    parameters: tuple[Parameter, ...] = Field(default=(), description="Those that people gave; of a dataset alone.")
    state: Literal["catalogued", "waiting", "refused"] = Field(
        default="catalogued",
        description="`waiting`: not yet in the catalogue; `refused`: it will not have it.",
    )
    refusal: str = Field(default="", description="Why the catalogue will not have it.")
    word: str = Field(default="", description="Names what was said last; send it back as `based_on`.")
    by: Person | None = None
    time: str | None = None
