"""The history: searched over REST and on its page; nobody finds what is another's, and pages have everything once."""

import html
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datauploader.contracts import DatasetSpec, Destination, Event, Person, Station, UploadRequested
from datauploader_testing.waiting import eventually


def fill(facility: Any, number: int = 30) -> None:
    """Let uploads of three people at two stations happen on three days."""
    began = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for n in range(number):
        person = (Person(id="7", name="Anna Rossi"), Person(id="8", name="Bruno"), Person(id="9", name="Éva"))[n % 3]
        data = UploadRequested(
            upload_id=f"u-history-{n:03d}", investigation=str(100 + n % 2),
            dataset=DatasetSpec(name=f"Scan {n:03d} δείγμα"),
            root=f"/data/visit{n % 5}", mode="sync", requested_by=person,
            destination=Destination(remote="archive", location=f"100/scan{n}"),
        )  # fmt: skip
        station = Station(facility="elettra", beamline=f"xrd{1 + n % 2}", station="ws01")
        time = began + timedelta(days=n % 3, minutes=n // 6)  # several of one moment
        facility.bus.publish(Event(data=data, station=station, service="gateway", time=time)).result(60)
    otto = facility.client("otto")
    eventually(lambda: len(otto.get("/api/v1/uploads?limit=500").json()["items"]) == number)


def names(client: Any, **asked: Any) -> set[int]:
    """Return the numbers of the uploads that are found."""
    answer = client.get("/api/v1/uploads", params={"limit": 500, **asked})
    assert answer.status_code == 200, answer.text
    return {int(item["id"][-3:]) for item in answer.json()["items"]}


def test_what_one_looks_for_is_found(facility: Any) -> None:
    """By words of any case in dataset, investigation, folder and person; by station, state and time."""
    fill(facility)
    otto = facility.client("otto")
    everything = set(range(30))
    assert names(otto, text="ΔΕΊΓΜΑ") == everything
    assert names(otto, text="SCAN  014 ") == {14}
    assert names(otto, text=unicodedata.normalize("NFD", "δείγμα")) == everything, "an accent is written in two ways"
    assert names(otto, text="rossi visit1") == {n for n in everything if n % 3 == 0 and n % 5 == 1}
    assert names(otto, text="éva", station="elettra.xrd2.ws01") == {n for n in everything if n % 3 == 2 and n % 2}
    assert names(otto, since="2026-03-02T00:00:00Z", until="2026-03-03T00:00:00") == {
        n for n in everything if n % 3 == 1
    }
    assert names(otto, state="requested", investigation="101") == {n for n in everything if n % 2}
    assert names(otto, state="completed") == names(otto, text="nowhere") == set()


@pytest.mark.attack("S8")
def test_nobody_finds_what_is_anothers(facility: Any) -> None:
    """A user their own, staff their beamline's as well, whatever they look for."""
    fill(facility)
    mine = {n for n in range(30) if n % 3 == 0}
    assert names(facility.client("anna")) == names(facility.client("anna"), text="scan") == mine
    assert names(facility.client("anna"), text="bruno") == set()
    assert names(facility.client("stella"), text="scan") == {n for n in range(30) if n % 2 == 0}
    page = facility.client("bruno").get("/history?text=rossi").text
    assert "No uploads found." in page
    assert "u-history-000" not in page


@pytest.mark.parametrize("path", ["/api/v1/uploads", "/history"])
def test_pages_have_everything_once_however_many_are_of_one_moment(facility: Any, path: str) -> None:
    """In the same order as the whole list."""
    fill(facility, 80)
    otto = facility.client("otto")
    whole = [item["id"] for item in otto.get("/api/v1/uploads?limit=500").json()["items"]]
    seen: list[str] = []
    if path == "/history":
        address: str | None = path
        while address:
            text = otto.get(address).text
            seen += re.findall(r'href="/uploads/(u-history-\d+)"', text)
            found = re.search(r'href="(/history\?[^"]*after=[^"]+)"', text)
            address = html.unescape(found[1]) if found else None
    else:
        after: str | None = ""
        while after is not None:
            answer = otto.get(path, params={"limit": 7, "after": after}).json()
            seen += [item["id"] for item in answer["items"]]
            after = answer["next"]
    assert seen == whole
    assert len(set(seen)) == 80


def test_the_page_keeps_what_was_asked_and_htmx_gets_the_list_alone(facility: Any) -> None:
    """The form is filled in; days are days in UTC, the last one included."""
    fill(facility)
    otto = facility.client("otto")
    asked = {"text": "scan <b>", "state": "requested", "since": "2026-03-02", "until": "2026-03-02"}
    page = otto.get("/history", params=asked).text
    assert 'value="scan &lt;b&gt;"' in page
    assert 'value="2026-03-02"' in page
    part = otto.get("/history", params=asked | {"text": "scan"}, headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert part.count("/receipt") == 10
    assert otto.get("/history?since=yesterday").status_code == 422
    assert otto.get("/history?until=9999-12-31&since=0001-01-01").status_code == 200
    assert facility.client().get("/history?text=x").headers["location"] == "/sign-in?next=/history%3Ftext%3Dx"
