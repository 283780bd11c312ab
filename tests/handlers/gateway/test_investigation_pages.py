"""Pages of investigations and descriptions, as a browser without scripts and one with htmx see them."""

import html
import re
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from datauploader.contracts import DatasetAnnotated, DatasetDescribed, InvestigationDescribed
from datauploader.contracts.questions import Investigations, InvestigationSummary
from datauploader.errors import QuestionRefused
from datauploader.messaging.topology import catalog_queue
from datauploader_testing.waiting import eventually

HTMX = {"HX-Request": "true"}
TODAY = datetime.now().astimezone().date()
EVIL = "<img src=x onerror=alert(1)>"


def summary(name: str, **more: Any) -> InvestigationSummary:
    """An investigation of today at this beamline."""
    said = {"title": f"Title of {name}", "name": name, "start": TODAY, "end": TODAY, "beamline": "XRD1"}
    return InvestigationSummary(id=name, **said | more)


@pytest.fixture
def anna(facility: Any) -> httpx.Client:
    """A scientist's browser, with investigations in the catalogue."""
    closed = summary("901", open=False, reason="the time is over")
    later = summary("200", start=TODAY + timedelta(days=7), end=None)
    items = (summary("100", principal_investigator="Anna Rossi"), later, closed)
    facility.catalogue.investigations = Investigations(items=items, total=3, may_create=True)
    client: httpx.Client = facility.client("anna")
    return client


@pytest.fixture
def heard(facility: Any) -> list[Any]:
    """What the catalog hears."""
    events: list[Any] = []
    facility.bus.consume(catalog_queue(), lambda delivery: events.append(delivery.event))
    return events


def words(answer: httpx.Response) -> str:
    """Return what a reader sees of a page."""
    assert answer.status_code == 200, answer.text
    body = re.sub(r"<head>.*?</head>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(body).split())


def hidden(answer: httpx.Response, name: str) -> str:
    """Return the value of a hidden field."""
    found = re.search(f'name="{name}" value="([^"]*)"', answer.text)
    assert found is not None, name
    return html.unescape(found[1])


def wished(scene: Any, client: httpx.Client, **change: Any) -> str:
    """Ask for an upload; return the page of its description."""
    made = client.post("/api/v1/uploads", json=scene.wish(kind="folder", **change))
    return f"/uploads/{made.json()['id']}/dataset/description"


def test_todays_investigations_lead_to_a_new_upload(scene: Any, anna: Any) -> None:
    """Each with its own uploads; a closed one has a reason and no button."""
    wished(scene, anna, dataset={"name": "scan 7"})
    page = anna.get("/investigations")
    said = words(page)
    assert said.index("Today") < said.index("Title of 100") < said.index("Title of 200") < said.index("Title of 901")
    assert "scan 7" in said
    assert "The time is over." in said
    assert re.findall(r"/new\?investigation=(\w+)", page.text) == ["100", "200"]
    assert page.text.count("<h1") == 1
    assert 'href="/investigations/new"' in page.text


def test_a_search_is_a_part_with_scripts_and_a_page_without(facility: Any, anna: Any) -> None:
    """The catalogue is asked for the words."""
    part = anna.get("/investigations", params={"text": "thin"}, headers=HTMX)
    assert "<html" not in part.text
    assert "<html" in anna.get("/investigations", params={"text": "thin"}).text
    assert facility.catalogue.asked[-1].text == "thin"
    facility.catalogue.investigations = Investigations()
    assert "None of your investigations" in words(anna.get("/investigations", params={"text": "x"}))
    assert "You have no investigations" in words(anna.get("/investigations"))


def test_ten_thousand_investigations_stay_a_page(facility: Any, anna: Any) -> None:
    """Fifty of each section are shown, and it is said that there are more."""
    items = tuple(summary(f"p{n}", title="λ" * 200) for n in range(1000))
    facility.catalogue.investigations = Investigations(items=items, total=10_000)
    page = anna.get("/investigations")
    assert page.text.count('class="card"') == 50
    assert "950 more" in words(page)
    assert "10,000 in total" in words(page)
    assert len(page.content) < 200_000


def test_an_investigation_is_made_with_the_form(facility: Any, anna: Any) -> None:
    """It leads to its page; what is wrong is said on the form, which keeps what was typed."""
    assert "Create investigation" in words(anna.get("/investigations/new"))
    form = {"name": "P7", "visit": "1", "title": "Films", "beamline": "XRD1", "start": str(TODAY), "end": ""}
    made = anna.post("/investigations/new", data=form)
    assert (made.status_code, made.headers["location"]) == (303, "/investigations/made-P7")
    wrong = anna.post("/investigations/new", data=form | {"start": "soon"})
    assert (wrong.status_code, 'value="Films"' in wrong.text, 'role="alert"' in wrong.text) == (422, True, True)
    facility.catalogue.refusal = QuestionRefused("taken", "there is one already")
    taken = anna.post("/investigations/new", data=form)
    assert (taken.status_code, "There is one already." in taken.text) == (409, True)


def test_where_none_can_be_made_the_page_says_so(facility: Any, anna: Any) -> None:
    """No form that would be refused."""
    facility.catalogue.investigations = Investigations(create_refusal="Ask the user office.")
    page = anna.get("/investigations/new")
    assert "Ask the user office." in words(page)
    assert 'name="title"' not in page.text
    assert 'href="/investigations/new"' not in anna.get("/investigations").text


def test_an_investigation_is_described_on_its_page(anna: Any, heard: list[Any]) -> None:
    """A form without scripts, a part with them; a closed one has no button."""
    page = anna.get("/investigations/100?edit=true")
    form = {"description": "What we want", "based_on": hidden(page, "based_on")}
    said = anna.post("/investigations/100/description", data=form)
    assert (said.status_code, said.headers["location"]) == (303, "/investigations/100")
    now = anna.get("/investigations/100", headers=HTMX)
    assert "<html" not in now.text
    assert "What we want" in words(now)
    assert "not yet in the catalogue" in words(now)
    said = eventually(lambda: [e.data for e in heard if isinstance(e.data, InvestigationDescribed)])
    assert [data.description for data in said] == ["What we want"]
    assert "edit=true" not in anna.get("/investigations/901").text


def test_a_dataset_is_described_with_the_form(facility: Any, scene: Any, anna: Any, heard: list[Any]) -> None:
    """Only what was changed is said anew, and a text that looks like a number stays a text while nobody touches it."""
    asked = [{"name": "run", "value": "0012"}, {"name": "code", "value": "7"}, {"name": "energy", "value": 8.0}]
    address = wished(scene, anna, dataset={"name": "scan1", "description": "first", "parameters": asked})
    form = anna.get(f"{address}?edit=true")
    body = {
        "description": "second\r\nline", "based_on": hidden(form, "based_on"),
        "name": ["run", "code", "energy", "sample", ""], "value": ["0012", "7", "9.5", "LaB6", ""],
        "units": ["", "", "keV", "", ""],
    }  # fmt: skip
    said = anna.post(address, data=body)
    assert (said.status_code, said.headers["location"]) == (303, address)
    assert "not yet in the catalogue" in words(anna.get(address))
    event = eventually(lambda: [e for e in heard if isinstance(e.data, DatasetDescribed)])[0]
    assert [(p.name, p.value, p.units) for p in event.data.parameters] == [
        ("run", "0012", ""), ("code", "7", ""), ("energy", 9.5, "keV"), ("sample", "LaB6", ""),
    ]  # fmt: skip
    done = DatasetAnnotated(upload_id=event.data.upload_id, dataset_id="1", word=event.id, said=event.time)
    facility.say(done)
    eventually(lambda: "not yet" not in words(anna.get(address, headers=HTMX)))
    assert 'hx-trigger="every' not in anna.get(address).text


def test_a_form_that_is_too_late_is_a_notice_and_changes_nothing(scene: Any, anna: Any) -> None:
    """Another tab was quicker; what was typed stays on the screen, because the notice goes elsewhere."""
    address = wished(scene, anna)
    old = hidden(anna.get(f"{address}?edit=true"), "based_on")
    anna.post(address, data={"description": "quick", "based_on": old})
    late = anna.post(address, data={"description": "late", "based_on": old}, headers=HTMX)
    assert (late.status_code, late.headers["hx-retarget"]) == (409, "#notice")
    assert "quick" in words(anna.get(address))


@pytest.mark.attack("S8")
def test_others_neither_see_nor_change_a_description(facility: Any, scene: Any, anna: Any) -> None:
    """The upload does not exist for them; staff of the beamline may."""
    address = wished(scene, anna, dataset={"name": "s", "description": "ours"})
    stranger, staff = facility.client("bruno"), facility.client("stella")
    assert stranger.get(address).status_code == 404
    assert stranger.post(address, data={"description": "mine"}).status_code == 404
    assert "ours" in words(anna.get(address))
    assert staff.post(address, data={"description": "better"}).status_code == 303
    assert "better" in words(anna.get(address))


@pytest.mark.attack("S22")
def test_what_people_write_is_text(facility: Any, scene: Any, anna: Any) -> None:
    """Markup stays letters in every place."""
    evil = summary("100", title=EVIL, description=EVIL, principal_investigator=EVIL, beamline=EVIL, reason=EVIL)
    closed = evil.model_copy(update={"id": "2", "open": False})
    facility.catalogue.investigations = Investigations(items=(evil, closed, summary("3")))  # one is at the beamline
    asked = {"name": "s", "description": EVIL, "parameters": [{"name": EVIL, "value": EVIL, "units": EVIL}]}
    address = wished(scene, anna, dataset=asked)
    for place in ("/investigations", "/investigations/100", "/investigations/2", address, f"{address}?edit=true"):
        text = anna.get(place).text
        assert "<img src=x" not in text
        assert EVIL in html.unescape(text)
