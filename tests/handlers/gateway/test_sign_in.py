"""Signing in: right, wrong, too often, from elsewhere, without Redis; sessions and tokens."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datauploader_gateway import redis_client
from datauploader_gateway.auth.accounts import Accounts
from datauploader_gateway.errors import TooManyAttempts
from datauploader_testing.waiting import eventually


@pytest.mark.attack("S12")
def test_the_right_password_opens_a_session(facility: Any, scene: Any) -> None:
    """The cookie is only for HTTP, and `me` knows the person."""
    client = facility.client()
    answer = client.post("/api/v1/session", json=scene.credentials("anna"))
    assert answer.status_code == 200
    assert answer.json()["user"] == {"id": "7", "name": "Anna Rossi", "role": "user", "beamlines": []}
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("datauploader=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "max-age" not in cookie.lower(), "it would outlive the browser of a shared computer"
    assert client.get("/api/v1/me").json()["signed_in_by"] == "session"


@pytest.mark.attack("S12")
def test_over_https_the_cookie_is_bound_to_the_host(open_facility: Any, scene: Any) -> None:
    """`__Host-` and Secure, and browsers are told to stay with https."""
    facility = open_facility(public_url="https://upload.facility.eu")
    answer = facility.client().post("/api/v1/session", json=scene.credentials("anna"))
    assert answer.headers["set-cookie"].startswith("__Host-datauploader=")
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"] == "max-age=63072000"


@pytest.mark.attack("S9")
@pytest.mark.parametrize("name", ["anna", "nobody"])
def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(facility: Any, scene: Any, name: str) -> None:
    """Nothing tells whether the account exists."""
    answer = facility.client().post("/api/v1/session", json=scene.credentials(name, "wrong"))
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == "https://datauploader.ceric.eu/problems/wrong-credentials"
    assert body["detail"] == "the name or the password is wrong"
    assert len(body["trace_id"]) == 32


@pytest.mark.attack("S9")
def test_guessing_is_slowed_down_but_the_owner_gets_in_from_elsewhere(open_facility: Any, scene: Any) -> None:
    """Five tries from one address, then 429; another address is not concerned."""
    facility = open_facility(trusted_proxies=("127.0.0.1",))
    guesser = facility.client(**{"X-Forwarded-For": "192.0.2.66"})
    statuses = [guesser.post("/api/v1/session", json=scene.credentials("anna", "wrong")).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    late = guesser.post("/api/v1/session", json=scene.credentials("anna"))
    assert late.status_code == 429
    assert 0 < int(late.headers["retry-after"]) <= 300
    owner = facility.client(**{"X-Forwarded-For": "192.0.2.7"})
    assert owner.post("/api/v1/session", json=scene.credentials("anna")).status_code == 200


@pytest.mark.attack("S9")
def test_who_tries_while_the_catalogue_is_silent_has_not_guessed(facility: Any) -> None:
    """Somebody presses the button again and again; when it answers they are let in, and guesses are still counted."""
    client, vuo = facility.client(), {"method": "vuo", "vuo_session": "good-session"}
    answerers = dict(facility.broker.answerers)
    facility.broker.answerers.clear()
    assert [client.post("/api/v1/session", json=vuo).status_code for _ in range(7)] == [503] * 7
    facility.broker.answerers.update(answerers)
    wrong = vuo | {"vuo_session": "guessed"}
    assert [client.post("/api/v1/session", json=wrong).status_code for _ in range(6)] == [401] * 5 + [429]
    assert client.post("/api/v1/session", json=vuo).status_code == 200


@pytest.mark.attack("S9")
def test_passwords_of_the_catalogue_are_guessed_as_slowly_as_our_own(facility: Any) -> None:
    """Five tries at one account from one address, then 429."""
    client = facility.client()
    tried = {"method": "catalogue", "username": "anna.moretti", "password": "guessed"}
    assert [client.post("/api/v1/session", json=tried).status_code for _ in range(6)] == [401] * 5 + [429]


@pytest.mark.attack("S9")
def test_many_addresses_do_not_help_a_guesser_and_do_not_lock_the_owner_out(open_facility: Any, scene: Any) -> None:
    """Strangers together have few tries; an address that the account was used from goes on working."""
    facility = open_facility(trusted_proxies=("127.0.0.1",), attempts_from_strangers=4)
    owner = facility.client(**{"X-Forwarded-For": "192.0.2.7"})
    assert owner.post("/api/v1/session", json=scene.credentials("anna")).status_code == 200
    statuses = [
        facility.client(**{"X-Forwarded-For": f"198.51.100.{n}"})
        .post("/api/v1/session", json=scene.credentials("anna", "wrong"))
        .status_code
        for n in range(6)
    ]
    assert statuses == [401] * 4 + [429] * 2
    assert owner.post("/api/v1/session", json=scene.credentials("anna")).status_code == 200


@pytest.mark.attack("S9")
@pytest.mark.parametrize("who", ["many names from one network", "one name from many addresses"])
def test_attempts_at_the_same_moment_count_as_well(open_facility: Any, scene: Any, who: str) -> None:
    """They are counted before anybody looks at the password; an IPv6 network of 64 bits is one address."""
    facility = open_facility(trusted_proxies=("127.0.0.1",), attempts_per_address=4, attempts_from_strangers=4)
    one_name = who.startswith("one name")

    def attempt(number: int) -> int:
        address = f"2001:db8:0:{number if one_name else 1:x}::{number + 1:x}"
        name = "anna" if one_name else f"name{number}"
        client = facility.client(**{"X-Forwarded-For": address})
        return int(client.post("/api/v1/session", json=scene.credentials(name, "wrong")).status_code)

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(attempt, range(12)))
    assert sorted(statuses) == [401] * 4 + [429] * 8


@pytest.mark.attack("S9")
def test_who_signs_in_rightly_is_counted_nowhere(open_facility: Any, scene: Any) -> None:
    """A whole beamline may come from one address."""
    facility = open_facility(attempts_per_address=2, attempts_from_strangers=2, attempts_per_account=2)
    statuses = [facility.client().post("/api/v1/session", json=scene.credentials(name)).status_code
                for name in ("anna", "bruno") * 3]  # fmt: skip
    assert statuses == [200] * 6


@pytest.mark.attack("S9")
def test_no_more_passwords_wait_than_can_be_looked_at(tmp_path: Path, scene: Any) -> None:
    """Hashing takes a processor for a while: who comes when the queue is full is told to come again."""
    (tmp_path / "accounts.toml").write_text(scene.ACCOUNTS)
    accounts = Accounts(tmp_path / "accounts.toml")

    async def crowd() -> list[object]:
        return await asyncio.gather(
            *(accounts.verify_in_thread("anna", "wrong") for _ in range(80)), return_exceptions=True
        )

    judged = asyncio.run(crowd())
    assert judged.count(None) == 64
    assert all(isinstance(one, TooManyAttempts) for one in judged if one is not None)


@pytest.mark.attack("S7")
def test_who_signs_in_anew_leaves_no_session_behind(facility: Any, scene: Any) -> None:
    """The next person at the browser of a shared computer, by the page and over REST."""
    client, other = facility.client("anna"), facility.client("bruno")
    stolen = [dict(one.cookies) for one in (client, other)]
    assert client.post("/api/v1/session", json=scene.credentials("bruno")).status_code == 200
    form = {**scene.credentials("anna"), "next": "/"}
    assert other.post("/sign-in", data=form, follow_redirects=False).status_code == 303
    for cookies in stolen:
        thief = facility.client()
        thief.cookies.update(cookies)
        assert thief.get("/api/v1/me").status_code == 401


@pytest.mark.attack("S9", "S11")
def test_an_untrusted_proxy_cannot_choose_the_address(facility: Any, scene: Any) -> None:
    """X-Forwarded-For is ignored, so it does not give a guesser more tries."""
    statuses = [
        facility.client(**{"X-Forwarded-For": f"198.51.100.{n}"})
        .post("/api/v1/session", json=scene.credentials("anna", "wrong"))
        .status_code
        for n in range(6)
    ]
    assert statuses[-1] == 429


def test_a_vuo_session_is_checked_by_the_catalogue(facility: Any) -> None:
    """A good one signs in as the person that the VUO names; a bad one does not."""
    client = facility.client()
    good = client.post("/api/v1/session", json={"method": "vuo", "vuo_session": "good-session"})
    assert good.json()["user"]["id"] == "7"
    bad = client.post("/api/v1/session", json={"method": "vuo", "vuo_session": "bad-session"})
    assert (bad.status_code, bad.json()["detail"]) == (401, "the VUO does not know this session")


@pytest.mark.attack("S7")
def test_signing_out_ends_the_session_at_once(facility: Any) -> None:
    """A copy of the cookie is worth nothing afterwards."""
    client = facility.client("anna")
    stolen = dict(client.cookies)
    assert client.delete("/api/v1/session").status_code == 204
    thief = facility.client()
    thief.cookies.update(stolen)
    assert thief.get("/api/v1/me").status_code == 401


@pytest.mark.attack("S7")
def test_a_token_serves_a_program_and_can_be_revoked(facility: Any, scene: Any) -> None:
    """Made with a password, used as a bearer, listed without its secret, revoked at once."""
    client = facility.client()
    made = client.post("/api/v1/tokens", json={**scene.credentials("anna"), "name": "laptop"})
    assert made.status_code == 201, made.text
    program = facility.client(Authorization=f"Bearer {made.json()['token']}")
    assert program.get("/api/v1/me").json()["signed_in_by"] == "token"
    listed = program.get("/api/v1/tokens").json()["items"]
    assert [(t["id"], t["name"]) for t in listed] == [(made.json()["id"], "laptop")]
    assert made.json()["token"] not in str(listed)
    assert program.delete("/api/v1/tokens/current").status_code == 204
    assert program.get("/api/v1/me").status_code == 401


@pytest.mark.attack("S7")
def test_a_token_outlives_a_foreign_session_by_a_bounded_time(open_facility: Any) -> None:
    """Nobody tells us when a VUO session ends, or its person leaves."""
    facility = open_facility(vuo_token_days=3)
    asked = {"method": "vuo", "vuo_session": "good-session", "days": 365}
    made = facility.client().post("/api/v1/tokens", json=asked).json()
    assert 0 < (datetime.fromisoformat(made["expires"]) - datetime.now(UTC)).total_seconds() <= 3 * 86400


@pytest.mark.attack("S25")
def test_nobody_has_tokens_without_number(facility: Any) -> None:
    """Who has fifty is told to revoke some."""
    client = facility.client("anna")
    statuses = [client.post("/api/v1/tokens", json={}).status_code for _ in range(51)]
    assert statuses == [201] * 50 + [409]
    assert client.get("/api/v1/tokens").json()["items"][0]["name"] == "command line"


@pytest.mark.attack("S11")
def test_an_address_with_a_slash_too_many_leads_nowhere(facility: Any) -> None:
    """A redirect would go to the host that the request names."""
    answer = facility.client().get("/api/v1/openapi.json/", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


@pytest.mark.attack("S26")
def test_redis_does_not_know_the_secrets(facility: Any, scene: Any) -> None:
    """Who reads Redis cannot sign in with what stands there."""
    made = facility.client("anna").post("/api/v1/tokens", json={"name": "laptop"}).json()["token"]
    stored = facility.redis()
    everything = b"".join(key + (stored.dump(key) or b"") for key in stored.keys("*"))
    assert made.encode() not in everything
    assert b"correct horse" not in everything


@pytest.mark.attack("S8")
def test_one_cannot_revoke_the_token_of_another(facility: Any) -> None:
    """It does not exist for them."""
    made = facility.client("anna").post("/api/v1/tokens", json={}).json()
    assert facility.client("bruno").delete(f"/api/v1/tokens/{made['id']}").status_code == 404


@pytest.mark.attack("S7")
def test_a_removed_account_is_nobody(facility: Any) -> None:
    """Its sessions end when the file no longer has it."""
    client = facility.client("bruno")
    accounts = facility.settings.accounts
    text = accounts.read_text()
    start = text.index('[[account]]\nname = "bruno"')
    accounts.write_text(text[:start] + text[text.index("[[account]]", start + 1) :])
    assert client.get("/api/v1/me").status_code == 200, "who is still writing has not said anything yet"
    os.utime(accounts, (time.time() - 60,) * 2)
    assert client.get("/api/v1/me").status_code == 401


@pytest.mark.attack("S10")
@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}])
def test_another_site_cannot_act_with_the_cookie(facility: Any, headers: dict[str, str]) -> None:
    """A foreign origin, a foreign page, and a request that does not say where it comes from: refused."""
    client = facility.client("anna")
    del client.headers["Origin"]
    answer = client.post("/api/v1/tokens", json={}, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["type"].endswith("/foreign-origin")


@pytest.mark.attack("S10")
def test_another_site_cannot_read_the_event_stream(facility: Any) -> None:
    """The cookie comes along with EventSource; the origin gives it away."""
    client = facility.client("anna")
    assert client.get("/api/v1/events", headers={"Origin": "https://evil.example"}).status_code == 403


@pytest.mark.attack("S10", "S11")
def test_a_host_header_changes_nothing(facility: Any) -> None:
    """What counts as the gateway's own page is configuration."""
    client = facility.client("anna")
    answer = client.post("/api/v1/tokens", json={}, headers={"Host": "evil.example", "Origin": "http://evil.example"})
    assert answer.status_code == 403


@pytest.mark.attack("S6", "S7")
def test_without_redis_nobody_gets_in_and_it_recovers_by_itself(facility: Any, scene: Any) -> None:
    """Sessions and sign-in answer 503 with a sentence, never with a wrong yes."""
    client = facility.client("anna")
    server = redis_client.memory_server(facility.redis_url)
    server.connected = False
    for answer in (client.get("/api/v1/me"), client.post("/api/v1/session", json=scene.credentials("anna"))):
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("/sessions-away")
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 503
    server.connected = True
    eventually(lambda: client.get("/api/v1/me").status_code == 200)
