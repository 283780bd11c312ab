"""Whose dataset it is, is asked before anything is begun: over REST, in the dry run and on the page."""

from typing import Any

import pytest

from datauploader.contracts import UploadCancelled, UploadOpened, UploadRequested
from datauploader.contracts.model import Question
from datauploader.contracts.previews import DestinationContent, Preview
from datauploader.contracts.questions import DatasetHolder, DatasetState, LookAtDestination, PreviewUpload
from datauploader.errors import QuestionRefused
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.fault("F47")


def held(reason: str, *, person: str = "7", state: str = "open", upload: str = "u-earlier-1") -> DatasetState:
    """What the catalog says of a dataset that is not free."""
    holder = DatasetHolder(upload_id=upload, person=person, station="elettra.xrd1.ws01", state=state)
    return DatasetState(
        free=False, reason=reason, detail=f"It is so: {reason}.", exists=True, held_by=holder,
        may_continue=(upload,) if reason == "dataset-continues" else (), suggestion="scan1 (2)",
    )  # fmt: skip


TAKEN = [
    (held("dataset-complete"), "u-earlier-1"),
    (held("dataset-complete", person="8"), ""),
    (held("dataset-in-use", person="8"), ""),
    (held("dataset-open"), "u-earlier-1"),
    (held("dataset-continues", state="cancelled"), "u-earlier-1"),
]


def begun(facility: Any) -> list[UploadRequested]:
    """Return what was asked of stations."""
    return [event.data for event in facility.requests]


@pytest.fixture
def place(facility: Any, scene: Any) -> Any:
    """A facility whose station and storage answer; `requests` are the events that were said."""
    facility.asked, facility.requests = [], []

    def answer(question: Question) -> Any:
        facility.asked.append(question)
        if isinstance(question, PreviewUpload):
            return Preview(files=1, bytes=10)
        assert isinstance(question, LookAtDestination)
        return DestinationContent(exists=True, objects=1, bytes=10)

    facility.bus.answer("watcher", answer, station=scene.STATION)
    facility.bus.answer("transfer", answer, station=scene.STATION)

    def hear(delivery: Any) -> None:
        if isinstance(delivery.event.data, UploadRequested):
            facility.requests.append(delivery.event)

    facility.bus.consume(scene.watcher_queue(scene.STATION), hear)
    return facility


def body(scene: Any, **changes: Any) -> dict[str, Any]:
    """A wish that asks nobody for the kind of its path."""
    return scene.wish(kind="folder", **changes)


@pytest.mark.parametrize(("said", "upload"), TAKEN)
def test_a_dataset_that_is_taken_begins_nothing_and_says_what_to_do(
    place: Any, scene: Any, said: DatasetState, upload: str
) -> None:
    """The same problem in the dry run; a free name in the hint and as a field; another person's upload is not named."""
    place.catalogue.datasets["scan1"] = said
    client = place.client("anna")
    for path in ("/api/v1/uploads", "/api/v1/uploads/preview"):
        answer = client.post(path, json=body(scene))
        problem = answer.json()
        assert (answer.status_code, problem["type"].rpartition("/")[2]) == (409, said.reason)
        assert problem["detail"] == said.detail
        assert "such as “scan1 (2)”" in problem["hint"]
        assert (problem["suggestion"], problem["upload"]) == ("scan1 (2)", upload)
    assert not client.get("/api/v1/uploads").json()["items"]
    assert not place.asked
    other = client.post("/api/v1/uploads", json=body(scene, dataset={"name": "scan1 (2)"}))
    assert other.status_code == 201


def test_who_says_so_goes_on_with_their_own(place: Any, scene: Any) -> None:
    """The request names the earlier uploads, and so does the question to the storage; with others nobody goes on."""
    place.catalogue.datasets["scan1"] = held("dataset-continues", state="cancelled")
    client = place.client("anna")
    seen = client.post("/api/v1/uploads/preview", json=body(scene, continue_dataset=True)).json()
    assert seen["continues"] == ["u-earlier-1"]
    (asked,) = (question for question in place.asked if isinstance(question, LookAtDestination))
    assert asked.continues == ("u-earlier-1",)
    assert client.post("/api/v1/uploads", json=body(scene, continue_dataset=True)).status_code == 201
    eventually(lambda: begun(place), what="the request")
    assert begun(place)[0].continues == ("u-earlier-1",)
    for reason in ("dataset-complete", "dataset-in-use", "dataset-open"):
        place.catalogue.datasets["scan1"] = held(reason)
        assert client.post("/api/v1/uploads", json=body(scene, continue_dataset=True)).status_code == 409


def test_without_the_catalogs_word_nothing_begins(place: Any, scene: Any, monkeypatch: Any) -> None:
    """It is still reading the log, say: that is 503, as for the right to upload."""
    said = place.catalogue.__class__.__call__

    def away(catalogue: Any, question: Question) -> Any:
        if question.name == "catalog.look-at-dataset":
            raise QuestionRefused("unavailable", "still loading")
        return said(catalogue, question)

    monkeypatch.setattr(place.catalogue.__class__, "__call__", away)
    assert place.client("anna").post("/api/v1/uploads", json=body(scene)).status_code == 503


def test_an_upload_of_an_earlier_release_is_at_work_while_the_view_says_so(place: Any, scene: Any) -> None:
    """The catalog does not know whether it was cancelled; the gateway does."""
    client = place.client("anna")
    first = client.post("/api/v1/uploads", json=body(scene)).json()["id"]
    place.catalogue.datasets["scan1"] = held("dataset-continues", state="unknown", upload=first)
    place.say(UploadOpened(upload_id=first))
    assert client.post("/api/v1/uploads", json=body(scene)).json()["type"].endswith("/dataset-open")
    place.say(UploadCancelled(upload_id=first))
    eventually(lambda: client.get(f"/api/v1/uploads/{first}").json()["over"], what="it is cancelled")
    assert client.post("/api/v1/uploads", json=body(scene)).json()["type"].endswith("/dataset-continues")


def test_files_of_ones_own_earlier_uploads_can_be_left_out(place: Any, scene: Any) -> None:
    """Of this station, and of nobody else."""
    client, other = place.client("anna"), place.client("bruno")
    first = client.post("/api/v1/uploads", json=body(scene)).json()["id"]
    more = body(scene, dataset={"name": "scan1 (2)"}, without=[first])
    assert client.post("/api/v1/uploads", json=more).status_code == 201
    assert eventually(lambda: begun(place)[1:], what="the second request")[0].without == (first,)
    elsewhere = body(scene, dataset={"name": "x"}, without=[first], station=scene.OTHER.key)
    for who, asked in ((other, {**more, "dataset": {"name": "y"}}), (client, elsewhere)):
        answer = who.post("/api/v1/uploads", json=asked)
        assert (answer.status_code, first in answer.json()["detail"]) == (422, True)


def draft(client: Any, scene: Any, **changes: Any) -> str:
    """Put an upload together on the page; return the address of its review."""
    token = client.get("/new").text.split('name="draft" value="')[1].split('"')[0]
    form = {
        "draft": token, "investigation": "100", "station": scene.STATION.key, "pick": ["folder:/data/scan1"],
        "paths": "", "include": "", "exclude": "", "split": "one", "dataset": "scan1", "description": "",
        "type": "raw", "mode": "batch", "remote": "archive", **changes,
    }  # fmt: skip
    return str(client.post("/new", data=form).headers["location"])


def press(client: Any, page: str, button: str) -> Any:
    """Press the button of a form of the review, as a browser does without scripts."""
    (form,) = (part for part in page.split("<form ")[1:] if f">{button}</button>" in part.split("</form>")[0])
    fields = dict(field.split('" value="') for field in (one.split('">')[0] for one in form.split('name="')[1:]))
    return client.post(form.split('action="')[1].split('"')[0], data=fields)


def test_the_review_offers_another_name_and_that_one_is_used(place: Any, scene: Any) -> None:
    """A complete dataset: no start, but a button with a free name, and a link to one's own upload."""
    place.catalogue.datasets["scan1"] = held("dataset-complete")
    client = place.client("anna")
    review = draft(client, scene)
    page = client.get(review).text
    assert "It is so: dataset-complete." in page
    assert 'href="/uploads/u-earlier-1"' in page
    assert "Start upload" not in page
    assert "Continue this dataset" not in page
    assert press(client, page, "Use the name scan1 (2)").headers["location"] == review
    page = client.get(review).text
    assert press(client, page, "Start upload").status_code == 303
    assert eventually(lambda: begun(place), what="the request")[0].dataset.name == "scan1 (2)"


def test_the_review_lets_one_go_on_with_ones_own(place: Any, scene: Any) -> None:
    """It says then what that means."""
    place.catalogue.datasets["scan1"] = held("dataset-continues", state="cancelled")
    client = place.client("anna")
    review = draft(client, scene)
    assert press(client, client.get(review).text, "Continue this dataset").headers["location"] == review
    page = client.get(review).text
    assert "This continues" in page
    assert press(client, page, "Start upload").status_code == 303
    assert eventually(lambda: begun(place), what="the request")[0].continues == ("u-earlier-1",)


def test_who_starts_what_was_taken_since_the_review_is_shown_the_ways_out(place: Any, scene: Any) -> None:
    """What has begun already says so, and the rest can still be started."""
    client = place.client("anna")
    picks = ["folder:/data/scan1", "folder:/data/scan2"]
    review = draft(client, scene, pick=picks, split="each", dataset="{folder}")
    page = client.get(review).text
    place.catalogue.datasets["scan2"] = held("dataset-in-use", person="8")
    assert press(client, page, "Start 2 uploads").headers["location"] == review
    page = client.get(review).text
    assert "This upload has started" in page
    press(client, page, "Use the name scan1 (2)")
    assert press(client, client.get(review).text, "Start 2 uploads").status_code == 303
    eventually(lambda: len(begun(place)) == 2, what="both requests")
    assert {one.dataset.name for one in begun(place)} == {"scan1", "scan1 (2)"}


def test_values_are_read_from_files_whatever_the_dataset_is_called(place: Any, scene: Any) -> None:
    """A taken name is told where the upload is tried, not where a file is looked into."""
    place.catalogue.datasets["scan1"] = held("dataset-complete")
    answer = place.client("anna").post("/api/v1/uploads/values", json=body(scene))
    assert answer.status_code != 409
