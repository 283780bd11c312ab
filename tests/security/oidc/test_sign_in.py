"""S3, S6 and S10 where people sign in: answers that do not belong to this sign-in, this browser, this provider."""

from typing import Any

import pytest

REFRESH_TOKEN, ACCESS_TOKEN = "refresh-canary", "access-canary"


def answer(issuer: Any, told_nonce: str, **changes: Any) -> None:
    """Let the token endpoint vouch for Anna."""
    issuer.answer = {
        "id_token": issuer.id_token(told_nonce, **changes), "access_token": ACCESS_TOKEN,
        "refresh_token": REFRESH_TOKEN, "token_type": "Bearer", "expires_in": 300,
    }  # fmt: skip


def test_an_honest_answer_signs_in(door: Any, issuer: Any) -> None:
    """So that the refusals below mean something."""
    browser = door.client()
    told = door.begin(browser)
    answer(issuer, told["nonce"])
    assert door.come_back(browser, told["state"]).headers["location"] == "/"
    assert browser.get("/api/v1/me").json()["user"]["id"] == "anna"
    assert issuer.form["redirect_uri"] == [f"{door.url}/api/v1/oidc/callback"]


@pytest.mark.attack("S10")
def test_a_sign_in_ends_in_the_browser_that_began_it(door: Any, issuer: Any) -> None:
    """Who lures a victim to the end of their own sign-in does not get the victim to work in their name."""
    attacker, victim = door.client(), door.client()
    told = door.begin(attacker)
    door.begin(victim)
    answer(issuer, told["nonce"])
    refused = door.come_back(victim, told["state"])
    assert refused.status_code == 401
    assert "was not started in this browser" in refused.text
    assert victim.get("/api/v1/me").status_code == 401
    assert "/token" not in issuer.asked


@pytest.mark.attack("S6")
def test_an_answer_counts_once(door: Any, issuer: Any) -> None:
    """The address that one came back to is worth nothing a second time, in the same browser either."""
    browser = door.client()
    told = door.begin(browser)
    answer(issuer, told["nonce"])
    cookies = dict(browser.cookies)
    assert door.come_back(browser, told["state"]).status_code == 303
    again = door.client()
    again.cookies.update(cookies)
    assert door.come_back(again, told["state"]).status_code == 401
    assert issuer.fetches("/token") == 1


@pytest.mark.attack("S3")
@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": ["datauploader", "another client"]},
        {"aud": ["datauploader", "another client"], "azp": "another client"},
        {"azp": "another client"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"sub": None},
    ],
)
def test_an_id_token_of_another_sign_in_or_client_is_refused(door: Any, issuer: Any, changes: dict[str, Any]) -> None:
    """Nonce, audience, authorised party, issuer, time and subject."""
    browser = door.client()
    told = door.begin(browser)
    answer(issuer, told["nonce"], **changes)
    assert door.come_back(browser, told["state"]).status_code == 401
    assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.attack("S2")
def test_an_id_token_without_a_signature_is_refused(door: Any, issuer: Any) -> None:
    """Although it comes from the token endpoint itself."""
    browser = door.client()
    told = door.begin(browser)
    answer(issuer, told["nonce"])
    _, claims, _ = issuer.answer["id_token"].split(".")
    issuer.answer["id_token"] = f"eyJhbGciOiJub25lIn0.{claims}."
    assert door.come_back(browser, told["state"]).status_code == 401


@pytest.mark.attack("S3")
def test_an_answer_of_another_provider_is_refused(door: Any, issuer: Any) -> None:
    """The mix-up attack: the answer says who it is from (RFC 9207), and that must be ours."""
    browser = door.client()
    told = door.begin(browser)
    answer(issuer, told["nonce"])
    assert door.come_back(browser, told["state"], iss="https://evil.example").status_code == 401
    assert "/token" not in issuer.asked


@pytest.mark.attack("S3")
def test_what_is_said_beside_the_id_token_cannot_change_it(open_door: Any, issuer: Any) -> None:
    """It adds claims that the token lacks, and overrides none."""
    issuer.userinfo = {"sub": "anna", "name": "Anna Rossi", "groups": ["operators"]}
    door = open_door(roles=({"value": "operators", "role": "operator"},))
    browser = door.client()
    told = door.begin(browser)
    answer(issuer, told["nonce"])
    door.come_back(browser, told["state"])
    user = browser.get("/api/v1/me").json()["user"]
    assert (user["name"], user["role"]) == ("Anna Rossi", "user")


@pytest.mark.attack("S3")
def test_two_persons_at_once_are_nobody(open_door: Any, issuer: Any) -> None:
    """The ID token and what is said beside it must speak of the same person."""
    issuer.userinfo = {"sub": "otto", "groups": ["operators"]}
    door = open_door()
    browser = door.client()
    told = door.begin(browser)
    answer(issuer, told["nonce"])
    assert door.come_back(browser, told["state"]).status_code == 401


@pytest.mark.attack("S3")
def test_the_code_is_redeemed_with_the_verifier_of_its_challenge(door: Any, issuer: Any) -> None:
    """Every sign-in has its own, and the provider sees it only at the end."""
    import base64
    import hashlib

    seen = set()
    for _ in range(3):
        browser = door.client()
        told = door.begin(browser)
        answer(issuer, told["nonce"])
        door.come_back(browser, told["state"])
        (verifier,) = issuer.form["code_verifier"]
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        assert (told["code_challenge"], told["code_challenge_method"]) == (digest, "S256")
        assert len(verifier) >= 43
        seen |= {verifier, told["state"], told["nonce"]}
    assert len(seen) == 9


@pytest.mark.attack("S3")
def test_a_provider_that_calls_itself_otherwise_is_none(door: Any, issuer: Any) -> None:
    """Nobody is sent anywhere by a description that is of another issuer, or that lacks TLS."""
    pages = issuer.pages()
    description = pages["/.well-known/openid-configuration"]
    issuer.pages = lambda: pages
    for wrong in (
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://192.0.2.1/token"},
        {"jwks_uri": "file:///x"},
    ):
        sound = dict(description)
        description |= wrong
        assert door.client().get("/api/v1/oidc/start").status_code == 503
        description |= sound
    assert door.client().get("/api/v1/oidc/start").status_code == 303


@pytest.mark.attack("S6")
def test_no_refresh_token_is_asked_for_or_kept(door: Any, issuer: Any) -> None:
    """So there is none to replay: neither it nor the provider's access token is found anywhere afterwards."""
    browser = door.client()
    told = door.begin(browser)
    assert "offline_access" not in told["scope"]
    answer(issuer, told["nonce"])
    door.come_back(browser, told["state"])
    kept = door.everything_in_redis()
    assert b"anna" in kept
    assert REFRESH_TOKEN.encode() not in kept
    assert ACCESS_TOKEN.encode() not in kept
    assert door.status(REFRESH_TOKEN) == 401


@pytest.mark.attack("S9")
def test_beginning_without_end_is_slowed_down(door: Any) -> None:
    """What is kept for sign-ins under way is bounded for each address."""
    client = door.client()
    statuses = [client.get("/api/v1/oidc/start").status_code for _ in range(301)]
    assert statuses[0] == 303
    assert statuses[-1] == 429


@pytest.mark.attack("S9")
def test_strangers_cannot_fill_the_book_of_what_people_did(door: Any) -> None:
    """An invented answer is a line in the log at most; a sign-in that began here and failed is on the record."""
    client = door.client()
    for n in range(20):
        assert door.come_back(client, f"{n:043}").status_code == 401
    assert door.audited() == []
    assert door.come_back(client, door.begin(client)["state"], code="", error="access_denied").status_code == 401
    assert door.audited() == ["sign-in refused"]
