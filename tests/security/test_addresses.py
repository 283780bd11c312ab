"""Nobody outside chooses where a service connects to: no address in a request, and no redirect is followed."""

import json
from typing import Any

import httpx
import pytest

from datauploader.errors import GatewayError
from datauploader_client.gateway_client import GatewayClient
from datauploader_gateway.documents import documents

pytestmark = pytest.mark.attack("S18")

ADDRESSES = ("url", "uri", "endpoint", "host", "callback", "webhook", "proxy", "redirect")
TARGETS = (
    "http://127.0.0.1:1/",
    "http://169.254.169.254/latest/meta-data/",
    "https://evil.example/",
    "file:///etc/passwd",
)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", TARGETS)
def test_the_command_line_follows_no_redirect(status: int, target: str) -> None:
    """The token goes to the gateway that was named and to nobody else."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, headers={"Location": target})

    with GatewayClient("https://gateway.example", "token", transport=httpx.MockTransport(answer)) as gateway:
        for ask in (gateway.me, lambda: gateway.request_upload({}, "k")):
            with pytest.raises(GatewayError):
                ask()
    assert {request.url.host for request in asked} == {"gateway.example"}


def test_no_request_carries_an_address() -> None:
    """What a person can send names remotes, stations and paths; a field for an address would be seen here."""
    document = json.loads(next(iter(documents().values())))
    names = set(_names_in_requests(document))
    assert {"remote", "station", "path"} <= names
    assert not [name for name in names if any(word in name.lower() for word in ADDRESSES)]


def _names_in_requests(document: dict[str, Any]) -> list[str]:
    found = []
    for operation in (o for methods in document["paths"].values() for o in methods.values()):
        found += [parameter["name"] for parameter in operation.get("parameters", [])]
        found += _fields(document, operation.get("requestBody", {}), set())
    return found


def _fields(document: dict[str, Any], node: Any, seen: set[str]) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in _fields(document, item, seen)]
    if not isinstance(node, dict):
        return []
    reference = node.get("$ref", "")
    if reference and reference not in seen:
        seen.add(reference)
        return _fields(document, document["components"]["schemas"][reference.rpartition("/")[2]], seen)
    own = list(node.get("properties", {})) if isinstance(node.get("properties"), dict) else []
    return own + [name for item in node.values() for name in _fields(document, item, seen)]
