"""What somebody tries who sits before a browser, on every route that there is; a new route must say what it is."""

import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import structlog
from fastapi.routing import iter_route_contexts

from datauploader_gateway import application
from datauploader_gateway.settings import GatewaySettings
from datauploader_testing.waiting import eventually

API = application.API
PUBLIC = {
    ("POST", f"{API}/session"): "signs in",
    ("POST", f"{API}/tokens"): "signs in, or asks who is there already",
    ("GET", f"{API}/sign-in"): "says how one can sign in",
    ("GET", f"{API}/oidc/start"): "sends to the facility's sign-in",
    ("GET", f"{API}/oidc/callback"): "comes back from there, with a code that is checked",
    ("GET", f"{API}/openapi.json"): "says nothing about anybody",
    ("GET", "/health/live"): "says that the gateway answers",
    ("GET", "/health/ready"): "says which of its parts answer",
    ("GET", "/health/serving"): "tells a proxy whether it serves, and on which computer another gateway does",
    ("GET", "/metrics"): "answers its own machine, and else operators",
    ("GET", "/operations/direct"): "while Redis is away: asks operators for their local account, see test_direct.py",
    ("GET", "/sign-in"): "the page where one signs in",
    ("POST", "/sign-in"): "signs in",
    ("GET", "/static"): "files of the pages",
    ("GET", "/help"): "the documents, which say nothing of a facility",
    ("GET", "/desktop/open"): "on a desktop: takes a link, once",
    ("GET", "/desktop"): "on a desktop: for who came through its link",
    ("POST", "/desktop/folder"): "likewise",
    ("POST", "/desktop/quit"): "likewise",
}
"""Everything that may be asked for without signing in, and why."""
UPLOAD = f"{API}/uploads/{{upload_id}}"
OF_ONE_UPLOAD = {
    ("GET", UPLOAD),
    ("GET", f"{UPLOAD}/files"),
    ("GET", f"{UPLOAD}/left-out"),
    ("GET", f"{UPLOAD}/events"),
    ("POST", f"{UPLOAD}/{{action}}"),
    ("GET", f"{UPLOAD}/dataset"),
    ("PATCH", f"{UPLOAD}/dataset"),
    ("GET", f"{UPLOAD}/receipt"),
    ("GET", f"{UPLOAD}/metadata"),
    ("GET", f"{UPLOAD}/pictures/{{sha256}}"),
    ("GET", f"{UPLOAD}/receipt/manifest-sha256.txt"),
    ("GET", f"{UPLOAD}/receipt/ro-crate-metadata.json"),
    ("GET", f"{UPLOAD}/throughput"),
    ("GET", f"{UPLOAD}/timing"),
    ("GET", f"{UPLOAD}/audits"),
    ("POST", f"{UPLOAD}/audits"),
    ("GET", f"{UPLOAD}/mail"),
    ("PUT", f"{UPLOAD}/mail"),
}
"""Routes that must not exist for anybody but the upload's own people."""
OF_THE_CALLER = {
    ("DELETE", f"{API}/session"),
    ("POST", f"{API}/oidc/sign-out"),
    ("POST", f"{API}/people/{{person_id:path}}/sign-out"),
    ("GET", f"{API}/me"),
    ("GET", f"{API}/tokens"),
    ("DELETE", f"{API}/tokens/{{token_id}}"),
    ("GET", f"{API}/investigations"),
    ("POST", f"{API}/investigations"),
    ("GET", f"{API}/investigations/{{investigation_id}}"),
    ("PATCH", f"{API}/investigations/{{investigation_id}}"),
    ("GET", f"{API}/uploads"),
    ("POST", f"{API}/uploads"),
    ("POST", f"{API}/uploads/preview"),
    ("POST", f"{API}/uploads/values"),
    ("GET", f"{API}/events"),
    ("GET", f"{API}/audit"),
    ("GET", f"{API}/me/mail"),
    ("PUT", f"{API}/me/mail"),
    ("GET", f"{API}/operations"),
    ("POST", f"{API}/operations/acknowledgements"),
    ("GET", f"{API}/operations/parked-groups"),
    ("POST", f"{API}/operations/parked-groups/{{verb}}"),
    ("DELETE", f"{API}/operations/acknowledgements/{{cause}}"),
    ("GET", f"{API}/operations/parked"),
    ("GET", f"{API}/operations/parked/{{queue}}/{{message_id:path}}"),
    ("POST", f"{API}/operations/parked/{{queue}}/{{message_id:path}}/{{verb}}"),
}
"""Routes that answer each with their own; signing somebody else out is for operators, which a test of its own holds."""
OF_EVERYBODY = {
    ("GET", f"{API}/remotes"),
    ("GET", f"{API}/metadata-schema"),
    ("GET", f"{API}/stations"),
    ("GET", f"{API}/stations/{{station}}/folders"),
    ("GET", f"{API}/stations/{{station}}/throughput"),
}
"""Routes that answer everybody who is signed in alike."""
PAGE = "/uploads/{upload_id}"
PAGES_OF_ONE_UPLOAD = {
    ("GET", PAGE),
    ("GET", f"{PAGE}/files"),
    ("GET", f"{PAGE}/left-out"),
    ("GET", f"{PAGE}/live"),
    ("POST", f"{PAGE}/{{action}}"),
    ("GET", f"{PAGE}/dataset/description"),
    ("POST", f"{PAGE}/dataset/description"),
    ("GET", f"{PAGE}/receipt"),
    ("GET", f"{PAGE}/metadata"),
    ("GET", f"{PAGE}/pictures"),
    ("GET", f"{PAGE}/throughput"),
    ("GET", f"{PAGE}/timing"),
    ("POST", f"{PAGE}/mail"),
    ("GET", f"{PAGE}/audits"),
    ("POST", f"{PAGE}/audits"),
}
PAGES_OF_THE_VISITOR = {
    ("GET", "/"),
    ("GET", "/now"),
    ("GET", "/live"),
    ("GET", "/old-view"),
    ("POST", "/new/dataset"),
    ("GET", "/token"),
    ("GET", "/investigations"),
    ("GET", "/investigations/new"),
    ("POST", "/investigations/new"),
    ("GET", "/investigations/{investigation_id}"),
    ("POST", "/investigations/{investigation_id}/description"),
    ("GET", "/new"),
    ("GET", "/new/folder"),
    ("GET", "/new/review"),
    ("POST", "/new"),
    ("POST", "/new/found"),
    ("POST", "/new/keep"),
    ("POST", "/new/values"),
    ("POST", "/new/start"),
    ("GET", "/operations"),
    ("GET", "/operations/now"),
    ("GET", "/operations/acknowledge"),
    ("POST", "/operations/parked-groups/{verb}"),
    ("POST", "/operations/acknowledge"),
    ("POST", "/operations/acknowledge/withdraw"),
    ("GET", "/operations/parked"),
    ("GET", "/operations/parked/{queue}/{message_id:path}"),
    ("POST", "/operations/parked/{queue}/{message_id:path}/{verb}"),
    ("GET", "/history"),
    ("GET", "/audit"),
    ("GET", "/stations/{station}/throughput"),
    ("POST", "/mail"),
    ("POST", "/sign-out"),
    ("POST", "/switch-user"),
}
"""Pages and their fragments; without a session they lead to the sign-in."""
ACTIONS = ("close", "pause", "resume", "cancel", "retry")
FOREIGN = {"Origin": "https://evil.example"}


def table() -> set[tuple[str, str]]:
    """List every route of the application itself, whatever OpenAPI says about it."""
    app = application.build(GatewaySettings(), lambda: None)  # type: ignore[arg-type, return-value]
    return {
        (method, str(route.path))
        for route in iter_route_contexts(app.routes)
        for method in set(route.methods or {"GET"}) - {"HEAD"}
    }


def closed() -> list[tuple[str, str]]:
    """List the routes that need somebody."""
    return sorted(table() - set(PUBLIC))


def filled(path: str, upload_id: str = "u-123456789", token_id: str = "x") -> Iterator[str]:
    """Put something into the gaps of a path; each action in turn."""
    for action in ACTIONS if "{action}" in path else ("",):
        yield path.replace(":path}", "}").format(
            upload_id=upload_id,
            action=action,
            station="elettra.xrd1.ws01",
            token_id=token_id,
            person_id="7",
            investigation_id="100",
            queue="catalog.work",
            message_id="x",
            verb="drop",
            cause="broker:broker:away",
            sha256="0" * 64,
        )


def calls(routes: list[tuple[str, str]], **gaps: str) -> Iterator[tuple[str, str]]:
    """Yield method and address of each call."""
    return ((method, address) for method, path in routes for address in filled(path, **gaps))


def turned_away(answer: httpx.Response, status: int, word: str) -> None:
    """Check that an answer says no: a problem to a program, the sign-in or a sentence to a person."""
    asked = f"{answer.request.method} {answer.request.url.path}"
    if answer.request.url.path.startswith(("/api/", "/health/", "/metrics")):
        assert answer.status_code == status, f"{asked} answered {answer.status_code}"
        assert answer.json()["type"].endswith(f"/{word}")
    elif status == 401:
        assert (answer.status_code, answer.headers["location"][:14]) == (303, "/sign-in?next="), asked
        assert not answer.content
    else:
        assert answer.status_code == status, f"{asked} answered {answer.status_code}"
        assert '<h1 id="problem-title">' in answer.text


@pytest.mark.attack("S1", "S8")
def test_every_route_says_whose_it_is() -> None:
    """A route that is added fails here until somebody has decided who may ask for it."""
    known = set(PUBLIC) | OF_ONE_UPLOAD | OF_THE_CALLER | OF_EVERYBODY | PAGES_OF_ONE_UPLOAD | PAGES_OF_THE_VISITOR
    assert table() == known


@pytest.mark.attack("S1")
@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer garbage",
        "Bearer du_" + "A" * 43,
        "Basic YW5uYTpjb3JyZWN0IGhvcnNl",
        "Bearer \xff",
        "bearer x, y",
    ],
    ids=["none", "empty", "garbage", "forged", "basic", "not ascii", "two"],
)
def test_no_closed_route_opens_without_a_token_that_holds(facility: Any, header: str) -> None:
    """401 in one shape, on every route, with no other effect."""
    client = facility.client()
    if header:
        client.headers = httpx.Headers([*client.headers.raw, (b"Authorization", header.encode("latin-1"))])
    for method, address in calls(closed()):
        answer = client.request(method, address, json={} if method == "POST" else None)
        turned_away(answer, 401, "not-signed-in")
        assert answer.headers.get("www-authenticate", "") == ("Bearer" if address.startswith(API) else "")


@pytest.mark.attack("S1")
@pytest.mark.parametrize("kind", ["session", "token"])
def test_what_has_expired_opens_nothing(facility: Any, kind: str) -> None:
    """Even while Redis still has it: its own time counts."""
    client = facility.client("anna")
    if kind == "token":
        made = client.post(f"{API}/tokens", json={}).json()["token"]
        client = facility.client(Authorization=f"Bearer {made}")
    assert client.get(f"{API}/me").status_code == 200
    redis, past = facility.redis(), (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    for key in redis.keys(f"datauploader:{kind}:*"):
        text = redis.get(key).decode()
        began = text.index('"expires":"') + 11
        redis.set(key, text[:began] + past + text[text.index('"', began) :])
    for method, address in calls(closed()):
        turned_away(client.request(method, address, json={} if method == "POST" else None), 401, "not-signed-in")


@pytest.mark.attack("S1")
def test_a_cookie_is_no_token_and_a_token_no_cookie(facility: Any) -> None:
    """Each counts in its own place only, so that none of the two can be smuggled past what guards the other."""
    client = facility.client("anna")
    (secret,) = dict(client.cookies).values()
    token = client.post(f"{API}/tokens", json={}).json()["token"]
    assert facility.client(Authorization=f"Bearer {secret}").get(f"{API}/me").status_code == 401
    smuggler = facility.client()
    smuggler.cookies.set("datauploader", token)
    assert smuggler.get(f"{API}/me").status_code == 401


@pytest.mark.attack("S8")
def test_nothing_of_one_user_exists_for_another(facility: Any, scene: Any) -> None:
    """Every route about one upload is a 404 for the other, and changes nothing."""
    anna, bruno = facility.client("anna"), facility.client("bruno")
    mine = anna.post(f"{API}/uploads", json=scene.wish(kind="folder")).json()
    for method, address in calls(sorted(OF_ONE_UPLOAD | PAGES_OF_ONE_UPLOAD), upload_id=mine["id"]):
        answer = bruno.request(method, address)
        turned_away(answer, 404, "not-found")
        assert "Thin films" not in answer.text
        assert mine["dataset"] not in answer.text
    now = anna.get(f"{API}/uploads/{mine['id']}").json()
    assert (now["paused"], now["closing"], now["state"]) == (False, False, "requested")


@pytest.mark.attack("S8")
def test_everybody_is_answered_with_their_own(facility: Any, scene: Any) -> None:
    """Lists, tokens, and the catalogue's questions: of the caller, whatever the request says."""
    anna, bruno = facility.client("anna"), facility.client("bruno")
    mine = anna.post(f"{API}/uploads", json=scene.wish(kind="folder"), headers={"Idempotency-Key": "k"}).json()["id"]
    token = anna.post(f"{API}/tokens", json={}).json()["id"]
    for query in ({}, {"investigation": "100"}, {"station": scene.STATION.key}, {"state": "requested"}):
        assert bruno.get(f"{API}/uploads", params=query).json()["items"] == []
    assert bruno.get(f"{API}/tokens").json()["items"] == []
    assert bruno.delete(f"{API}/tokens/{token}").status_code == 404
    theirs = bruno.post(f"{API}/uploads", json=scene.wish(kind="folder"), headers={"Idempotency-Key": "k"}).json()["id"]
    assert theirs != mine
    bruno.get(f"{API}/investigations", params={"user_id": "7"})
    asked = facility.catalogue.asked[-1]
    assert asked.user_id == "8"
    as_another = bruno.post(f"{API}/uploads", json=scene.wish(kind="folder", requested_by={"id": "7"}))
    assert as_another.status_code == 422


@pytest.mark.attack("S8")
def test_the_stream_of_everything_leaves_out_what_is_anothers(facility: Any, scene: Any) -> None:
    """Bruno hears of his upload and of stations; of Anna's neither uploads nor files nor progress."""
    anna, bruno = facility.client("anna"), facility.client("bruno")
    stream = scene.Stream(bruno, f"{API}/events")
    mine = anna.post(f"{API}/uploads", json=scene.wish(kind="folder")).json()["id"]
    for data in scene.life_of(mine, 3):
        facility.say(data)
    theirs = bruno.post(f"{API}/uploads", json=scene.wish(kind="folder")).json()["id"]
    eventually(lambda: theirs in str(stream.events), what="his own upload on the stream")
    assert mine not in str(stream.events)


@pytest.mark.attack("S10")
@pytest.mark.parametrize("headers", [FOREIGN, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}], ids=str)
def test_another_sites_page_is_refused_on_every_route(facility: Any, scene: Any, headers: Mapping[str, str]) -> None:
    """With the cookie that the browser adds by itself, whatever the method; public routes that act as well."""
    client = facility.client("anna")
    mine = client.post(f"{API}/uploads", json=scene.wish(kind="folder")).json()["id"]
    acting = [("POST", f"{API}/session"), ("POST", f"{API}/tokens")]
    for method, address in calls(closed() + acting, upload_id=mine):
        body = scene.credentials("anna") if address.endswith(("/session", "/tokens")) else {}
        answer = client.request(method, address, headers=headers, json=body if method == "POST" else None)
        turned_away(answer, 403, "foreign-origin")
        assert "set-cookie" not in answer.headers
    assert client.get(f"{API}/uploads/{mine}").json()["paused"] is False


@pytest.mark.attack("S10")
def test_a_link_leads_to_a_page_from_anywhere_and_nothing_else_does(facility: Any) -> None:
    """From a mail or the identity provider a person may come; a frame, a script, a form and the interface may not."""
    client = facility.client("anna")
    del client.headers["Origin"]
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=visit).status_code == 200
    assert client.get(f"{API}/uploads", headers=visit).status_code == 403
    assert client.post("/sign-out", headers=visit).status_code == 403
    for other in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "no-cors"}, {"Sec-Fetch-Mode": "cors"}):
        assert client.get("/", headers=visit | other).status_code == 403
    assert client.get("/").status_code == 200


@pytest.mark.attack("S10")
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"])
def test_a_plain_form_makes_no_upload(facility: Any, scene: Any, kind: str) -> None:
    """What a page can send without asking first is no request here, wherever it seems to come from."""
    client = facility.client("anna")
    answer = client.post(
        f"{API}/uploads", content=json.dumps(scene.wish(kind="folder")), headers={"Content-Type": kind}
    )
    assert answer.status_code == 422
    assert client.get(f"{API}/uploads").json()["items"] == []


@pytest.mark.attack("S10")
def test_no_other_site_may_read_an_answer(facility: Any) -> None:
    """No answer invites other origins, not even to a preflight."""
    client = facility.client("anna")
    for method, path in itertools.product(("OPTIONS", "GET"), (f"{API}/me", f"{API}/uploads", "/metrics", "/")):
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = client.request(method, path, headers=asked)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


SPOOFED = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-User": "otto",
    "X-Original-URL": "/health/live",
    "X-Rewrite-URL": "/health/live",
    "X-HTTP-Method-Override": "DELETE",
    "Forwarded": "for=127.0.0.1;host=evil.example;proto=https",
}


@pytest.mark.attack("S11")
@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)], ids=["nobody is trusted", "the proxy is trusted"])
def test_headers_of_the_way_change_no_answer(open_facility: Any, scene: Any, trusted: tuple[str, ...]) -> None:
    """Authorisation, links and cookies are as without them; a trusted proxy may say who calls, and nothing else."""
    facility = open_facility(trusted_proxies=trusted)
    plain, spoofing = facility.client("anna"), facility.client(**SPOOFED)
    for method, address in calls(closed()):
        turned_away(spoofing.request(method, address, json={} if method == "POST" else None), 401, "not-signed-in")
    signed = spoofing.post(f"{API}/session", json=scene.credentials("anna"), headers={"Origin": facility.gateway.url})
    assert signed.status_code == 200
    assert "evil" not in str(signed.headers) + signed.text
    assert signed.headers["set-cookie"].startswith("datauploader=")
    assert "domain" not in signed.headers["set-cookie"].lower()
    made = plain.post(f"{API}/uploads", json=scene.wish(kind="folder"), headers=SPOOFED)
    assert made.status_code == 201
    assert made.headers["location"] == f"{API}/uploads/{made.json()['id']}"
    assert "evil" not in made.text + plain.get("/", headers=SPOOFED).text


@pytest.mark.attack("S12")
def test_every_answer_protects_the_browser(open_facility: Any, scene: Any) -> None:
    """Whatever the status, the kind of content and who made the answer: policy, no sniffing, no copies, only https."""
    facility = open_facility(public_url="https://upload.facility.eu")
    client = facility.client("anna")
    client.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    client.headers["Origin"] = "https://upload.facility.eu"
    broken = client.post(f"{API}/uploads", json=scene.wish(kind="folder")).json()["id"]
    with client.stream("GET", f"{API}/uploads/{broken}/events") as stream:
        assert stream.status_code == 200
        protected(stream.headers)
    facility.redis().hset(f"datauploader:upload:{broken}", "r:request", "damaged")
    answers = {
        200: client.get(f"{API}/me"),
        201: client.post(f"{API}/tokens", json={}),
        401: facility.client().get(f"{API}/me"),
        403: client.get(f"{API}/me", headers=FOREIGN),
        404: client.get("/nowhere"),
        405: client.put(f"{API}/me"),
        413: client.post(f"{API}/uploads", content=b"x" * 2_000_000),
        422: client.post(f"{API}/uploads", json={}),
    }
    with structlog.testing.capture_logs() as said:
        answers[500] = client.get(f"{API}/uploads/{broken}")
    assert [line["event"] for line in said] == ["request_failed"]
    static = client.get("/static/page.js")
    for status, answer in [*answers.items(), (200, static)]:
        assert answer.status_code == status, f"{answer.request.url}: {answer.text}"
        protected(answer.headers, cached=answer is static)


def protected(headers: Mapping[str, str], *, cached: bool = False) -> None:
    """Check the headers that every answer has."""
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*"} & set(policy.replace(";", " ").split())
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["strict-transport-security"] == "max-age=63072000"
    assert cached or headers["cache-control"] == "no-store"
    assert "server" not in headers
    assert "x-powered-by" not in headers


@pytest.mark.attack("S12")
def test_the_cookie_is_for_this_host_alone(open_facility: Any, scene: Any) -> None:
    """Host prefix, path, no domain, out of reach of scripts, https alone, not sent along from other sites."""
    facility = open_facility(public_url="https://upload.facility.eu")
    client = facility.client(Origin="https://upload.facility.eu")
    cookie = client.post(f"{API}/session", json=scene.credentials("anna")).headers["set-cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-datauploader=")
    words = {attribute.lower() for attribute in attributes}
    assert {"httponly", "secure", "path=/", "samesite=lax"} <= words
    assert not [word for word in words if word.startswith("domain")]


REMOTES = (
    ":local:", ":local:/etc", "local:/", ":webdav,bearer_token_command='id':", "archive:", "archive,base=/:",
    "archive/..", "", "ARCHIVE", "archive\n", "_config", "../archive", "arch\u0131ve",
)  # fmt: skip
FIELDS = ("_config", "_filter", "_group", "srcFs", "destination", "location", "requested_by")
NAMES = (
    "..", ".", "../x", "a/../../x", "/abs", "C:", "C:\\x", "\\\\server\\share", "file:stream", "con", "NUL.txt", "lpt1",
    "a\0b", "a\nb", "a\u202eb", "a\u2028b", "trailing.", "trailing ", "x" * 300, "\u200b", "a?b", "a|b", "CONIN$",
    "com\u00b9", "<b>",
)  # fmt: skip
PATHS = (
    {"path": "/data/../etc"}, {"path": "data"}, {"path": "/data\0/x"}, {"path": "C:\\data\\..\\x"},
    {"path": "\\\\.\\..\\x"}, {"sources": ["/etc"]}, {"sources": ["C:\\x"]}, {"sources": ["a\\..\\..\\x"]},
    {"sources": ["\\\\srv\\share"]}, {"investigation": "../100"}, {"investigation": "100/../200"},
)  # fmt: skip
BASES = ("../..", "/../etc", "a/../b", "x\0y", "con", "a//b")


@pytest.mark.attack("S17")
def test_only_the_name_of_a_remote_is_taken_for_one(facility: Any, scene: Any) -> None:
    """A connection string, a backend, an option, or what looks like a name: 422, and nobody hears of it."""
    refused(facility, [scene.wish(remote=remote, kind="folder") for remote in REMOTES], "unknown-remote")


@pytest.mark.attack("S17")
def test_no_field_of_rclone_or_of_the_contract_passes_through(facility: Any, scene: Any) -> None:
    """A request has its own fields and no others, at the top and in the dataset."""
    top = [scene.wish(**{field: {"x": 1}}) for field in FIELDS]
    below = [scene.wish(dataset={"name": "scan1", field: {"x": 1}}) for field in FIELDS]
    refused(facility, top + below, "invalid-request")


@pytest.mark.attack("S19", "S22")
def test_a_dataset_name_is_one_component_or_nothing(facility: Any, scene: Any) -> None:
    """It becomes a folder on the storage, so it can climb nowhere and hide nothing."""
    refused(facility, [scene.wish(dataset={"name": name}, kind="folder") for name in NAMES], "bad-name")


@pytest.mark.attack("S19")
def test_no_path_of_a_request_climbs_out(facility: Any, scene: Any) -> None:
    """422 or, for an investigation that nobody has, 403; nothing is published."""
    refused(facility, [scene.wish(kind="folder") | change for change in PATHS], "bad-path", "not-allowed", "bad-name")


@pytest.mark.attack("S19")
def test_a_base_directory_that_climbs_out_is_not_used(facility: Any, scene: Any) -> None:
    """Not even where the catalogue itself says so."""
    for base in BASES:
        facility.catalogue.base_dir = base
        refused(facility, [scene.wish(kind="folder")], "bad-name")


def refused(facility: Any, wishes: list[dict[str, Any]], *words: str) -> None:
    """Check that each of these requests is refused with one of these words, and that nothing comes of them."""
    client = facility.client("anna")
    for asked in wishes:
        answer = client.post(f"{API}/uploads", json=asked)
        assert answer.status_code in (403, 422), f"{asked}: {answer.text}"
        assert answer.json()["type"].rpartition("/")[2] in words, f"{asked}: {answer.text}"
    assert client.get(f"{API}/uploads").json()["items"] == []
