"""What `doctor` says of what the gateway needs: Redis, the identity provider by its own way, the mail server."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from datauploader.runtime.config import Settings
from datauploader_gateway.doctor import examine

ISSUER = "http://id.facility.invalid"
"""A name that the proxy alone knows."""


class Proxy(BaseHTTPRequestHandler):
    """An HTTP proxy with the identity provider behind it."""

    asked: list[str]

    def do_GET(self) -> None:
        """Answer as the provider."""
        self.asked.append(self.path)
        places = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        body = json.dumps({"issuer": ISSUER, **{place: f"{ISSUER}/{place}" for place in places}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[str]:
    """Give the address of a proxy."""
    Proxy.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def said(monkeypatch: pytest.MonkeyPatch, **settings: str) -> dict[str, tuple[bool, str]]:
    """Examine with these settings of the gateway."""
    for name, value in settings.items():
        monkeypatch.setenv(f"DATAUPLOADER_GATEWAY_{name}", value)
    return {check.name: (check.ok, check.detail) for check in examine(Settings())}


def at_provider(**more: str) -> dict[str, str]:
    """Return settings of a provider."""
    return {"OIDC__ISSUER": ISSUER, "OIDC__CLIENT_ID": "du", "OIDC__ALLOW_HTTP": "true", **more}


def test_a_provider_behind_a_proxy_is_reached_by_the_proxy_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """By no other: what the environment says is for other programs."""
    found = said(monkeypatch, **at_provider(OIDC__PROXY=proxy))
    assert found == {"redis": (True, ""), "identity provider": (True, "")}
    assert Proxy.asked == [f"{ISSUER}/.well-known/openid-configuration"]


def test_a_proxy_of_the_environment_is_named_where_the_provider_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """With the setting that would use it."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    ok, detail = said(monkeypatch, **at_provider())["identity provider"]
    assert not ok
    assert "HTTPS_PROXY" in detail
    assert "gateway.oidc.proxy" in detail
    assert Proxy.asked == []


def test_redis_and_a_mail_server_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not configured is not looked at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = said(
        monkeypatch, REDIS=f"redis://127.0.0.1:{port}/0", MAIL__HOST="127.0.0.1", MAIL__PORT=str(port),
        MAIL__SECURITY="none", MAIL__SENDER="du@facility.eu",
    )  # fmt: skip
    assert {name: ok for name, (ok, _) in found.items()} == {"redis": False, "mail": False}
    assert "does not accept mail" in found["mail"][1]
