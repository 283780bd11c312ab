"""Spans by OpenTelemetry, sent by OTLP over HTTP; imported only where somebody wants them."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

CLOSE_S = 2.0
"""So long it is tried to send what is left when the process ends."""


class _Ids(IdGenerator):
    """Random ids, but for spans whose ids stand in an envelope already."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._given = threading.local()

    @contextmanager
    def given(self, context: SpanContext) -> Iterator[None]:
        """Have this thread's next span be the one that this context names."""
        self._given.context = context
        try:
            yield
        finally:
            self._given.context = None

    def generate_span_id(self) -> int:
        """Return the id that was given, or a new one."""
        context = getattr(self._given, "context", None)
        return context.span_id if context else self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        """Return the id that was given, or a new one."""
        context = getattr(self._given, "context", None)
        return context.trace_id if context else self._random.generate_trace_id()


class OtlpTracer:
    """Makes spans whose ids are those of our envelopes."""

    def __init__(self, service: str) -> None:
        """Send to where OpenTelemetry's own variables say."""
        about = {"service.name": f"datauploader-{service}", "service.version": version("ceric-datauploader-core")}
        self._ids = _Ids()
        self._provider = TracerProvider(resource=Resource.create(about), id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("datauploader")

    def working(self, name: str, traceparent: str, attributes: dict[str, str]) -> AbstractContextManager[object]:
        """Do something below the span that this context names."""
        return self._tracer.start_as_current_span(
            name, context=_below(traceparent), kind=SpanKind.CONSUMER, attributes=attributes
        )

    @contextmanager
    def answering(self, name: str, traceparent: str, parent: str) -> Iterator[None]:
        """Do something as the span that this context names."""
        with self._ids.given(_read(traceparent)):
            span = self._tracer.start_span(name, context=_below(parent), kind=SpanKind.SERVER)
        with trace.use_span(span, end_on_exit=True):
            yield

    def calling(self, name: str) -> AbstractContextManager[object]:
        """Ask another system, below the span that is open here."""
        if not trace.get_current_span().get_span_context().is_valid:
            return nullcontext()
        return self._tracer.start_as_current_span(name, kind=SpanKind.CLIENT)

    def said(self, name: str, traceparent: str, parent: str, attributes: dict[str, str]) -> None:
        """Say something, as the span that this context names; who answers a person has that span open already."""
        own, here = _read(traceparent), trace.get_current_span().get_span_context()
        if here.span_id == own.span_id:
            return
        context = None if here.trace_id == own.trace_id else _below(parent)
        with self._ids.given(own):
            span = self._tracer.start_span(name, context=context, kind=SpanKind.PRODUCER, attributes=attributes)
        span.end()

    def close(self) -> None:
        """Send what is left, for a short while: whoever takes it may be away."""
        closing = threading.Thread(target=self._provider.shutdown, name="otlp", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def _read(traceparent: str) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _below(traceparent: str) -> Context:
    """Return the context of what this one has caused; of none with ""."""
    if not traceparent:
        return Context()
    return trace.set_span_in_context(NonRecordingSpan(_read(traceparent)), Context())
