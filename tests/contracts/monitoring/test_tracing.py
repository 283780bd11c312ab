"""One request is one trace: from the gateway through the handlers of every service, as a real OTLP receiver gets it."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from datauploader.runtime import tracing
from datauploader_sandbox.facility import STATION, Facility
from datauploader_sandbox.run import Run

TRACE = "0af7651916cd43dd8448eb211c80319c"
"""As whoever calls the interface may give it."""
CALLER = "b7ad6b7169203331"


class Receiver:
    """Takes spans as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Take what is sent to /v1/traces."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    spans.extend(span for scope in resource.scope_spans for span in scope.spans)
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the interface
                """Write nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def of(self, trace: str) -> list[Any]:
        """Return the spans of one trace."""
        return [span for span in self.spans if span.trace_id.hex() == trace]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Receive spans, and have services send them."""
    made = Receiver()
    made.thread.start()
    monkeypatch.setenv(tracing.VARIABLE, f"http://127.0.0.1:{made.server.server_address[1]}")
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


def test_one_request_is_one_trace_through_all_services(receiver: Receiver, tmp_path: Path) -> None:
    """Each span hangs below what has caused it, and the first below the caller's own."""
    with Facility(folder=tmp_path / "facility", broker="memory") as facility:
        run = Run(facility, tmp_path / "ledger.jsonl")
        (facility.watched / "one.dat").write_bytes(b"one")
        asked = {
            "investigation": "20260101", "dataset": {"name": "traced"}, "station": ".".join(STATION),
            "path": str(facility.watched.resolve()), "mode": "batch", "quiet_period_s": 1.0,
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {run.token}", "traceparent": f"00-{TRACE}-{CALLER}-01"}
        answer = httpx.post(f"{facility.url}/api/v1/uploads", json=asked, headers=headers, timeout=30, trust_env=False)
        assert answer.status_code in (200, 201, 202), answer.text
        run.completed(answer.json()["id"])
    spans = receiver.of(TRACE)
    names = {span.name for span in spans}
    assert names >= {
        "gateway answers POST", "watcher handles upload.requested", "watcher says file.ready",
        "transfer handles file.ready", "transfer moves", "transfer says file.stored", "catalog handles file.stored",
        "catalog tells the catalogue", "catalogue register_datafiles", "catalog says dataset.completed",
    }  # fmt: skip
    known = {span.span_id.hex() for span in spans}
    assert len(known) == len(spans), "no two spans have the same id"
    parents = {span.name: span.parent_span_id.hex() for span in spans}
    assert parents["gateway answers POST"] == CALLER
    assert set(parents.values()) <= known | {CALLER}
    ids = {span.span_id.hex(): span.name for span in spans}
    assert ids[parents["transfer handles file.ready"]] == "watcher says file.ready"
    assert ids[parents["catalogue register_datafiles"]] == "catalog tells the catalogue"


def test_without_the_variable_nothing_is_imported_or_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A station pays nothing for what it does not use."""
    monkeypatch.delenv(tracing.VARIABLE, raising=False)
    tracing.start("watcher")
    with tracing.working("watcher handles upload.requested", f"00-{TRACE}-{CALLER}-01"), tracing.calling("catalogue"):
        tracing.said("watcher says file.ready", f"00-{TRACE}-{CALLER}-01", "")
    tracing.stop()
