"""What services count: how it is told, that it costs a file nothing, and how certificates are looked at."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, generate_latest

from datauploader.contracts import UploadOpened
from datauploader.contracts.envelope import encode, said_at
from datauploader.errors import BrokerUnreachable
from datauploader.reliability import Outbox, Store
from datauploader.reliability.outbox import SCHEMA
from datauploader.runtime import certificates, metrics
from datauploader_testing import builders

MOST_US = 5.0
"""Microseconds that counting may cost for each file."""


def value(name: str, **labels: str) -> float:
    """Return a sample, 0 where there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_files_are_counted_by_the_batch() -> None:
    """A batch of 500 costs what one costs, so a burst of small files is not slowed down by being counted."""
    sizes, before = [10] * 500, value("datauploader_files_total", stage="stored", outcome="verified")
    spent = []
    for _ in range(20):
        began = time.perf_counter()
        metrics.note_files("stored", "verified", sizes)
        spent.append(time.perf_counter() - began)
    assert value("datauploader_files_total", stage="stored", outcome="verified") == before + 20 * 500
    assert min(spent) / len(sizes) * 1e6 < MOST_US


def test_a_batch_of_no_files_makes_no_series() -> None:
    """An outcome that never came is not told as 0 files of it."""
    metrics.note_files("stored", "never", ())
    assert REGISTRY.get_sample_value("datauploader_files_total", {"stage": "stored", "outcome": "never"}) is None


def test_messages_are_counted_by_queue_and_outcome() -> None:
    """What was handled at once is one observation of time, and each message one of its outcome."""
    before = value("datauploader_consumer_handler_duration_seconds_count", queue="q")
    metrics.note_handled("q", ("done", "done", "park"), 0.02)
    assert value("datauploader_consumer_messages_total", queue="q", outcome="done") == 2
    assert value("datauploader_consumer_messages_total", queue="q", outcome="park") == 1
    assert value("datauploader_consumer_handler_duration_seconds_count", queue="q") == before + 1


def test_an_outbox_tells_how_much_waits_and_how_long(tmp_path: Path) -> None:
    """While the broker is away the depth and the age of the oldest message are seen; a stopped service has none."""
    store = Store(tmp_path / "counted.sqlite", [SCHEMA])

    def away(_event: object) -> None:
        raise BrokerUnreachable("the broker is away")

    outbox = Outbox(store, away)  # type: ignore[arg-type]
    old = replace(
        builders.event(UploadOpened(upload_id=builders.UPLOAD)), time=datetime.now(UTC) - timedelta(seconds=90)
    )
    with store.transaction() as db:
        Outbox.put(db, old)
        Outbox.put(db, builders.event(UploadOpened(upload_id=builders.UPLOAD)))
    outbox.start()
    assert value("datauploader_outbox_messages", service="counted") == 2
    assert 89 < value("datauploader_outbox_oldest_seconds", service="counted") < 120
    outbox.stop(1)
    store.close()
    assert REGISTRY.get_sample_value("datauploader_outbox_messages", {"service": "counted"}) is None


def test_when_an_event_was_said_is_read_without_its_data() -> None:
    """A row of the outbox may have a megabyte; of what is no event nothing can be told."""
    event = builders.event(UploadOpened(upload_id=builders.UPLOAD))
    assert said_at(encode(event)) == event.time
    assert said_at(b"nothing of ours") is None


def test_checks_and_the_release_are_told() -> None:
    """Which release runs where, and what is wrong with it, are seen in one place."""

    def checks() -> list[tuple[str, str, bool]]:
        return [("catalog", "broker", False), ("", "threads", True)]

    metrics.PROCESS.watch_checks(checks)
    try:
        assert value("datauploader_check_ok", service="catalog", check="broker") == 0
        assert value("datauploader_check_ok", service="", check="threads") == 1
    finally:
        metrics.PROCESS.forget_checks(checks)
    told = generate_latest().decode()
    assert "datauploader_build_info{" in told
    assert "_created" not in told, "a second series for each counter, which nobody reads"


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Serve TLS with a certificate of two days; give the port and the certificate."""
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue  # somebody does not trust it

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1], certificate
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.posix  # openssl, which makes the certificate
def test_a_certificate_tells_its_end(shown: tuple[int, Path]) -> None:
    """Who renews it is warned before it ends; one that is not trusted is told as not valid."""
    port, certificate = shown
    watch = certificates.CertificateWatch()
    watch.add("broker", f"amqps://localhost:{port}/%2F?cafile={certificate}")
    watch.add("gateway", f"https://localhost:{port}/")
    watch.add("plain", "http://localhost/")
    watch.refresh()
    samples = {(s.name, s.labels["endpoint"]): s.value for metric in watch.collect() for s in metric.samples}
    days = (samples["datauploader_certificate_expiry_timestamp_seconds", "broker"] - time.time()) / 86400
    assert 1.9 < days <= 2
    assert samples["datauploader_certificate_valid", "broker"] == 1
    assert samples["datauploader_certificate_valid", "gateway"] == 0
    assert {endpoint for _, endpoint in samples} == {"broker", "gateway"}


@pytest.mark.posix  # openssl, which makes the certificate
def test_an_endpoint_that_is_away_keeps_what_was_seen(shown: tuple[int, Path]) -> None:
    """A server that is restarted does not look as if it had no certificate."""
    port, certificate = shown
    at = certificates.endpoint(f"https://localhost:{port}", certificate)
    assert at is not None
    assert certificates.look(at) is not None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    assert certificates.look(certificates.Endpoint("localhost", free, certificate)) is None
