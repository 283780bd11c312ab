"""What can be made to go wrong in the double, on demand and counted."""

import re
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    """In which way a call fails."""

    ICAT = "icat"
    """ICAT's own error `code`, by default INTERNAL."""
    ERROR = "error"
    """HTTP `status` with a page, as a proxy answers; by default 502."""
    TIMEOUT = "timeout"
    """Nothing is answered for `seconds`, then 504."""
    SLOW = "slow"
    """The right answer, `seconds` late."""
    LOST = "lost"
    """The effect happens, the connection breaks before the answer is there."""
    UNREADABLE = "unreadable"
    """HTTP 200 with `body`."""
    EXPIRED = "expired"
    """The session of the call ends before it, for good."""


class Fault(BaseModel):
    """One plan of failing: for the next calls of a method and path whose form or query `match` is found in."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    method: str = "POST"
    path: str = "entityManager"
    """A regular expression, as is `match`."""
    match: str = ""
    times: int = Field(default=1, ge=-1)
    """How many calls; -1 for all of them."""
    skip: int = Field(default=0, ge=0)
    """How many calls are answered as ever before that."""
    code: str = "INTERNAL"
    message: str = "Unexpected DB response, as told"
    status: int = Field(default=502, ge=300, le=599)
    seconds: float = Field(default=30.0, ge=0, le=600)
    location: str = ""
    """Where a `status` of 3xx leads."""
    retry_after: int | None = None
    body: str = "<html><body>Proxy error: try again</body></html>\n"
    after_effect: bool = False
    """Let the effect happen first; always so for `lost` and `slow`."""
    fired: int = 0


class Faults:
    """The plans that are set, oldest first."""

    def __init__(self) -> None:
        self.plans: list[Fault] = []

    def take(self, method: str, path: str, text: str) -> Fault | None:
        """Return the plan that this call falls under, and count it."""
        for plan in self.plans:
            due = plan.times == -1 or plan.fired < plan.times
            meant = plan.method == method and re.match(plan.path, path) and re.search(plan.match, text)
            if due and meant:
                if plan.skip:
                    plan.skip -= 1
                    continue
                plan.fired += 1
                return plan
        return None
