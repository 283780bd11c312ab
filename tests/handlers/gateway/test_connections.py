"""Connections that bring nothing are closed, and nobody has streams without number."""

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from datauploader_gateway.http import connections
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.attack("S24")
HEAD = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{"],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_request_that_does_not_come_whole_is_not_waited_for(
    open_facility: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Whoever sends it byte by byte, too; a stream and whoever answers in time go on."""
    monkeypatch.setattr(connections, "PATIENCE_S", 0.4)
    facility = open_facility()
    port = urlsplit(facility.gateway.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
        slow.sendall(sent)
        assert slow.recv(1000) == b"", "it is closed"


def test_a_stream_and_a_connection_that_is_used_again_outlive_that_time(
    open_facility: Any, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who owes us something is in a hurry."""
    monkeypatch.setattr(connections, "PATIENCE_S", 0.2)
    facility = open_facility()
    client = facility.client("anna")
    stream = scene.Stream(client, "/api/v1/events")
    assert not stream.ended.wait(1)
    assert client.get("/api/v1/me").status_code == 200


def test_one_person_has_few_streams_and_another_one_theirs(open_facility: Any, scene: Any) -> None:
    """Over REST and on the page; a place is free again when one is closed."""
    facility = open_facility(streams_per_person=2)
    anna, bruno = facility.client("anna"), facility.client("bruno")
    one, _ = scene.Stream(anna, "/api/v1/events"), scene.Stream(anna, "/api/v1/events")
    eventually(lambda: anna.get("/live").status_code == 429, what="the third one is refused")
    refused = anna.get("/api/v1/events")
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (429, "too-many-streams")
    assert scene.Stream(bruno, "/api/v1/events").status == 200
    assert one.status == 200


def test_there_are_as_many_connections_as_the_system_has_descriptors_for() -> None:
    """With some left for everything else."""
    assert 64 <= connections.most_connections() <= 65_536
