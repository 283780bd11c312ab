"""S6 and S7: what was taken back is refused at once, whatever form it has; without Redis nothing is believed."""

import threading
import time
from typing import Any

import httpx
import pytest

from datauploader_gateway import redis_client

SOON_S = 5.0


def signed_in(door: Any, issuer: Any, **claims: Any) -> httpx.Client:
    """Return the browser of somebody who signed in at the issuer."""
    browser = door.client()
    told = door.begin(browser)
    issuer.answer = {"id_token": issuer.id_token(told["nonce"], **claims)}
    assert door.come_back(browser, told["state"]).status_code == 303
    return browser


class Listening:
    """An open event stream, and when it ended."""

    def __init__(self, client: httpx.Client) -> None:
        self.ended = threading.Event()
        self._open = threading.Event()
        self._client = client
        threading.Thread(target=self._listen, daemon=True).start()
        assert self._open.wait(10)

    def _listen(self) -> None:
        with self._client.stream("GET", "/api/v1/events", timeout=30) as answer:
            self._open.set()
            for _ in answer.iter_raw():
                pass
        self.ended.set()


@pytest.mark.attack("S7")
def test_a_session_that_ended_is_refused_at_once_and_its_stream_soon(door: Any, issuer: Any) -> None:
    """A copy of the cookie is 401 with the next request, and an open stream ends within five seconds."""
    browser = signed_in(door, issuer)
    copy = door.client()
    copy.cookies.update(dict(browser.cookies))
    stream = Listening(copy)
    assert browser.post("/api/v1/oidc/sign-out").status_code == 200
    began = time.monotonic()
    assert copy.get("/api/v1/me").status_code == 401
    assert stream.ended.wait(SOON_S)
    assert time.monotonic() - began <= SOON_S


@pytest.mark.attack("S6", "S7")
def test_an_operator_takes_everything_back_that_somebody_has(door: Any, issuer: Any) -> None:
    """Sessions, tokens and the provider's own access tokens; the next sign-in works again."""
    browser = signed_in(door, issuer)
    token = browser.post("/api/v1/tokens", json={"name": "laptop"}).json()["token"]
    older = issuer.token()
    assert (door.status(token), door.status(older)) == (200, 200)
    assert door.local().post("/api/v1/people/anna/sign-out").status_code == 204
    assert browser.get("/api/v1/me").status_code == 401
    assert (door.status(token), door.status(older)) == (401, 401)
    again = signed_in(door, issuer, sub="anna")
    assert again.get("/api/v1/me").status_code == 200
    assert again.get("/api/v1/tokens").json()["items"] == []


@pytest.mark.attack("S6")
def test_only_operators_take_back_what_others_have(door: Any, issuer: Any) -> None:
    """Oneself, yes; somebody else, no."""
    browser = signed_in(door, issuer)
    assert browser.post("/api/v1/people/otto/sign-out").status_code == 403
    assert door.bearer(issuer.token()).post("/api/v1/people/otto/sign-out").status_code == 403
    assert browser.post("/api/v1/people/anna/sign-out").status_code == 204
    assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.attack("S6")
def test_a_stolen_token_begets_no_other(door: Any, issuer: Any) -> None:
    """Neither one of ours nor one of the provider's: what is revoked has no children that live on."""
    browser = signed_in(door, issuer)
    token = browser.post("/api/v1/tokens", json={}).json()["token"]
    for stolen in (token, issuer.token()):
        answer = door.bearer(stolen).post("/api/v1/tokens", json={})
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (403, "not-allowed")


@pytest.mark.attack("S7")
def test_without_redis_nothing_is_believed(door: Any, issuer: Any) -> None:
    """Cookie, token, and the provider's access token, which could be checked without it but not for revocation."""
    browser = signed_in(door, issuer)
    token = browser.post("/api/v1/tokens", json={}).json()["token"]
    redis_client.memory_server(door.redis_url).connected = False
    assert browser.get("/api/v1/me").status_code == 503
    assert door.status(token) == 503
    assert door.status(issuer.token()) == 503


@pytest.mark.redis
@pytest.mark.attack("S7")
def test_a_redis_that_dies_and_comes_back_empty_signs_everybody_out(open_door: Any, issuer: Any, scene: Any) -> None:
    """A real one, killed: 503 while it is away, 401 afterwards, and a new sign-in works."""
    from datauploader_testing.servers import RedisServer

    with RedisServer() as redis:
        door = open_door(redis.address.url)
        browser = signed_in(door, issuer)
        assert browser.get("/api/v1/me").status_code == 200
        redis.kill()
        assert browser.get("/api/v1/me").status_code == 503
        redis.start()
        scene.eventually(lambda: browser.get("/api/v1/me").status_code == 401)
        assert signed_in(door, issuer).get("/api/v1/me").status_code == 200
        door.gateway.stop(5)


@pytest.mark.attack("S7")
def test_a_session_ends_when_nobody_uses_it(open_door: Any, issuer: Any, scene: Any) -> None:
    """Idle for longer than is allowed: the session is not there any more."""
    door = open_door(session_idle_s=1)
    browser = signed_in(door, issuer)
    stored = redis_client.connect(door.redis_url)
    assert stored.keys("datauploader:session:*")
    scene.eventually(lambda: not stored.keys("datauploader:session:*"))
    assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.attack("S7")
def test_a_session_ends_however_much_it_is_used(open_door: Any, issuer: Any, scene: Any) -> None:
    """The absolute end comes under constant use, also for a browser that does not forget the cookie."""
    door = open_door(session_idle_s=60, session_longest_s=2)
    browser = signed_in(door, issuer)
    kept = door.client(Cookie="; ".join(f"{name}={value}" for name, value in browser.cookies.items()))
    assert kept.get("/api/v1/me").status_code == 200
    scene.eventually(lambda: kept.get("/api/v1/me").status_code == 401)


@pytest.mark.attack("S7")
def test_a_stream_ends_when_the_access_token_does(door: Any, issuer: Any) -> None:
    """Nobody goes on listening with a token that is over."""
    now = int(time.time())
    stream = Listening(door.bearer(issuer.token(exp=now + 1)))
    assert stream.ended.wait(SOON_S + 1)


@pytest.mark.attack("S3")
def test_who_is_in_no_group_is_let_in_nowhere(open_door: Any, issuer: Any) -> None:
    """Where only members may in, an access token of a stranger is refused as a sign-in would be."""
    door = open_door(roles=({"value": "users", "role": "user"},), oidc={"members_only": True})
    assert door.status(issuer.token(groups=["users"])) == 200
    assert door.status(issuer.token(groups=["others"])) == 401
    assert door.status(issuer.token(groups=None)) == 401
