"""Whose files they are: what people are shown of a station, and what they may have uploaded or removed there."""

from typing import Any

import pytest

from datauploader.contracts.model import Question
from datauploader.contracts.questions import (
    Folder,
    FolderEntry,
    Investigations,
    InvestigationSummary,
    ListFolder,
    ListInvestigations,
)

pytestmark = pytest.mark.attack("S8")
FOLDERS = "/api/v1/stations/elettra.xrd1.ws01/folders"
OWNERS = {"elettra.xrd1": ("/data/{investigation}/**",)}


def give(facility: Any, *beamlines: str, **more: Any) -> None:
    """Give the asking person an investigation at each of these beamlines."""
    items = tuple(
        InvestigationSummary(id=str(100 * number), beamline=name, **more) for number, name in enumerate(beamlines, 1)
    )
    facility.catalogue.investigations = Investigations(items=items)


def disk(facility: Any, station: Any) -> None:
    """Let a station hold folders of three investigations, and a file beside them."""

    def answer(question: Question) -> Folder:
        assert isinstance(question, ListFolder)
        entries = {
            "": [FolderEntry(name="/data", kind="folder"), FolderEntry(name="/scratch", kind="folder")],
            "/data": [
                *(FolderEntry(name=name, kind="folder") for name in ("100", "200", "300")),
                FolderEntry(name="notes.txt", kind="file"),
            ],
        }.get(question.path, [FolderEntry(name="run1", kind="folder")])
        return Folder(path=question.path, entries=tuple(entries), total=len(entries))

    facility.bus.answer("watcher", answer, station=station)


def everything_of(client: Any, scene: Any) -> dict[str, int]:
    """Try what shows or takes something of the station."""
    wish = scene.wish(kind="folder")
    answers = {
        "folders": client.get(FOLDERS),
        "page": client.get("/new/folder?station=elettra.xrd1.ws01"),
        "preview": client.post("/api/v1/uploads/preview", json=wish),
        "values": client.post("/api/v1/uploads/values", json=wish),
        "upload": client.post("/api/v1/uploads", json=wish),
    }
    return {name: answer.status_code for name, answer in answers.items()}


@pytest.mark.parametrize(
    ("beamline", "known"),
    [("XRD1", {}), ("xrd 1", {}), ("", {}), ("11.1R", {"11.1R": "elettra.xrd1"})],
    ids=["as it is", "spelt otherwise", "not told", "under another name"],
)
def test_who_has_an_open_investigation_at_the_beamline_may_upload_there(
    open_facility: Any, scene: Any, beamline: str, known: dict[str, str]
) -> None:
    """By the catalogue's word, in whatever spelling; the catalogue is asked once for several looks."""
    facility = open_facility(beamlines=known)
    give(facility, beamline)
    anna = facility.client("anna")
    assert anna.get(FOLDERS).status_code == anna.get(FOLDERS).status_code == 200
    assert anna.post("/api/v1/uploads", json=scene.wish(kind="folder")).status_code == 201
    assert sum(isinstance(one, ListInvestigations) for one in facility.catalogue.asked) == 1


@pytest.mark.parametrize(
    ("beamline", "more"),
    [("SAXS", {}), ("XRD1", {"open": False}), ("11.1R", {})],
    ids=["elsewhere", "closed", "unknown name"],
)
def test_nobody_else_is_shown_anything_of_it_or_uploads_it(
    facility: Any, scene: Any, beamline: str, more: dict[str, Any]
) -> None:
    """Not the folders, not the counts, not the disks; an investigation elsewhere is no right here."""
    give(facility, beamline, **more)
    facility.say(scene.report(roots=[{"path": "/data", "present": True}], troubles=["/data/secret cannot be read"]))
    anna = facility.client("anna")
    assert set(everything_of(anna, scene).values()) == {403}
    assert "no open investigation at xrd1" in anna.get(FOLDERS).json()["detail"]
    told = str(anna.get("/api/v1/stations").json())
    assert "elettra.xrd1.ws01" in told
    assert "/data" not in told
    assert facility.client("otto").get("/api/v1/uploads").json()["items"] == []


@pytest.mark.parametrize(("name", "status"), [("stella", 200), ("otto", 200), ("anna", 403)])
def test_staff_of_the_beamline_and_operators_see_all_of_it(
    open_facility: Any, scene: Any, name: str, status: int
) -> None:
    """Whatever investigations they have, and whosever folders they are."""
    facility = open_facility(folder_owners=OWNERS)
    disk(facility, scene.STATION)
    give(facility, "SAXS")
    answer = facility.client(name).get(FOLDERS, params={"path": "/data/300"})
    assert answer.status_code == status


def test_a_facility_may_let_everybody_upload_everywhere(open_facility: Any, scene: Any) -> None:
    """As one computer for everybody is."""
    facility = open_facility(stations_for="everybody")
    give(facility, "SAXS")
    anna = facility.client("anna")
    assert anna.get(FOLDERS).status_code == 200
    assert anna.post("/api/v1/uploads", json=scene.wish(kind="folder")).status_code == 201


def test_while_the_catalogue_is_away_nobody_is_shown_what_may_not_be_theirs(facility: Any, scene: Any) -> None:
    """It fails closed, and says why."""
    facility.broker.answerers.pop("catalog", None)
    facility.broker.answerers.clear()
    answer = facility.client("anna").get(FOLDERS)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (503, "catalogue-away")


def test_where_folders_have_owners_people_are_shown_their_own_and_the_way_to_them(
    open_facility: Any, scene: Any
) -> None:
    """Names of other investigations and what lies beside them are left out; page by page."""
    facility = open_facility(folder_owners=OWNERS)
    disk(facility, scene.STATION)
    give(facility, "XRD1", "SAXS")
    anna = facility.client("anna")

    def names(path: str, **more: Any) -> list[str]:
        return [entry["name"] for entry in anna.get(FOLDERS, params={"path": path, **more}).json()["entries"]]

    assert names("") == ["/data"]
    assert names("/data") == ["100", "200"]
    assert (names("/data", offset=1), names("/data", limit=1)) == (["200"], ["100"])
    assert names("/data/100") == ["run1"]
    assert anna.get(FOLDERS, params={"path": "/data/300"}).status_code == 403


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"path": "/data/100/run1"}, 201),
        ({"path": "/data/300/run1"}, 403),
        ({"path": "/data"}, 403),
        ({"path": "/data", "sources": ["100/run1", "200"]}, 201),
        ({"path": "/data", "sources": ["100/run1", "300"]}, 403),
        ({"path": "/data/100/../300"}, 422),
    ],
)
def test_of_folders_with_owners_only_ones_own_are_uploaded(
    open_facility: Any, scene: Any, asked: dict[str, Any], status: int
) -> None:
    """All of what is chosen must be theirs; a folder above them is not."""
    facility = open_facility(folder_owners=OWNERS)
    disk(facility, scene.STATION)
    give(facility, "XRD1", "XRD1")
    answer = facility.client("anna").post("/api/v1/uploads", json=scene.wish(kind="folder", **asked))
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(("offered", "status"), [(False, 403), (True, 201)])
def test_local_copies_are_removed_only_where_the_facility_offers_that(
    open_facility: Any, scene: Any, offered: bool, status: int
) -> None:
    """Over REST as on the page."""
    facility = open_facility(offer_delete_after=offered)
    answer = facility.client("anna").post("/api/v1/uploads", json=scene.wish(kind="folder", delete_after=True))
    assert answer.status_code == status
