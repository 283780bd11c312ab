"""What can be made to go wrong in the double, on demand and counted."""

import json
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    """In which way a call fails."""

    ERROR = "error"
    """HTTP `status`, by default 500."""
    TIMEOUT = "timeout"
    """Nothing is answered for `seconds`, then 504."""
    SLOW = "slow"
    """The right answer, `seconds` late."""
    LOST = "lost"
    """The effect happens, the connection breaks before the answer is there."""
    UNREADABLE = "unreadable"
    """HTTP 200 with `body`."""


class Fault(BaseModel):
    """One plan of failing: for the next calls of a procedure that name `match`, as a value or as a text in JSON."""

    model_config = ConfigDict(extra="forbid")

    procedure: str
    kind: FaultKind
    times: int = Field(default=1, ge=-1)
    """How many calls; -1 for all of them."""
    skip: int = Field(default=0, ge=0)
    """How many calls are answered as ever before that."""
    match: str = ""
    status: int = Field(default=500, ge=300, le=599)
    seconds: float = Field(default=30.0, ge=0, le=600)
    retry_after: int | None = None
    location: str = ""
    """Where a `status` of 3xx leads."""
    body: str = "<html><body>Proxy error: try again</body></html>\n"
    after_effect: bool = False
    """Let the effect happen first; always so for `lost` and `slow`."""
    fired: int = 0


class Faults:
    """The plans that are set, oldest first."""

    def __init__(self) -> None:
        self.plans: list[Fault] = []

    def take(self, procedure: str, form: dict[str, str]) -> Fault | None:
        """Return the plan that this call falls under, and count it."""
        for plan in self.plans:
            due = plan.times == -1 or plan.fired < plan.times
            if due and plan.procedure == procedure and (not plan.match or _names(form, plan.match)):
                if plan.skip:
                    plan.skip -= 1
                    continue
                plan.fired += 1
                return plan
        return None


def _names(form: dict[str, str], wanted: str) -> bool:
    quoted = json.dumps(wanted)
    return any(value == wanted or (value.startswith("[") and quoted in value) for value in form.values())
