"""Where the time of files goes, in REST: how long each step of their way took."""

from typing import Literal

from pydantic import Field

from datauploader.contracts.rest.model import Needed, RestModel

Step = Literal["seen", "announced", "moved", "verified", "stored", "registered", "shown"]


class StepTiming(RestModel):
    """How long one step took, of the newest version of each file; each figure is at most a quarter too long."""

    step: Needed[Step] = Field(
        description="What it ends with: the station has `seen` the file since its last change, the station has "
        "`announced` it, it was `moved` to the storage, its copy there is `verified`, the catalogue has it "
        "`registered`, the gateway has it `shown`. Where a station does not say when it has seen a file, `announced` "
        "counts from its last change; where it does not say how long the proof took, `stored` is `moved` "
        "and `verified` together."
    )
    files: int = Field(description="How many files have been through it.")
    p50_s: float = Field(description="Half of them took no longer, in seconds.")
    p95_s: float = Field(description="95 % of them took no longer.")
    max_s: float = Field(description="None took longer.")
    before: int = Field(
        description="How many of them seem to have ended the step before it began, as the clocks of two computers "
        "differ; they count as 0 s."
    )


class Timing(RestModel):
    """The steps of an upload's files, in their order; without those of which nothing is known."""

    steps: list[StepTiming]
