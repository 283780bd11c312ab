"""What operators with a local account see while Redis is away, and that nobody else sees anything then."""

import base64
from typing import Any

import pytest

PLACE = "/operations/direct"


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header that a browser proves an account with."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def alone(facility: Any, scene: Any) -> Any:
    """Give a gateway whose Redis goes away after somebody has signed in."""
    from datauploader_gateway import redis_client

    server = redis_client.memory_server(facility.redis_url)
    server.connected = False
    yield facility
    server.connected = True


def test_an_operator_with_a_local_account_sees_what_is_known_without_redis(alone: Any, scene: Any) -> None:
    """Redis is the cause, and the stations are not known, not well."""
    page = alone.client().get(PLACE, headers=basic("otto", scene.PASSWORD))
    assert page.status_code == 200
    assert "Redis does not work" in page.text
    assert "not known" in page.text
    assert "No problems found" not in page.text


@pytest.mark.attack("S1", "S6")
def test_nobody_else_sees_anything(alone: Any, scene: Any) -> None:
    """Neither without an account, nor with a wrong password, nor as somebody who is no operator."""
    client = alone.client()
    wrong = [{}, basic("otto", "wrong"), basic("nobody", scene.PASSWORD), {"Authorization": "Basic !"},
             {"Authorization": "Bearer du_x"}, basic("", "")]  # fmt: skip
    for headers in wrong:
        answer = client.get(PLACE, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert "broker" not in answer.text.lower()
    for name in ("anna", "stella"):
        refused = client.get(PLACE, headers=basic(name, scene.PASSWORD))
        assert refused.status_code == 403
        assert "station" not in refused.text


@pytest.mark.attack("S7")
def test_guessing_is_stopped_without_redis_as_well(alone: Any, scene: Any) -> None:
    """Then the right password is not looked at either; who proves himself again and again is no guesser."""
    client = alone.client()
    for _ in range(12):
        assert client.get(PLACE, headers=basic("otto", scene.PASSWORD)).status_code == 200
    answers = [client.get(PLACE, headers=basic("otto", f"guess {n}")).status_code for n in range(8)]
    assert answers == [401] * 5 + [429] * 3
    assert client.get(PLACE, headers=basic("otto", scene.PASSWORD)).status_code == 429


@pytest.mark.attack("S6")
def test_an_account_opens_nothing_else(alone: Any, scene: Any) -> None:
    """Every other page and the REST interface stay closed while Redis is away."""
    client = alone.client()
    for path in ("/operations", "/operations/now", "/audit", "/api/v1/operations", "/api/v1/me", "/api/v1/uploads"):
        answer = client.get(path, headers=basic("otto", scene.PASSWORD))
        assert answer.status_code in (303, 401, 503), path
        assert "Redis does not work" not in answer.text
    posted = client.post("/operations/acknowledge", headers=basic("otto", scene.PASSWORD), data={"cause": "x"})
    assert posted.status_code in (303, 401, 403, 422, 503)


@pytest.mark.attack("S1")
def test_while_redis_answers_there_is_nothing(facility: Any, scene: Any) -> None:
    """So it is no second door for guessers: it leads to the page that asks for a session."""
    for headers in ({}, basic("otto", scene.PASSWORD), basic("otto", "wrong")):
        answer = facility.client().get(PLACE, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (303, "/operations")
