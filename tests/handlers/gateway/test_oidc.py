"""Signing in with a real identity provider: there and back, roles, switching, signing out, tokens of either kind."""

import base64
import hashlib
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from datauploader_gateway import redis_client
from datauploader_sandbox.provider import Browser, IdentityProvider
from datauploader_sandbox.provider.server import AUDIENCE, SCRIPT, SCRIPT_PAGE

START = "/api/v1/oidc/start"


def start(facility: Any, **query: str) -> str:
    """Return the address where signing in begins."""
    return f"{facility.gateway.url}{START}?{urlencode(query)}"


def at(browser: Browser, facility: Any) -> httpx.Client:
    """Return the browser's connection to the gateway, as the gateway's own page uses it."""
    site = browser.site(facility.gateway.url)
    site.headers["Origin"] = facility.gateway.url
    return site


def me(browser: Browser, facility: Any) -> Any:
    """Return whom the gateway takes the browser's user for."""
    answer = at(browser, facility).get("/api/v1/me")
    return answer.json() if answer.status_code == 200 else answer.status_code


def test_a_scientist_signs_in_and_is_known(signing_in: Any, browser: Browser) -> None:
    """There with a challenge, back with a session, on to the page that one wanted."""
    facility = signing_in()
    page = browser.sign_in(start(facility, next="/#u-12345678"), "anna")
    assert (page.status_code, page.url.path, page.url.fragment) == (200, "/", "u-12345678"), page.text
    said = me(browser, facility)
    assert said["user"] == {"id": "anna", "name": "Anna Rossi", "role": "user", "beamlines": []}
    assert (said["signed_in_by"], said["method"]) == ("session", "oidc")
    query = parse_qs(urlsplit(browser.visited[1]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert "offline_access" not in query["scope"][0]
    assert {"state", "nonce", "code_challenge"} <= set(query)


@pytest.mark.parametrize(
    ("name", "role", "beamlines"),
    [("stella", "staff", ["elettra.xrd1"]), ("otto", "operator", []), ("mallory", "user", [])],
)
def test_groups_at_the_provider_give_roles(
    signing_in: Any, browser: Browser, name: str, role: str, beamlines: list[str]
) -> None:
    """Staff of their beamline, operators, and users for everybody else."""
    facility = signing_in()
    browser.sign_in(start(facility), name)
    user = me(browser, facility)["user"]
    assert (user["role"], user["beamlines"]) == (role, beamlines)


def test_a_changed_rule_counts_for_who_is_signed_in_already(signing_in: Any, browser: Browser) -> None:
    """The session keeps what the provider said, and the configuration says what that means today."""
    facility = signing_in()
    browser.sign_in(start(facility), "otto")
    facility.settings = facility.settings.model_copy(update={"roles": ()})
    facility.again()
    assert me(browser, facility)["user"]["role"] == "user"


def test_strangers_stay_outside_where_only_members_may_in(signing_in: Any, browser: Browser) -> None:
    """A page with a sentence, no session; who belongs to a group gets in."""
    facility = signing_in(members_only=True)
    page = browser.sign_in(start(facility), "mallory")
    assert page.status_code == 403
    assert "none of your groups" in page.text
    assert me(browser, facility) == 401
    other = Browser()
    other.sign_in(start(facility), "anna")
    assert me(other, facility)["user"]["id"] == "anna"
    other.close()


def test_an_account_of_the_file_gives_its_role_to_who_signs_in_elsewhere(signing_in: Any, browser: Browser) -> None:
    """The administrator's file has the last word about a person."""
    facility = signing_in()
    accounts = facility.settings.accounts
    accounts.write_text(accounts.read_text() + '\n[[account]]\nname = "m"\nuser_id = "mallory"\nrole = "operator"\n')
    os.utime(accounts, (time.time() - 60,) * 2)
    browser.sign_in(start(facility), "mallory")
    assert me(browser, facility)["user"]["role"] == "operator"


def test_switching_the_user_asks_again_and_leaves_no_session_behind(signing_in: Any, browser: Browser) -> None:
    """The PC is shared: the provider must not answer with whoever was there before."""
    facility = signing_in()
    browser.sign_in(start(facility), "anna")
    before = dict(at(browser, facility).cookies)
    browser.sign_in(start(facility, switch="true"), "otto")
    assert me(browser, facility)["user"]["id"] == "otto"
    thief = facility.client()
    thief.cookies.update(before)
    assert thief.get("/api/v1/me").status_code == 401


def test_signing_out_ends_both_sessions(signing_in: Any, browser: Browser) -> None:
    """Here at once, at the provider on its own page; the next sign-in asks for credentials."""
    facility = signing_in()
    browser.sign_in(start(facility), "anna")
    answer = at(browser, facility).post("/api/v1/oidc/sign-out")
    assert me(browser, facility) == 401
    page = browser.submit(browser.get(answer.json()["url"]), logout="yes")
    assert (page.status_code, str(page.url)) == (200, f"{facility.gateway.url}/sign-in?next=/"), page.text
    assert "/interaction/" in str(browser.get(start(facility)).url)


def test_signing_out_without_the_provider_ends_the_session_here(open_facility: Any) -> None:
    """Local accounts use the same button."""
    facility = open_facility()
    client = facility.client("anna")
    assert client.post("/api/v1/oidc/sign-out").json() == {"url": ""}
    assert client.get("/api/v1/me").status_code == 401


def test_local_accounts_and_the_vuo_go_on_beside_it(signing_in: Any) -> None:
    """Three ways in, and the page and the interface name them."""
    facility = signing_in()
    assert facility.client("anna").get("/api/v1/me").json()["method"] == "local"
    client = facility.client()
    vuo = {"method": "vuo", "vuo_session": "good-session"}
    assert client.post("/api/v1/session", json=vuo).status_code == 200
    ways = client.get("/api/v1/sign-in").json()
    vuo_itself = {"name": "VUO", "session": "VUO session", "password": False}
    assert ways == {
        "local": True, "vuo": True, "oidc": {"name": "Elettra", "start": START}, "catalogue": vuo_itself,
    }  # fmt: skip
    assert "Sign in with Elettra" in facility.client().get("/sign-in").text


def test_a_token_for_the_command_line_comes_from_the_page(signing_in: Any, browser: Browser) -> None:
    """Made by who is signed in, no longer good than the administrator allows, with the role of the person."""
    facility = signing_in(token_days=3)
    page = browser.sign_in(start(facility, next="/token"), "stella")
    assert page.url.path == "/token"
    made = at(browser, facility).post("/api/v1/tokens", json={"name": "laptop", "days": 300}).json()
    program = facility.client(Authorization=f"Bearer {made['token']}")
    assert program.get("/api/v1/me").json()["user"]["role"] == "staff"
    left = datetime.fromisoformat(made["expires"]) - datetime.now(UTC)
    assert timedelta(days=2.9) < left <= timedelta(days=3)


def test_without_a_provider_there_is_nowhere_to_go(facility: Any) -> None:
    """A page that says so, not an error of the program."""
    answer = facility.client().get(START)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "o identity provider is configured" in answer.text


@pytest.mark.parametrize(
    "goal", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nX: y", "javascript:1"]
)
def test_after_signing_in_one_stays_here(signing_in: Any, browser: Browser, goal: str) -> None:
    """Another site's address as the goal leads to the first page."""
    facility = signing_in()
    page = browser.sign_in(start(facility, next=goal), "anna")
    assert str(page.url) == f"{facility.gateway.url}/"


@pytest.mark.attack("S10")
def test_a_foreign_page_does_not_use_up_the_sign_ins_of_an_address(signing_in: Any) -> None:
    """Pictures of another site that lead here are refused; a link of it is a person who comes."""
    facility = signing_in()
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    link = picture | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    client = facility.client()
    del client.headers["Origin"]
    answers = [client.get(START, headers=headers).status_code for headers in (picture, link)]
    assert answers == [403, 303]
    assert facility.redis().keys("*begun*"), "the link counts"
    assert [int(facility.redis().get(key)) for key in facility.redis().keys("*begun*")] == [1]


def test_a_host_header_does_not_change_where_the_provider_sends_people(signing_in: Any) -> None:
    """The address comes from the configuration."""
    facility = signing_in()
    answer = facility.client().get(START, headers={"Host": "evil.example"})
    assert parse_qs(urlsplit(answer.headers["location"]).query)["redirect_uri"] == [
        f"{facility.gateway.url}/api/v1/oidc/callback"
    ]


def test_over_https_the_cookie_of_the_sign_in_is_bound_to_the_host(signing_in: Any) -> None:
    """`__Host-`, Secure, HttpOnly; Lax, because the provider sends the browser back from another site."""
    facility = signing_in(public_url="https://upload.facility.eu")
    answer = facility.client().get(START)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-datauploader-sign-in-")
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "redirect_uri=https%3A%2F%2Fupload.facility.eu%2Fapi%2Fv1%2Foidc%2Fcallback" in answer.headers["location"]


def test_declining_at_the_provider_is_told_in_plain_words(signing_in: Any, browser: Browser) -> None:
    """The provider's word is shown, its free text is not."""
    facility = signing_in()
    page = browser.get(start(facility))
    state = parse_qs(urlsplit(browser.visited[1]).query)["state"][0]
    said = {"error": "access_denied", "error_description": "<b>call 555-1234</b>", "state": state}
    page = browser.get(f"{facility.gateway.url}/api/v1/oidc/callback?{urlencode(said)}")
    assert page.status_code == 401
    assert "access_denied" in page.text
    assert "555" not in page.text


def test_keys_that_change_are_followed(open_facility: Any, scene: Any, browser: Browser) -> None:
    """After a rotation the next sign-in works at once."""
    port = scene.free_port()
    with IdentityProvider(f"http://127.0.0.1:{port}") as provider:
        facility = open_facility(port=port, **scene.oidc(provider))
        browser.sign_in(start(facility), "anna")
        provider.rotate()
        other = Browser()
        other.sign_in(start(facility), "otto")
        assert me(other, facility)["user"]["id"] == "otto"
        other.close()


def test_while_the_provider_is_away_nobody_is_signed_out(open_facility: Any, scene: Any, browser: Browser) -> None:
    """A page says what is the matter; sessions go on; afterwards all is as before."""
    port = scene.free_port()
    with IdentityProvider(f"http://127.0.0.1:{port}") as provider:
        facility = open_facility(port=port, **scene.oidc(provider))
        provider.stop()
        page = browser.get(start(facility))
        assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert provider.issuer in page.text
        assert "does not answer" in page.text
        provider.start()
        browser.sign_in(start(facility), "anna")
        provider.stop()
        assert me(browser, facility)["user"]["id"] == "anna"
        assert at(browser, facility).post("/api/v1/oidc/sign-out").json()["url"].startswith(provider.issuer)


def test_without_redis_nobody_signs_in_and_the_page_says_so(signing_in: Any, browser: Browser) -> None:
    """There and back need it; neither is ever a wrong yes."""
    facility = signing_in()
    browser.get(start(facility))
    redis_client.memory_server(facility.redis_url).connected = False
    for path in (START, "/api/v1/oidc/callback?state=" + "s" * 43 + "&code=c"):
        page = browser.get(facility.gateway.url + path)
        assert page.status_code == 503, page.text
        assert "Redis" in page.text


@pytest.mark.redis
def test_signing_in_works_on_a_real_redis(signing_in: Any, browser: Browser, redis_server: Any) -> None:
    """The same commands, on the server that a facility runs."""
    redis_server.command("FLUSHALL")
    facility = signing_in(redis_server.address.url)
    browser.sign_in(start(facility), "anna")
    assert me(browser, facility)["user"]["id"] == "anna"
    assert at(browser, facility).post("/api/v1/oidc/sign-out").status_code == 200
    assert me(browser, facility) == 401


def program_tokens(provider: IdentityProvider, name: str) -> dict[str, str]:
    """Let somebody give a program access; return all tokens that it gets."""
    verifier = "v" * 50
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "client_id": SCRIPT, "response_type": "code", "redirect_uri": SCRIPT_PAGE, "resource": AUDIENCE,
        "scope": "openid offline_access api", "prompt": "consent", "nonce": "n", "state": "s",
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    browser = Browser()
    browser.stop_at = SCRIPT_PAGE
    browser.sign_in(f"{provider.issuer}/auth?{urlencode(asked)}", name)
    code = parse_qs(urlsplit(browser.visited[-1]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": SCRIPT_PAGE, "client_id": SCRIPT}
    answer = browser.site(provider.issuer).post(
        "/token", data={**form, "code_verifier": verifier, "resource": AUDIENCE}
    )
    browser.close()
    assert answer.status_code == 200, answer.text
    return {name: str(value) for name, value in answer.json().items()}


def test_access_tokens_of_the_provider_are_accepted_where_they_are_allowed(signing_in: Any, provider: Any) -> None:
    """For the audience that is configured, with the role of the groups; ID and refresh tokens are none."""
    tokens = program_tokens(provider, "stella")
    facility = signing_in()
    said = facility.client(Authorization=f"Bearer {tokens['access_token']}").get("/api/v1/me").json()
    assert (said["user"]["id"], said["user"]["role"], said["signed_in_by"]) == ("stella", "staff", "access-token")
    for kind in ("id_token", "refresh_token"):
        assert facility.client(Authorization=f"Bearer {tokens[kind]}").get("/api/v1/me").status_code == 401, kind


def test_access_tokens_of_the_provider_are_nothing_where_none_are_allowed(signing_in: Any, provider: Any) -> None:
    """Off until an audience is configured."""
    facility = signing_in(audience="")
    token = program_tokens(provider, "anna")["access_token"]
    assert facility.client(Authorization=f"Bearer {token}").get("/api/v1/me").status_code == 401
