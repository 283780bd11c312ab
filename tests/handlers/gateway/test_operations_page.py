"""The operators' page: the same as the REST interface, for people."""

import re
import threading
from typing import Any

import pytest

from datauploader.errors import Park
from datauploader.messaging.topology import catalog_queue
from datauploader_testing.waiting import eventually

HTMX = {"HX-Request": "true"}


@pytest.fixture
def parked(facility: Any, scene: Any) -> Any:
    """Give the event that catalog's consumer parks until it is told to be well."""
    well = threading.Event()

    def handle(_delivery: Any) -> None:
        if not well.is_set():
            raise Park("<script>alert(1)</script> is no dataset’s name")

    facility.bus.consume(catalog_queue(), handle)
    facility.client("anna").post("/api/v1/uploads", json=scene.wish())
    eventually(lambda: facility.bus.parked(catalog_queue()), what="the request is parked")
    return well


def test_the_page_says_first_what_is_wrong(facility: Any, parked: Any) -> None:
    """One sentence at the top; whatever a message says is text."""
    client = facility.client("otto")

    def verdict() -> str:
        found = re.search(r'<p class="notice verdict bad" role="status">(.*?)</p>', client.get("/operations").text)
        return found[1] if found else ""

    wrong = "problems: 1 message is parked in catalog.work; station elettra"
    eventually(lambda: wrong in verdict(), what="the gateway says that its view is whole, and nothing else of itself")
    page = client.get("/operations")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text
    assert page.text.count("<h1") == 1


def test_the_polled_part_tells_when_other_messages_are_parked(facility: Any, parked: Any) -> None:
    """The list is fetched again only then, because each look takes the messages from the broker for a moment."""
    client = facility.client("otto")
    assert client.get("/operations/now?seen=0", headers=HTMX).headers["HX-Trigger"] == "parked"
    same = client.get("/operations/now?seen=1", headers=HTMX)
    assert "HX-Trigger" not in same.headers
    assert "<h1" not in same.text
    assert "<h1" not in client.get("/operations/parked", headers=HTMX).text


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["a plain form", "htmx"])
def test_a_button_replays_a_message(facility: Any, parked: Any, headers: dict[str, str]) -> None:
    """It works without scripts as well."""
    client = facility.client("otto")
    client.follow_redirects = True
    place = re.search(r'action="(/operations/parked/[^"]+/replay)"', client.get("/operations").text)
    assert place
    parked.set()
    answer = client.post(place[1], headers=headers)
    assert answer.status_code == 200
    assert "No messages are parked." in answer.text
    assert not facility.bus.parked(catalog_queue())
    gone = client.post(place[1], headers=headers)
    assert gone.status_code == 404
    assert "Someone may have replayed or dropped it already" in gone.text


def test_a_message_is_shown_whole(facility: Any, parked: Any) -> None:
    """With its reason, and a way back."""
    client = facility.client("otto")
    place = re.search(r'<a href="(/operations/parked/catalog.work/[^"]+)"', client.get("/operations").text)
    assert place
    page = client.get(place[1])
    assert "upload.requested.v1" in page.text
    assert "&lt;script&gt;" in page.text


@pytest.mark.attack("S8", "S31")
def test_staff_see_no_parked_messages_and_users_no_page(facility: Any, parked: Any) -> None:
    """Nor can they press a button that they do not see."""
    page = facility.client("stella").get("/operations")
    assert page.status_code == 200
    assert "elettra.xrd1" in page.text.replace("<wbr>", "")
    for absent in ("Parked messages", "catalog.work", "xrd2", "Queues"):
        assert absent not in page.text.replace("<wbr>", "")
    ident = facility.bus.parked(catalog_queue())[0].id
    for name in ("anna", "stella"):
        client = facility.client(name)
        assert client.post(f"/operations/parked/catalog.work/{ident}/drop").status_code == 403
        assert client.get("/operations/parked", headers=HTMX).status_code == 403
    refused = facility.client("anna").get("/operations")
    assert refused.status_code == 403
    assert "Operations are for operators and beamline staff" in refused.text
    assert len(facility.bus.parked(catalog_queue())) == 1


def test_nobody_is_sent_to_sign_in(facility: Any) -> None:
    """And comes back."""
    answer = facility.client().get("/operations")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/operations")
