"""The trace that joins a request to the messages and the logs that come of it."""

from starlette.types import Scope


def traceparent(scope: Scope) -> str:
    """Return the trace that this request belongs to, as W3C Trace Context writes it."""
    return str(scope["state"]["traceparent"])


def trace_id(scope: Scope) -> str:
    """Return the 32 digits that join this request to messages and logs."""
    return traceparent(scope).split("-")[1]
