"""The page on which an upload is put together: without scripts, and the parts of it that htmx asks for."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from datauploader.contracts import Parameter
from datauploader.contracts import Station as Address
from datauploader.contracts.model import Question
from datauploader.contracts.previews import (
    DestinationContent,
    FoundValue,
    FoundValues,
    HeldObject,
    LeftOutGroup,
    Overlap,
    Preview,
)
from datauploader.contracts.questions import Folder, FolderEntry, ListFolder, LookAtDestination, PreviewUpload
from datauploader_gateway.features.new_upload.drafting import further
from datauploader_testing.waiting import eventually

HTMX = {"HX-Request": "true"}
MARKUP = "<img src=x onerror=alert(1)>"
SCHEMA = {
    "type": "object",
    "required": ["sample"],
    "properties": {
        "sample": {"type": "string", "title": "Sample"},
        "energy": {"type": "number", "title": "Energy", "units": "keV", "maximum": 100},
        "cooled": {"type": "boolean"},
    },
}


class Station:
    """A station with many files, and its storage."""

    def __init__(self, facility: Any, scene: Any) -> None:
        self.asked: list[Question] = []
        self.before_values: Callable[[], None] = lambda: None
        self.seen = Preview(
            files=3, bytes=3_000_000, first=(MARKUP,), settling=1, settling_first=("a",), newest_mtime_ns=10**18,
            differing=2, differing_first=(MARKUP,),
            left_out=(LeftOutGroup(reason="excluded", detail="a pattern", count=2, examples=("x.tmp",)),),
        )  # fmt: skip
        facility.bus.answer("watcher", self.answer, station=scene.STATION)
        facility.bus.answer("transfer", self.answer, station=scene.STATION)

    def answer(self, question: Question) -> Any:
        """Answer as a station does."""
        self.asked.append(question)
        if isinstance(question, ListFolder):
            return self._listing(question)
        if isinstance(question, PreviewUpload):
            return self.seen
        if isinstance(question, LookAtDestination):
            foreign = (HeldObject(path="theirs.dat", size=1),)
            return DestinationContent(exists=True, objects=7, bytes=70, foreign=foreign)
        self.before_values()
        found = {"sample": "LaB6", "cooled": True, "title": "Thin films"}
        values = [FoundValue(parameter=Parameter(name=n, value=v), source="run.nxs") for n, v in found.items()]
        return FoundValues(values=tuple(values), files=1)

    @staticmethod
    def _listing(question: ListFolder) -> Folder:
        if not question.path:
            return Folder(path="", entries=(FolderEntry(name="/data", kind="folder"),), total=1)
        names = ("scan1", MARKUP, "odd\ufffd", "line\nend", "μέτρηση", "n" * 200)
        entries = tuple(FolderEntry(name=name, kind="folder", entries=3) for name in names)
        return Folder(path=question.path, entries=(*entries, FolderEntry(name="one.nxs", kind="file")), total=30_000)


@pytest.fixture
def place(open_facility: Any, scene: Any, tmp_path: Any) -> Any:
    """Return a facility that asks for metadata."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    facility = open_facility(metadata_schema=path)
    facility.station_answers = Station(facility, scene)
    return facility


def words(answer: httpx.Response) -> str:
    """Return what a reader sees of a page."""
    body = re.sub(r"<head>.*?</head>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(body).split())


def token(client: httpx.Client, query: str = "") -> str:
    """Open the page; return the name of its draft."""
    found = re.search(r'name="draft" value="([^"]+)"', client.get(f"/new{query}").text)
    assert found is not None
    return found[1]


def form(scene: Any, draft: str, **changes: Any) -> dict[str, Any]:
    """Return what a browser sends of a form that is filled in."""
    return {
        "draft": draft, "investigation": "100", "station": scene.STATION.key, "pick": ["folder:/data/scan1"],
        "paths": "", "include": "", "exclude": "*.tmp", "split": "one", "dataset": "", "description": "First.",
        "type": "raw", "mode": "batch", "remote": "archive", "m.sample": "LaB6", "m.energy": "8.5", **changes,
    }  # fmt: skip


def test_an_upload_is_put_together_reviewed_and_begun_without_scripts(place: Any, scene: Any) -> None:
    """Form, review, start: each leads to the next page, and the last one to the upload."""
    client = place.client("anna")
    draft = token(client)
    chosen = client.post("/new", data=form(scene, draft))
    assert (chosen.status_code, chosen.headers["location"]) == (303, f"/new/review?draft={draft}")
    said = words(client.get(chosen.headers["location"]))
    for part in (
        "Nothing has started yet",
        "scan1",
        "3.00 MB",
        "2 left out",
        "a pattern",
        "7 objects",
        "2 files conflict with a different file of the same name there",
    ):
        assert part in said
    assert client.get("/api/v1/uploads").json()["items"] == []
    begun = client.post("/new/start", data={"draft": draft})
    upload = client.get("/api/v1/uploads").json()["items"][0]
    assert (begun.status_code, begun.headers["location"]) == (303, f"/uploads/{upload['id']}")
    assert (upload["dataset"], upload["path"], upload["mode"]) == ("scan1", "/data/scan1", "batch")
    asked = next(one.request for one in place.station_answers.asked if isinstance(one, PreviewUpload))
    assert asked.dataset.parameters == (
        Parameter(name="sample", value="LaB6"), Parameter(name="energy", value=8.5, units="keV"),
    )  # fmt: skip
    audit = place.redis().xrange("datauploader:audit")
    assert any(b"upload requested" in value for _, entry in audit for value in entry.values())


def test_pressing_start_twice_begins_once(place: Any, scene: Any) -> None:
    """The second press leads to the same upload."""
    client = place.client("anna")
    draft = token(client)
    client.post("/new", data=form(scene, draft))
    places = {client.post("/new/start", data={"draft": draft}).headers["location"] for _ in range(2)}
    assert len(places) == 1
    assert len(client.get("/api/v1/uploads").json()["items"]) == 1


def test_each_ticked_folder_becomes_a_dataset(place: Any, scene: Any) -> None:
    """Named by the template; the page with all uploads follows."""
    client = place.client("anna")
    draft = token(client)
    picks = ["folder:/data/scan1", "folder:/data/scan2"]
    client.post("/new", data=form(scene, draft, pick=picks, split="each", dataset="night-{folder}"))
    assert "Start 2 uploads" in words(client.get(f"/new/review?draft={draft}"))
    assert client.post("/new/start", data={"draft": draft}).headers["location"] == "/"
    names = {upload["dataset"] for upload in client.get("/api/v1/uploads").json()["items"]}
    assert names == {"night-scan1", "night-scan2"}


def test_what_stops_half_way_goes_on_from_there(place: Any, scene: Any) -> None:
    """The page says how many have begun; the second press begins the others, and none twice."""
    client = place.client("anna")
    draft = token(client)
    client.post("/new", data=form(scene, draft, pick=["folder:/data/scan1", "folder:/data/scan2"], split="each"))
    place.catalogue.patience = 1
    stopped = client.post("/new/start", data={"draft": draft})
    assert (stopped.status_code, "1 of 2 uploads have started" in words(stopped)) == (403, True)
    place.catalogue.patience = None
    assert client.post("/new/start", data={"draft": draft}).status_code == 303
    names = [upload["dataset"] for upload in client.get("/api/v1/uploads").json()["items"]]
    assert sorted(names) == ["scan1", "scan2"]


def test_everything_that_was_chosen_survives_going_back(place: Any, scene: Any) -> None:
    """Every field, after a reload, at another computer, and after the gateway was started again."""
    client = place.client("anna")
    draft = token(client)
    client.post(
        "/new/found",
        data=form(
            scene, draft, paths="/data/more", include="*.h5", split="each", dataset="x{folder}", type="processed"
        ),
        headers=HTMX,
    )
    again = place.client("anna").get(f"/new?draft={draft}").text
    for part in (
        'value="folder:/data/scan1"', ">/data/more</textarea>", 'value="*.h5"', 'value="*.tmp"', 'value="x{folder}"',
        ">First.</textarea>", 'value="processed"', 'value="LaB6"', 'value="8.5"', 'value="each" checked',
        'value="batch" checked', f'value="{scene.STATION.key}" selected', 'value="100" selected',
    ):  # fmt: skip
        assert part in again, part


def test_what_is_missing_is_said_where_it_is_missing(place: Any, scene: Any) -> None:
    """The page comes again with what was typed, a sentence, and the field's own words."""
    client = place.client("anna")
    draft = token(client)
    answer = client.post("/new", data=form(scene, draft, **{"m.sample": "", "m.energy": "8,5"}))
    assert answer.status_code == 422
    assert "This is required." in words(answer)
    assert "This is not a number; write it like 8.5." in words(answer)
    assert 'value="8,5"' in answer.text
    nothing = client.post("/new", data=form(scene, draft, pick=[]))
    assert (nothing.status_code, "No file or folder is selected." in words(nothing)) == (422, True)
    assert client.post("/new/start", data={"draft": draft}).status_code == 422


def test_the_preview_follows_what_is_typed(place: Any, scene: Any) -> None:
    """Numbers, left-outs, what the station refuses; metadata that are still missing disturb nothing."""
    client = place.client("anna")
    draft = token(client)
    part = client.post("/new/found", data=form(scene, draft, **{"m.sample": ""}), headers=HTMX)
    assert part.status_code == 200
    assert "<html" not in part.text
    assert "scan1 : 3 files, 3.00 MB, 1 of them still being written." in words(part)
    asked = [one for one in place.station_answers.asked if isinstance(one, PreviewUpload)]
    assert asked[-1].request.exclude == ("*.tmp",)
    assert not [one for one in place.station_answers.asked if isinstance(one, LookAtDestination)]
    refused = client.post("/new/found", data=form(scene, draft, investigation="999"), headers=HTMX)
    assert "user 7 is not on proposal 999" in words(refused).lower()


def test_what_the_station_need_not_know_is_kept_without_asking_it(place: Any, scene: Any) -> None:
    """A description is typed at leisure."""
    client = place.client("anna")
    draft = token(client)
    assert client.post("/new/keep", data=form(scene, draft, description="Second."), headers=HTMX).status_code == 204
    assert ">Second.</textarea>" in client.get(f"/new?draft={draft}").text
    assert place.station_answers.asked == []


def test_what_was_ticked_on_another_station_is_dropped(place: Any, scene: Any) -> None:
    """Its paths mean nothing on this one."""
    client = place.client("anna")
    draft = token(client)
    client.post("/new/found", data=form(scene, draft), headers=HTMX)
    part = client.post("/new/found", data=form(scene, draft, station=scene.OTHER.key), headers=HTMX)
    assert "/data/scan1" not in part.text


def test_values_from_files_are_filled_in_and_marked(place: Any, scene: Any) -> None:
    """Where nobody has typed anything; what the facility does not ask for is left aside."""
    client = place.client("anna")
    draft = token(client)
    part = client.post("/new/values", data=form(scene, draft, **{"m.sample": "", "m.cooled": ""}), headers=HTMX)
    assert 'value="LaB6"' in part.text
    assert 'value="true" selected' in part.text
    assert words(part).count("from file run.nxs") == 2
    assert "Thin films" not in part.text
    typed = client.post("/new/values", data=form(scene, draft, **{"m.sample": "Mine"}), headers=HTMX)
    assert 'value="Mine"' in typed.text
    assert 'value="LaB6"' not in typed.text


def test_what_is_typed_while_the_files_are_read_stays(place: Any, scene: Any) -> None:
    """The answer about the files fills in what is empty then, and takes nothing back that was typed meanwhile."""
    client, other = place.client("anna"), place.client("anna")
    draft = token(client)
    page = {"page": "p1", "m.sample": "", "m.energy": "", "m.cooled": ""}
    client.post("/new/keep", data=form(scene, draft, **page, edit="1", touched=["pick"]))

    def meanwhile() -> None:
        typed = page | {"m.sample": "Lysozyme 7", "m.energy": "12.4"}
        other.post("/new/keep", data=form(scene, draft, **typed, edit="12", touched=["pick", "m.sample", "m.energy"]))

    place.station_answers.before_values = meanwhile
    client.post("/new/values", data=form(scene, draft, **page, edit="1", touched=["pick"]), headers=HTMX)
    page_now = client.get(f"/new?draft={draft}").text
    assert 'value="Lysozyme 7"' in page_now
    assert 'value="12.4"' in page_now
    assert 'value="true" selected' in page_now, "what nobody has typed comes from the file"


def test_a_late_request_takes_nothing_back(place: Any, scene: Any) -> None:
    """An earlier state of the form that arrives after *Review* changes nothing of what is looked at and begun."""
    client = place.client("anna")
    draft = token(client)
    whole = form(scene, draft, page="p1", edit="9", touched=["m.sample"], **{"m.sample": "Lysozyme 7"})
    assert client.post("/new", data=whole).status_code == 303
    review = client.get(f"/new/review?draft={draft}")
    for path in ("/new/keep", "/new/found", "/new/values"):
        late = form(scene, draft, page="p1", edit="7", touched=["m.sample"], **{"m.sample": "Lysozym"})
        client.post(path, data=late, headers=HTMX)
    assert client.get(f"/new/review?draft={draft}").text == review.text
    seen = re.search(r'name="seen" value="(\w+)"', review.text)[1]
    begun = client.post("/new/start", data={"draft": draft, "seen": seen})
    shown = client.get(f"{begun.headers['location']}/dataset/description").text
    assert "Lysozyme 7" in shown


def test_a_change_after_the_start_is_checked_as_the_request_was(place: Any, scene: Any) -> None:
    """By the page, whose form has the same fields, and by REST: nothing wrong, nothing missing gets in."""
    client = place.client("anna")
    draft = token(client)
    client.post("/new", data=form(scene, draft))
    page = client.post("/new/start", data={"draft": draft}).headers["location"]
    address = f"{page}/dataset/description"
    shown = client.get(f"{address}?edit=true").text
    assert 'name="m.energy" value="8.5"' in shown
    assert '<select id="d-3" name="m.cooled"' in shown
    for typed, words_ in (
        ({"m.energy": "999"}, "maximum"),
        ({"m.sample": ""}, "required"),
        ({"m.energy": "x"}, "number"),
    ):
        answer = client.post(address, data={"m.sample": "LaB6", "m.energy": "8.5", **typed})
        assert (answer.status_code, words_ in answer.text) == (422, True), typed
    for wrong in ({"name": "energy", "value": 999}, {"name": "sample", "value": ""}):
        rest = client.patch(f"/api/v1{page}/dataset", json={"parameters": [wrong]})
        assert rest.status_code == 422, rest.text
    assert client.patch(f"/api/v1{page}/dataset", json={"description": "Only this."}).status_code == 202
    right = {"m.sample": "CeO2", "m.energy": "12.5", "m.cooled": "true", "name": "mine", "value": "1", "units": ""}
    word = client.get(f"/api/v1{page}/dataset").json()["word"]
    assert client.post(address, data=right | {"based_on": word}).status_code == 303
    said = client.get(f"/api/v1{page}/dataset").json()["parameters"]
    assert {one["name"]: one["value"] for one in said} == {"sample": "CeO2", "energy": 12.5, "cooled": True, "mine": 1}
    assert next(one for one in said if one["name"] == "energy")["units"] == "keV"


def test_only_what_was_reviewed_is_begun(place: Any, scene: Any) -> None:
    """Another window has changed the draft since: nothing begins, and the page says so."""
    client = place.client("anna")
    draft = token(client)
    client.post("/new", data=form(scene, draft))
    seen = re.search(r'name="seen" value="(\w+)"', client.get(f"/new/review?draft={draft}").text)[1]
    client.post("/new/keep", data=form(scene, draft, description="Another."))
    refused = client.post("/new/start", data={"draft": draft, "seen": seen})
    assert refused.status_code == 422
    assert "was changed after this review" in refused.text
    assert client.get("/api/v1/uploads").json()["items"] == []


def test_folders_are_shown_page_by_page(place: Any, scene: Any) -> None:
    """Roots first; ticks are remembered; a name that cannot be written cannot be ticked alone."""
    client = place.client("anna")
    draft = token(client)
    client.post("/new/found", data=form(scene, draft), headers=HTMX)
    query = {"station": scene.STATION.key, "draft": draft}
    assert 'value="folder:/data"' in client.get("/new/folder", params=query, headers=HTMX).text
    part = client.get("/new/folder", params=query | {"path": "/data"}, headers=HTMX).text
    assert re.search(r'value="folder:/data/scan1"[^>]* checked', part)
    assert re.search(r'value="folder:/data/odd\ufffd"[^>]* disabled', part)
    assert re.search(r'value="folder:/data/line\nend"[^>]* disabled', part)
    assert 'value="file:/data/one.nxs"' in part
    assert "Show 200 more of 30,000" in part
    client.get("/new/folder", params=query | {"path": "/data", "contains": "scan", "offset": 200}, headers=HTMX)
    asked = [one for one in place.station_answers.asked if isinstance(one, ListFolder)][-1]
    assert (asked.contains, asked.offset, asked.counts) == ("scan", 200, True)
    assert client.get("/new/folder", headers=HTMX).status_code == 200


@pytest.mark.attack("S8")
def test_nobody_sees_or_begins_what_another_has_put_together(place: Any, scene: Any) -> None:
    """A draft belongs to its person, whoever knows its name."""
    client = place.client("anna")
    draft = token(client)
    client.post("/new", data=form(scene, draft))
    other = place.client("bruno")
    assert "First." not in other.get(f"/new?draft={draft}").text
    assert other.get(f"/new/review?draft={draft}").status_code == 404
    assert other.post("/new/start", data={"draft": draft}).status_code == 404
    for method, address in (("get", "/new"), ("get", f"/new/review?draft={draft}"), ("post", "/new/start")):
        assert getattr(place.client(), method)(address).headers["location"].startswith("/sign-in?next=/")


@pytest.mark.attack("S8")
def test_another_persons_upload_of_the_same_files_is_told_without_a_link(place: Any, scene: Any) -> None:
    """Its owner gets one."""
    theirs = place.client("bruno").post("/api/v1/uploads", json=scene.wish(kind="folder", dataset=DATASET)).json()["id"]
    overlap = Overlap(upload_id=theirs, requested_by="8", files=2)
    place.station_answers.seen = place.station_answers.seen.model_copy(update={"overlaps": (overlap,)})
    for who, linked in (("anna", False), ("bruno", True)):
        client = place.client(who)
        draft = token(client)
        client.post("/new", data=form(scene, draft))
        page = client.get(f"/new/review?draft={draft}")
        assert ("another person's upload" in words(page), f"/uploads/{theirs}" in page.text) == (not linked, linked)


DATASET = {"name": "theirs", "parameters": [{"name": "sample", "value": "LaB6"}]}


@pytest.mark.attack("S10")
def test_another_sites_form_begins_nothing(place: Any, scene: Any) -> None:
    """Refused by its origin."""
    client = place.client("anna")
    draft = token(client)
    client.post("/new", data=form(scene, draft))
    answer = client.post("/new/start", data={"draft": draft}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert client.get("/api/v1/uploads").json()["items"] == []


@pytest.mark.attack("S22")
def test_names_from_the_disk_are_text(place: Any, scene: Any) -> None:
    """In the tree, in what was chosen, in the review."""
    client = place.client("anna")
    draft = token(client)
    query = {"station": scene.STATION.key, "draft": draft, "path": f"/data/\"'{MARKUP}"}
    picks = [f"folder:/data/{MARKUP}"]
    pages = [
        client.get("/new/folder", params=query, headers=HTMX),
        client.post("/new/found", data=form(scene, draft, pick=picks, dataset="x"), headers=HTMX),
        client.get(f"/new/review?draft={draft}"),
        client.get(f"/new?draft={draft}"),
    ]
    for page in pages:
        assert page.status_code == 200
        assert "<img src=x" not in page.text


@pytest.mark.attack("S24")
@pytest.mark.parametrize(
    "changes",
    [
        {"draft": "x"}, {"draft": ""}, {"draft": "../" * 9}, {"dataset": "x" * 401}, {"mode": "often"},
        {"pick": [f"folder:/{n}" for n in range(1001)]}, {"description": "x" * 4001}, {"m.sample": "x" * 4001},
    ],
    ids=str,
)  # fmt: skip
def test_a_form_that_no_page_sent_is_a_problem(place: Any, scene: Any, changes: dict[str, Any]) -> None:
    """Said in words, nothing kept."""
    client = place.client("anna")
    draft = token(client)
    answer = client.post("/new/found", data=form(scene, draft) | changes, headers=HTMX)
    assert (answer.status_code, answer.headers["hx-retarget"]) == (422, "#notice")


@pytest.mark.attack("S24")
def test_a_person_keeps_so_many_drafts(place: Any, scene: Any) -> None:
    """The oldest are forgotten."""
    client = place.client("anna")
    drafts = [token(client) for _ in range(22)]
    for draft in drafts:
        client.post("/new/found", data=form(scene, draft), headers=HTMX)
    kept = [client.get(f"/new/review?draft={draft}").status_code for draft in (drafts[0], drafts[1], drafts[-1])]
    assert kept == [404, 404, 200]


def test_deleting_is_offered_only_where_the_facility_does(place: Any, scene: Any) -> None:
    """A form that asks for it all the same is not listened to."""
    client = place.client("anna")
    draft = token(client)
    assert "delete_after" not in client.get("/new").text
    client.post("/new", data=form(scene, draft, delete_after="on"))
    client.get(f"/new/review?draft={draft}")
    asked = [one for one in place.station_answers.asked if isinstance(one, PreviewUpload)]
    assert not asked[-1].request.delete_after


def test_the_form_begins_with_what_was_used_last(place: Any, scene: Any) -> None:
    """Station and investigation; a link from an investigation's page is stronger."""
    client = place.client("anna")
    assert f'value="{scene.STATION.key}" selected' not in client.get("/new").text
    body = scene.wish(kind="folder", dataset=DATASET)
    client.post("/api/v1/uploads", json=body)
    eventually(lambda: f'value="{scene.STATION.key}" selected' in client.get("/new").text, what="the last station")
    assert 'value="100" selected' in client.get("/new").text
    assert 'value="200" selected' in client.get("/new?investigation=200").text


def test_without_the_catalogue_the_form_says_so(place: Any) -> None:
    """And shows what it can."""
    client = place.client("anna")
    place.broker.answerers.pop("catalog.questions")
    said = words(client.get("/new"))
    assert "The catalogue does not answer" in said


def test_a_station_that_is_silent_shows_no_other_stations_folders(place: Any, scene: Any) -> None:
    """Why, in the place of the folders, with a button to try again; htmx is not sent elsewhere."""
    client = place.client("anna")
    place.broker.answerers.pop(f"watcher.questions.{scene.STATION.key}")
    answer = client.get("/new/folder", params={"station": scene.STATION.key}, headers=HTMX)
    assert (answer.status_code, "hx-retarget" in answer.headers) == (504, False)
    assert "Retry" in words(answer)
    assert "/data" not in answer.text


def test_an_address_at_which_no_watcher_was_ever_heard_is_no_choice(place: Any, scene: Any) -> None:
    """A transfer alone, or the gateway itself, reports as a station does; nobody there could list folders."""
    client, mover = place.client("anna"), Address(facility="elettra", beamline="xrd1", station="ws09")
    place.say(scene.report("transfer"), mover)
    listed = eventually(
        lambda: [s for s in client.get("/api/v1/stations").json()["items"] if s["station"] == mover.key], what="it"
    )
    assert listed[0]["has_watcher"] is False
    form_shown = client.get(f"/new?station={mover.key}").text
    assert re.findall(r'<option value="(elettra[^"]*)"', form_shown) == [scene.STATION.key, scene.OTHER.key]
    assert mover.key not in place.client("otto").get("/history").text
    place.say(scene.report(), mover)
    eventually(lambda: f'value="{mover.key}" selected' in client.get(f"/new?station={mover.key}").text, what="a choice")


def test_a_station_that_is_silent_is_offered_as_such_with_what_to_do(place: Any, scene: Any) -> None:
    """Before its folders are asked for in vain."""
    client = place.client("anna")
    said = words(client.get("/new"))
    assert f"{scene.STATION.key} (not responding)" in said
    assert "Check that it is switched on and that its watcher is running" in said
    for station in (scene.STATION, scene.OTHER):
        place.say(scene.report(), station)
    eventually(lambda: "not responding" not in words(client.get("/new")), what="both speak")


@pytest.mark.fault("F56")
def test_what_came_later_is_uploaded_from_a_form_that_is_filled_in(place: Any, scene: Any) -> None:
    """The folder, its patterns and a further name; what the earlier upload has is left out by the station."""
    client = place.client("anna")
    draft = token(client)
    client.post("/new", data=form(scene, draft))
    client.post("/new/start", data={"draft": draft})
    earlier = client.get("/api/v1/uploads").json()["items"][0]["id"]
    first = client.get(f"/new?from={earlier}")
    assert first.status_code == 303
    shown = client.get(first.headers["location"])
    assert "have not changed since are left out" in words(shown)
    assert 'value="scan1 (2)"' in shown.text
    sent = form(scene, first.headers["location"].rpartition("=")[2], pick=[], paths="/data/scan1", dataset="scan1 (2)")
    client.post("/new", data=sent)
    client.get(f"/new/review?draft={sent['draft']}")
    asked = {one.request.without for one in place.station_answers.asked if isinstance(one, PreviewUpload)}
    assert asked == {(earlier,)}
    client.post("/new/start", data={"draft": sent["draft"]})
    newest = client.get("/api/v1/uploads").json()["items"][0]
    assert (newest["dataset"], newest["path"]) == ("scan1 (2)", "/data/scan1")
    assert client.get("/new?from=nobodys-upload").status_code == 404


def test_a_further_name_counts_on() -> None:
    """`run (2)` is followed by `run (3)`."""
    assert [further(name) for name in ("run", "run (2)", "run (x)")] == ["run (2)", "run (3)", "run (x) (2)"]
