"""The door as a whole: what is public, what headers protect, what machines may ask."""

import inspect
import json
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from datauploader_gateway import application

PUBLIC = {
    ("POST", "/api/v1/session"),
    ("POST", "/api/v1/tokens"),
    ("GET", "/api/v1/sign-in"),
    ("GET", "/api/v1/oidc/start"),
    ("GET", "/api/v1/oidc/callback"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/health/serving"),
    ("GET", "/metrics"),
    ("GET", "/sign-in"),
}
"""`POST tokens` needs credentials or a session, `metrics` the gateway's own machine or an operator."""


def operations(facility: Any) -> list[tuple[str, str]]:
    """List what OpenAPI says that there is, and the routes that it does not mention."""
    document = facility.client().get("/api/v1/openapi.json").json()
    described = [(m.upper(), path) for path, methods in document["paths"].items() for m in methods]
    pages = ("/sign-in", "/api/v1/oidc/start", "/api/v1/oidc/callback", "/api/v1/openapi.json")
    return [*described, *(("GET", path) for path in pages)]


def filled(path: str) -> str:
    """Put something into the gaps of a path."""
    gaps = {
        "upload_id": "u-123456789",
        "action": "close",
        "station": "elettra.xrd1.ws01",
        "token_id": "x",
        "person_id": "7",
        "investigation_id": "100",
        "queue": "catalog.work",
        "message_id": "x",
        "verb": "drop",
        "cause": "broker:broker:away",
        "sha256": "0" * 64,
    }
    return path.format(**gaps)


@pytest.mark.attack("S1")
def test_every_route_but_the_public_ones_needs_somebody(facility: Any) -> None:
    """401 without, with a garbage, and with a forged token; the list of public routes is short."""
    client = facility.client()
    for method, path in operations(facility):
        if (method, path) in PUBLIC:
            continue
        for secret in ("", "garbage", "du_" + "A" * 43):
            headers = {"Authorization": f"Bearer {secret}"} if secret else {}
            answer = client.request(method, filled(path), json={} if method == "POST" else None, headers=headers)
            assert answer.status_code == 401, f"{method} {path} answered {answer.status_code} to {secret!r}"
            assert answer.json()["type"].endswith("/not-signed-in")


@pytest.mark.attack("S1")
def test_public_routes_are_really_there(facility: Any) -> None:
    """None of them is a leftover of the list."""
    assert set(operations(facility)) >= PUBLIC


@pytest.mark.attack("S12")
def test_answers_protect_the_browser(facility: Any) -> None:
    """No inline code, no sniffing, no frames, no copies of answers."""
    for path in ("/", "/sign-in", "/api/v1/me", "/api/v1/oidc/callback", "/nowhere"):
        headers = facility.client().get(path).headers
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_every_error_is_described_as_a_problem(facility: Any) -> None:
    """OpenAPI knows problem+json for every error, and every operation and field is described."""
    document = facility.client().get("/api/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path}"
            for status, response in operation["responses"].items():
                if status >= "400" and path not in ("/health/ready", "/health/serving"):
                    assert list(response["content"]) == ["application/problem+json"], f"{method} {path} {status}"
    assert "ProblemBody" in document["components"]["schemas"]
    assert "HTTPValidationError" not in json.dumps(document)


def test_what_is_not_there_is_a_problem_too(facility: Any) -> None:
    """404 and 405 have the same shape as all errors."""
    client = facility.client()
    assert client.get("/api/v1/nothing").json()["type"].endswith("/not-found")
    assert client.put("/api/v1/session").json()["type"].endswith("/method-not-allowed")


def test_readiness_names_each_check(facility: Any) -> None:
    """All well: 200; the catalogue away: 503 with its name and a sentence."""
    client = facility.client()
    ready = client.get("/health/ready")
    assert ready.status_code == 200, ready.text
    assert [c["name"] for c in ready.json()["checks"]] == [
        "broker",
        "redis",
        "view",
        "catalogue",
        "catalog service",
        "outbox",
    ]


def test_readiness_says_that_the_catalogue_does_not_answer(facility: Any) -> None:
    """One failing check is enough, and it has a detail."""
    facility.broker.answerers.pop("catalog.questions")
    ready = facility.client().get("/health/ready")
    failing = [c for c in ready.json()["checks"] if not c["ok"]]
    assert (ready.status_code, [c["name"] for c in failing]) == (503, ["catalogue"])
    assert failing[0]["detail"]


@pytest.mark.attack("S11")
def test_counters_are_for_this_machine_and_operators(facility: Any) -> None:
    """A caller behind a proxy is not local, whoever the proxy is."""
    client = facility.client()
    assert "datauploader_gateway_requests_total" in client.get("/metrics").text
    forwarded = {"X-Forwarded-For": "192.0.2.1"}
    assert client.get("/metrics", headers=forwarded).status_code == 401
    assert facility.client("anna").get("/metrics", headers=forwarded).status_code == 403
    assert facility.client("otto").get("/metrics", headers=forwarded).status_code == 200


@pytest.mark.attack("S12")
def test_the_page_has_no_inline_code(facility: Any) -> None:
    """Scripts and styles come from files, so that the policy can forbid everything else."""
    page = facility.client().get("/sign-in").text
    assert "<script src=" in page
    assert "style=" not in page
    assert " on" + "click" not in page
    assert facility.client().get("/static/page.js").status_code == 200


@pytest.mark.attack("S11")
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_door_to_the_world_must_know_its_address(open_facility: Any, host: str) -> None:
    """Without public_url the gateway could not tell its own pages from others'."""
    from datauploader.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match=r"gateway\.public_url"):
        open_facility(host=host)


def test_a_taken_port_is_named(facility: Any, open_facility: Any) -> None:
    """The sentence says which and what to do."""
    from datauploader.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="0 for a free one"):
        open_facility(port=int(facility.gateway.url.rpartition(":")[2]))


def test_the_api_lies_under_one_prefix() -> None:
    """Clients count on it."""
    assert application.API == "/api/v1"


def test_everything_that_routes_depend_on_is_made_at_the_start(facility: Any) -> None:
    """A use case that nobody makes would be missed by the first person who needs it."""
    app = facility.gateway._web._server.config.app
    waiting = [route.dependant for route in iter_route_contexts(app.routes) if getattr(route, "dependant", None)]
    kinds = set()
    while waiting:
        one = waiting.pop()
        waiting += one.dependencies
        if getattr(one.call, "__qualname__", "") == "use.<locals>.find":
            kinds.add(inspect.getclosurevars(one.call).nonlocals["kind"])
    assert len(kinds) > 15
    assert kinds - set(app.state.provided) == set()
