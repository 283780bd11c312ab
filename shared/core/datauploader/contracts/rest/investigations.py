"""Investigations in REST: what a person may choose from."""

from typing import Literal

from pydantic import Field

from datauploader.contracts.questions import InvestigationSummary
from datauploader.contracts.rest.descriptions import Description
from datauploader.contracts.rest.model import Needed, RestModel

Section = Literal["today", "used", "open", "closed"]


class InvestigationChoice(InvestigationSummary, RestModel):
    """An investigation that a person may choose, and what helps them to."""

    id: Needed[str]
    section: Section = Field(
        description="`today`: running, at this beamline; `used`: used last; `open`: others; `closed`: takes no uploads."
    )
    here: bool = Field(description="It is of a beamline of this deployment, or the catalogue does not say of which.")
    today: bool = Field(description="Today is one of its days.")
    last_used: str | None = Field(description="When this person last asked for an upload to it.")
    described: Description = Field(description="What is said of it, also where the catalogue does not have it yet.")


class Choices(RestModel):
    """Investigations: today's at this beamline, then the last used, then other open ones, then closed ones."""

    items: Needed[list[InvestigationChoice]]
    total: int = Field(description="How many there are, also where some were left out.")
    may_create: bool
    create_refusal: str = Field(description="Why none can be made here.")
