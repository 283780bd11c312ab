"""What can be made to go wrong in a double, on demand and counted."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Receive, Scope, Send


class FaultKind(StrEnum):
    """In which way a call fails."""

    ERROR = "error"
    """HTTP `status`."""
    TIMEOUT = "timeout"
    """Nothing is answered for `seconds`, then 504."""
    SLOW = "slow"
    """The right answer, `seconds` late."""
    LOST = "lost"
    """The effect happens, the connection breaks before the answer is there."""
    UNREADABLE = "unreadable"
    """HTTP 200 with `body`."""
    EXPIRED = "expired"
    """The session of the call ends before it, for good; SciCat answers as if nobody were signed in. Not at VUO."""
    ICAT = "icat"
    """ICAT's own error `code`; at ICAT alone."""


class Fault(BaseModel):
    """One plan of failing; each double says for which of the next calls."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    times: int = Field(default=1, ge=-1)
    """How many calls; -1 for all of them."""
    skip: int = Field(default=0, ge=0)
    """How many calls are answered as ever before that."""
    match: str = ""
    """Only calls that name this."""
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
        return not self.after_effect and self.kind not in {FaultKind.LOST, FaultKind.SLOW, FaultKind.EXPIRED}

    async def answer(self, right: Response) -> Response:
        """Answer as planned, in place of the right answer or with it."""
        match self.kind:
            case FaultKind.ERROR:
                headers = {"Location": self.location} if self.location else {}
                if self.retry_after is not None:
                    headers["Retry-After"] = str(self.retry_after)
                return JSONResponse("As told.", self.status, headers)
            case FaultKind.TIMEOUT:
                await asyncio.sleep(self.seconds)
                return PlainTextResponse("Too late.\n", HTTPStatus.GATEWAY_TIMEOUT)
            case FaultKind.LOST:
                return LostResponse()
            case FaultKind.UNREADABLE:
                return HTMLResponse(self.body)
            case FaultKind.SLOW:
                await asyncio.sleep(self.seconds)
        return right


F = TypeVar("F", bound=Fault)


class Faults(Generic[F]):
    """The plans that are set, oldest first."""

    def __init__(self, kind: type[F]) -> None:
        self._kind = kind
        self.plans: list[F] = []

    def take(self, is_meant: Callable[[F], bool]) -> F | None:
        """Return the plan that a call falls under, and count it."""
        for plan in self.plans:
            due = plan.times == -1 or plan.fired < plan.times
            if due and is_meant(plan):
                if plan.skip:
                    plan.skip -= 1
                    continue
                plan.fired += 1
                return plan
        return None

    def add_switches(self, app: FastAPI) -> None:
        """Let plans be seen, made and forgotten under /_double/faults."""

        @app.get("/_double/faults")
        async def show_faults() -> Any:
            return self.plans

        @app.post("/_double/faults")
        async def add_fault(plan: dict[str, Any]) -> Any:
            try:
                self.plans.append(self._kind.model_validate(plan))
            except ValidationError as error:
                raise RequestValidationError(error.errors()) from error
            return self.plans

        @app.delete("/_double/faults")
        async def clear_faults() -> Any:
            self.plans.clear()
            return self.plans


class LostResponse(Response):
    """An answer whose connection breaks before its first byte of text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the interface
        """Announce an answer and never send it; the server then drops the connection."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]})
