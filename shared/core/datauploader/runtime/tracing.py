"""Traces, where OTEL_EXPORTER_OTLP_ENDPOINT says where they go; without it nothing of OpenTelemetry is imported.

The trace context of envelopes is the only one: the span that says an event has the id that its envelope carries, so
whoever knows nothing of OpenTelemetry carries it on, and who handles the event hangs its own span below.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from datauploader.errors import ConfigurationError

VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""OpenTelemetry's own; the other variables of its exporter count as well."""


class Tracer(Protocol):
    """Makes spans."""

    def working(self, name: str, traceparent: str, attributes: dict[str, str]) -> AbstractContextManager[object]:
        """Do something below the span that this context names."""

    def answering(self, name: str, traceparent: str, parent: str) -> AbstractContextManager[object]:
        """Do something as the span that this context names, below the one that `parent` names, "" for none."""

    def calling(self, name: str) -> AbstractContextManager[object]:
        """Ask another system, below the span that is open here; none where none is."""

    def said(self, name: str, traceparent: str, parent: str, attributes: dict[str, str]) -> None:
        """Say something, as the span that this context names: below the open one, or below `parent`."""

    def close(self) -> None:
        """Send what is left, for a short while."""


_tracer: Tracer | None = None
_users = 0
"""Runtimes of this process that trace: several of them share what there is."""


def start(service: str) -> None:
    """Begin to trace, if somebody wants that.

    Raises:
        ConfigurationError: OpenTelemetry is not installed here.
    """
    global _tracer, _users  # noqa: PLW0603 - one a process
    if not os.environ.get(VARIABLE):
        return
    try:
        from datauploader.runtime.otlp import OtlpTracer  # noqa: PLC0415 - it takes a second, and is not everywhere
    except ImportError as error:
        raise ConfigurationError(
            f"{VARIABLE} is set, but OpenTelemetry is not installed here ({error}): install "
            "ceric-datauploader-core[otel], or take the variable away"
        ) from error
    _tracer = _tracer or OtlpTracer(service)
    _users += 1


def stop() -> None:
    """Send what is left, and trace no more once all have stopped."""
    global _tracer, _users  # noqa: PLW0603 - one a process
    _users = max(0, _users - 1)
    if _tracer is not None and not _users:
        _tracer.close()
        _tracer = None


def working(name: str, traceparent: str, **attributes: str) -> AbstractContextManager[object]:
    """Do something that an event has caused, whose context this is."""
    return nullcontext() if _tracer is None else _tracer.working(name, traceparent, attributes)


def answering(name: str, traceparent: str, parent: str = "") -> AbstractContextManager[object]:
    """Do what a person has asked for; what they ask for is said under the same context."""
    return nullcontext() if _tracer is None else _tracer.answering(name, traceparent, parent)


def calling(name: str) -> AbstractContextManager[object]:
    """Ask another system."""
    return nullcontext() if _tracer is None else _tracer.calling(name)


def said(name: str, traceparent: str, parent: str, **attributes: str) -> None:
    """Note that an event was said."""
    if _tracer is not None:
        _tracer.said(name, traceparent, parent, attributes)
