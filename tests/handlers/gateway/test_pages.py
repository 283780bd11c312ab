"""Pages as a browser without scripts sees them: sign in, what goes on, one upload, its buttons, and problems."""

import html
import re
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx
import pytest

from datauploader.contracts import (
    FailedFile,
    FileFailed,
    FileLeftOut,
    FileVersion,
    LeftOutFile,
    UploadOpened,
    UploadScanned,
)
from datauploader.contracts.names import display, pack
from datauploader.contracts.uploads import RestlessFile
from datauploader.messaging.topology import harvester_queue
from datauploader_gateway import redis_client
from datauploader_gateway.auth.oidc.roles import LEFT_OUT
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.auth.sessions import Sessions
from datauploader_testing.waiting import eventually

HTMX = {"HX-Request": "true"}
SHOWN = r"<img src=x onerror=alert(1)>\u202etxt\x1b[2J"
"""What is shown of a name that would do harm as markup, turns the direction of writing and steers terminals."""


def wished(facility: Any, scene: Any, name: str = "anna", **change: Any) -> str:
    """Have somebody ask for an upload; return its page."""
    made = facility.client(name).post("/api/v1/uploads", json=scene.wish(kind="folder", **change))
    return f"/uploads/{made.json()['id']}"


def words(answer: httpx.Response) -> str:
    """Return what a reader sees of a page."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    body = re.sub(r"<head>.*?</head>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(body).split())


def test_a_person_signs_in_with_the_form_and_comes_to_the_page_they_wanted(facility: Any) -> None:
    """A wrong password keeps the name and says so; the right one leads on; the goal stays within the gateway."""
    client = facility.client()
    asked = client.get("/token?name=laptop")
    assert asked.headers["location"] == "/sign-in?next=/token%3Fname%3Dlaptop"
    form = {"method": "local", "username": "anna", "password": "wrong", "next": "/token?name=laptop"}
    wrong = client.post("/sign-in", data=form)
    assert (wrong.status_code, 'value="anna"' in wrong.text) == (401, True)
    assert "The name or the password is wrong." in words(wrong)
    right = client.post("/sign-in", data=form | {"password": "correct horse"})
    assert (right.status_code, right.headers["location"]) == (303, "/token?name=laptop")
    assert client.get("/sign-in?next=//evil.example").headers["location"] == "/"
    assert "Signed in as Anna Rossi" in words(client.get("/"))


def test_guessing_at_the_form_is_slowed_down_as_everywhere(facility: Any) -> None:
    """The sixth attempt is not looked at, and the page says when to come back."""
    client = facility.client()
    form = {"method": "local", "username": "anna", "password": "wrong"}
    for _ in range(5):
        assert client.post("/sign-in", data=form).status_code == 401
    late = client.post("/sign-in", data=form | {"password": "correct horse"})
    assert (late.status_code, late.headers["retry-after"].isdigit()) == (429, True)


@pytest.mark.parametrize("form", [{}, {"method": "local"}, {"method": "magic", "username": "anna"}], ids=str)
def test_a_form_that_is_not_filled_in_says_so(facility: Any, form: dict[str, str]) -> None:
    """A page with a sentence, whatever comes."""
    answer = facility.client().post("/sign-in", data=form)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")


def test_changing_places_ends_the_session_and_asks_who_comes(facility: Any) -> None:
    """The page leads on by itself; uploads are not touched."""
    client = facility.client("anna")
    left = client.post("/switch-user")
    assert 'content="0; url=/sign-in"' in left.text
    assert client.get("/").status_code == 303


def test_the_first_page_lists_what_goes_on_with_trouble_first(facility: Any, scene: Any) -> None:
    """Running ones, the one that has a trouble before the others; ended ones below; nothing of others."""
    fine, bad = wished(facility, scene, dataset={"name": "fine"}), wished(facility, scene, dataset={"name": "bad"})
    for data in scene.life_of(bad.rpartition("/")[2], 1):
        facility.say(data)
    client = facility.client("anna")
    eventually(lambda: "Recently ended" in words(client.get("/")), what="the upload that ended stands apart")
    said = words(client.get("/"))
    assert said.index("fine") < said.index("Recently ended") < said.index("bad")
    assert fine in client.get("/now", headers=HTMX).text
    assert "Nothing is being uploaded" in words(facility.client("bruno").get("/"))


def test_a_button_works_without_scripts_and_with_them(facility: Any, scene: Any) -> None:
    """A form leads back to the page; htmx gets the part that changes."""
    client, page = facility.client("anna"), wished(facility, scene)
    plain = client.post(f"{page}/pause")
    assert (plain.status_code, plain.headers["location"]) == (303, page)
    assert "paused" in words(client.get(page))
    part = client.post(f"{page}/resume", headers=HTMX)
    assert part.status_code == 200
    assert "<html" not in part.text
    assert "Resume" not in words(part)


def test_a_problem_is_a_page_or_a_notice(facility: Any) -> None:
    """With what happened and what to do; htmx puts it where notices go."""
    client = facility.client("anna")
    page = client.get("/uploads/u-123456789")
    assert (page.status_code, "there is no upload u-123456789" in words(page).lower()) == (404, True)
    notice = client.get("/uploads/u-123456789", headers=HTMX)
    assert (notice.status_code, notice.headers["hx-retarget"]) == (404, "#notice")
    assert "<html" not in notice.text
    lost = client.get("/nowhere")
    assert (lost.status_code, "Not found" in words(lost)) == (404, True)


def test_a_session_that_is_over_leads_to_the_sign_in_and_back(facility: Any, scene: Any) -> None:
    """Also from a fragment: htmx is told to go, and comes back to the page that showed."""
    client, page = facility.client("anna"), wished(facility, scene)
    client.delete("/api/v1/session")
    shown = {"HX-Current-URL": f"{facility.gateway.url}{page}"}
    gone = client.get("/now", headers=HTMX | shown)
    assert (gone.status_code, gone.headers["hx-redirect"]) == (401, f"/sign-in?next={page}")


@pytest.mark.attack("S22")
def test_names_from_outside_are_text_on_every_page(facility: Any, scene: Any) -> None:
    """Markup stays letters, what steers a terminal or turns the direction of writing is written out."""
    name, reason = "<img src=x onerror=alert(1)>\u202etxt\x1b[2J", "<script>alert(2)</script>"
    page = wished(facility, scene)
    upload_id = page.rpartition("/")[2]
    odd = FileVersion.of(name.encode(), size=1, mtime_ns=1, sha256="1" * 64, revision=1)
    bad = FailedFile(file=odd, reason="conflict", detail=reason, final=True)
    facility.say(FileFailed(upload_id=upload_id, files=(bad,)))
    left = LeftOutFile(path=f"{name}.out", reason="excluded", detail=reason)
    facility.say(FileLeftOut(upload_id=upload_id, files=(left,)))
    client = facility.client("anna")
    for address in (f"{page}/files", f"{page}/left-out"):
        eventually(lambda: SHOWN in html.unescape(client.get(address).text), what=f"the name on {address}")  # noqa: B023
        text = client.get(address).text
        assert reason in html.unescape(text)
        assert [trace for trace in ("<img src=x", "<script>alert", "\u202e", "\x1b") if trace in text] == []


def test_one_failed_file_is_tried_again_by_its_own_button(facility: Any, scene: Any) -> None:
    """Whatever the bytes of its name; the other failed ones are left alone."""
    events: list[Any] = []
    facility.bus.consume(harvester_queue("test", ["*.*.*.upload.controlled.v1"]), lambda d: events.append(d.event.data))
    client, page = facility.client("anna"), wished(facility, scene)
    raw = b"z\xff<b>\n.tif"
    odd = FileVersion.of(raw, size=1, mtime_ns=1, sha256="1" * 64, revision=1)
    bad = FailedFile(file=odd, reason="conflict", detail="another file is there", final=True)
    facility.say(FileFailed(upload_id=page.rpartition("/")[2], files=(bad,)))
    eventually(lambda: "another file is there" in client.get(f"{page}/files").text.lower(), what="the failed file")
    fields = dict(re.findall(r'name="(path\w*)" value="([^"]*)"', client.get(f"{page}/files").text))
    answer = client.post(f"{page}/retry", data={name: html.unescape(value) for name, value in fields.items()})
    assert answer.status_code == 303
    (said,) = eventually(lambda: events, what="the retry is published")
    assert (said.action, [file.raw for file in said.files]) == ("retry", [raw])
    assert client.post(f"{page}/pause", data=fields).status_code == 422
    assert client.post(f"{page}/retry", data={"path": "../x"}).status_code == 422


@pytest.mark.fault("F64")
def test_of_a_file_that_is_written_on_after_the_close_a_person_chooses_what_becomes(facility: Any, scene: Any) -> None:
    """Two buttons beside its name and since when; only for a file that is named like this."""
    events: list[Any] = []
    facility.bus.consume(harvester_queue("test", ["*.*.*.upload.controlled.v1"]), lambda d: events.append(d.event.data))
    client, page = facility.client("anna"), wished(facility, scene)
    upload, raw = page.rpartition("/")[2], b"z\xff<b>\n.log"
    named = RestlessFile(path=display(raw), path_b64=pack(raw), since=datetime.now(UTC))
    facility.say(UploadOpened(upload_id=upload))
    facility.say(UploadScanned(upload_id=upload, files=1, bytes=5, settling=1, left_out=0, restless=(named,)))
    eventually(lambda: "Still being written" in words(client.get(page)), what="the file is named")
    assert "needs attention" in words(client.get(page))
    fields = dict(re.findall(r'name="(path\w*)" value="([^"]*)"', client.get(page).text))
    for action in ("take", "leave-out"):
        answer = client.post(f"{page}/{action}", data={name: html.unescape(value) for name, value in fields.items()})
        assert answer.status_code == 303
    first, second = eventually(lambda: events if len(events) == 2 else [], what="both choices are published")
    assert (first.action, second.action) == ("take", "leave-out")
    assert [file.raw for one in (first, second) for file in one.files] == [raw, raw]
    assert client.post(f"{page}/take", data={"path": "other.log"}).status_code == 422
    assert client.post(f"{page}/take").status_code == 422
    facility.say(UploadScanned(upload_id=upload, files=1, bytes=5, settling=0, left_out=0))
    eventually(lambda: "Still being written" not in words(client.get(page)), what="it is no longer changing")


def test_the_page_of_an_upload_lives(facility: Any, scene: Any) -> None:
    """The stream sends the upload as it is drawn, says when files changed, and ends when it is over."""
    client, page = facility.client("anna"), wished(facility, scene)
    with client.stream("GET", f"{page}/live", timeout=20) as stream:
        chunks = stream.iter_text()
        said = next(chunks)
        assert "Leave this computer on" in said
        for data in scene.life_of(page.rpartition("/")[2], 3):
            facility.say(data)
        said = "".join(chunks)
    assert "event: files" in said
    assert "It is safe to switch off this computer" in said
    assert said.rstrip().rpartition("\n\n")[2].startswith("event: end")


def test_who_came_without_their_groups_is_told_on_every_page(open_facility: Any) -> None:
    """The provider left them out because they were too many, so a role may be missing."""
    facility = open_facility(oidc={"issuer": "https://id.facility.eu", "client_id": "du"})

    async def begin() -> str:
        client = redis_client.connect_async(facility.redis_url)
        sessions = Sessions(client, idle_s=600, longest_s=600)
        secret, _ = await sessions.open(SignedInUser(id="7"), "oidc", {"groups": (), LEFT_OUT: ("groups",)})
        await client.aclose()
        return secret

    browser = facility.client()
    browser.cookies.set("datauploader", anyio.run(begin))
    for path in ("/", "/new", "/history"):
        assert "did not send your groups" in browser.get(path).text
    assert "did not send your" not in facility.client("anna").get("/").text
