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
    EXPIRED = "expired"
    """The token of the call ends here: it is answered as if nobody were signed in, and so are those after it."""


class Fault(BaseModel):
    """One plan of failing: for the next calls such as `POST datasets` or `PATCH datasets/:id` that name `match`."""

    model_config = ConfigDict(extra="forbid")

    calls: tuple[str, ...]
    kind: FaultKind
    times: int = Field(default=1, ge=-1)
    """How many calls; -1 for all of them."""
    skip: int = Field(default=0, ge=0)
    """How many calls are answered as ever before that."""
    match: str = ""
    """A part of the address, or a value in the body."""
    status: int = Field(default=500, ge=300, le=599)
    seconds: float = Field(default=30.0, ge=0, le=600)
    retry_after: int | None = None
    location: str = ""
    """Where a `status` of 3xx leads."""
    body: str = "<html><body>Proxy error: try again</body></html>\n"
    after_effect: bool = False
    """Let the effect happen first; always so for `lost`, `slow` and `expired`."""
    fired: int = 0

    @property
    def comes_first(self) -> bool:
        """Whether the call has no effect."""
        return not self.after_effect and self.kind in {FaultKind.ERROR, FaultKind.TIMEOUT, FaultKind.UNREADABLE}


class Faults:
    """The plans that are set, oldest first."""

    def __init__(self) -> None:
        self.plans: list[Fault] = []

    def take(self, call: str, address: list[str], body: bytes) -> Fault | None:
        """Return the plan that this call falls under, and count it."""
        for plan in self.plans:
            due = plan.times == -1 or plan.fired < plan.times
            if due and call in plan.calls and (not plan.match or _names(address, body, plan.match)):
                if plan.skip:
                    plan.skip -= 1
                    continue
                plan.fired += 1
                return plan
        return None


def _names(address: list[str], body: bytes, wanted: str) -> bool:
    quoted = {json.dumps(wanted).encode(), json.dumps(wanted, ensure_ascii=False).encode()}
    return wanted in address or any(text in body for text in quoted)
