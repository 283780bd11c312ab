"""The dry run over REST: every check of a request, what the station and the storage say, and nothing that is begun."""

from typing import Any

import pytest

from datauploader.contracts import DatasetSpec, Destination, Parameter, TransferProgressed, UploadRequested
from datauploader.contracts.model import Question
from datauploader.contracts.previews import (
    DestinationContent,
    FoundValue,
    FoundValues,
    HeldObject,
    LeftOutGroup,
    Overlap,
    Preview,
    Refused,
)
from datauploader.contracts.questions import (
    DatasetState,
    Folder,
    FolderEntry,
    ListFolder,
    LookAtDestination,
    PreviewUpload,
    ReadValues,
)
from datauploader.errors import QuestionRefused
from datauploader_testing.waiting import eventually

FOUND = Preview(
    files=3, bytes=3_000_000, first=("a.dat",), settling=1, settling_first=("a.dat",), oldest_mtime_ns=10**18,
    newest_mtime_ns=2 * 10**18, entries=5,
    left_out=(LeftOutGroup(reason="excluded", detail="a pattern", count=2, examples=("x.tmp",)),),
)  # fmt: skip


class Surroundings:
    """The station and its transfer: what they were asked, and what they answer."""

    def __init__(self, facility: Any, station: Any) -> None:
        self.asked: list[Question] = []
        self.found: Preview | QuestionRefused = FOUND
        self.there: DestinationContent | QuestionRefused = DestinationContent(exists=True, objects=7, bytes=70)
        facility.bus.answer("watcher", self.answer, station=station)
        facility.bus.answer("transfer", self.answer, station=station)

    def answer(self, question: Question) -> Any:
        """Answer, or refuse."""
        self.asked.append(question)
        if isinstance(question, ListFolder):
            return Folder(path=question.path, entries=(FolderEntry(name="scan1", kind="folder"),), total=1)
        if isinstance(question, ReadValues):
            found = FoundValue(parameter=Parameter(name="title", value="Thin films"), source="1.nxs")
            return FoundValues(values=(found,), files=1)
        said = self.found if isinstance(question, PreviewUpload) else self.there
        if isinstance(said, QuestionRefused):
            raise said
        return said


@pytest.fixture
def around(facility: Any, scene: Any) -> Surroundings:
    """Let the station answer dry runs."""
    return Surroundings(facility, scene.STATION)


def preview(facility: Any, scene: Any, who: str = "anna", **changes: Any) -> Any:
    """Ask for a dry run."""
    return facility.client(who).post("/api/v1/uploads/preview", json=scene.wish(**changes))


def test_it_says_what_the_station_and_the_storage_say(facility: Any, scene: Any, around: Surroundings) -> None:
    """The station is asked for exactly what would be requested; nothing is begun, nothing is kept."""
    answer = preview(facility, scene, exclude=["*.tmp"], sources=["a", "b"])
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["files"], said["bytes"], said["settling"], said["partial"]) == (3, 3_000_000, 1, False)
    assert (said["remote"], said["location"]) == ("archive", "100/scan1")
    assert (said["oldest"], said["newest"]) == ("2001-09-09T01:46:40+00:00", "2033-05-18T03:33:20+00:00")
    assert said["left_out"][0]["examples"] == ["x.tmp"]
    assert said["destination"]["objects"] == 7
    assert said["seconds"] is None
    asked = next(one for one in around.asked if isinstance(one, PreviewUpload))
    assert (asked.request.root, asked.request.sources) == ("/data/scan1", ("a", "b"))
    assert (asked.request.exclude, asked.request.requested_by.id) == (("*.tmp",), "7")
    looked = next(one for one in around.asked if isinstance(one, LookAtDestination))
    assert (looked.remote, looked.location) == ("archive", "100/scan1")
    assert facility.client("anna").get("/api/v1/uploads").json()["items"] == []


def test_it_names_what_is_in_the_way_at_the_destination(facility: Any, scene: Any, around: Surroundings) -> None:
    """What is not ours there goes to the station, which knows the files; without any there is nothing in the way."""
    assert preview(facility, scene).json()["conflicts"] == {
        "differing": 0, "first": [], "same_size": 0, "partial": False,
    }  # fmt: skip
    theirs = (HeldObject(path="a.dat", size=3),)
    around.there = DestinationContent(exists=True, objects=7, bytes=70, foreign=theirs, foreign_partial=True)
    around.found = FOUND.model_copy(update={"differing": 1, "differing_first": ("a.dat",)})
    said = preview(facility, scene).json()
    assert said["conflicts"] == {"differing": 1, "first": ["a.dat"], "same_size": 0, "partial": True}
    assert [one.held for one in around.asked if isinstance(one, PreviewUpload)][-1] == theirs
    around.there = DestinationContent(exists=True, objects=9_999, bytes=70, foreign_partial=True)
    assert preview(facility, scene).json()["conflicts"] is None


@pytest.mark.attack("S8", "S17", "S19")
@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"investigation": "999"}, 403, "not-allowed"),
        ({"remote": ":local:/etc"}, 422, "unknown-remote"),
        ({"station": "elettra.xrd1.ws99"}, 422, "unknown-station"),
        ({"dataset": {"name": "../up"}}, 422, "bad-name"),
        ({"path": "/data/../etc"}, 422, "bad-path"),
        ({"sources": ["../x"]}, 422, "bad-path"),
        ({"surprise": 1}, 422, "invalid-request"),
    ],
)
def test_what_an_upload_may_not_a_dry_run_may_not(
    facility: Any, scene: Any, around: Surroundings, changes: dict[str, Any], status: int, word: str
) -> None:
    """The same refusals, before the station is asked."""
    answer = preview(facility, scene, **changes)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (status, word)
    assert not [one for one in around.asked if isinstance(one, PreviewUpload | LookAtDestination)]


@pytest.mark.attack("S1")
def test_a_stranger_tries_nothing(facility: Any, scene: Any, around: Surroundings) -> None:
    """401, and the station is not asked."""
    assert preview(facility, scene, who="").status_code == 401
    assert around.asked == []


@pytest.mark.parametrize(
    ("found", "status", "word"),
    [
        (Preview(refused=Refused(reason="outside-roots", detail="no", hint="Choose.")), 403, "not-allowed"),
        (Preview(refused=Refused(reason="bad-pattern", detail="no", hint="Choose.")), 422, "station-refuses"),
        (QuestionRefused("busy", "busy with other requests"), 503, "station-busy"),
        (QuestionRefused("unknown-question", "an older watcher"), 504, "station-silent"),
    ],
)
def test_the_station_has_the_last_word(
    facility: Any, scene: Any, around: Surroundings, found: Any, status: int, word: str
) -> None:
    """In its own words, as a problem."""
    around.found = found
    answer = preview(facility, scene)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (status, word)
    if isinstance(found, Preview):
        assert (answer.json()["detail"], answer.json()["hint"]) == ("no", "Choose.")


def test_a_storage_that_says_nothing_is_not_called_empty(facility: Any, scene: Any, around: Surroundings) -> None:
    """The rest is answered all the same."""
    around.there = QuestionRefused("unavailable", "connection refused")
    said = preview(facility, scene).json()
    assert (said["files"], said["destination"]) == (3, None)
    assert "connection refused" in said["destination_trouble"]


@pytest.mark.attack("S8")
def test_another_persons_upload_of_the_same_files_is_told_without_its_name(
    facility: Any, scene: Any, around: Surroundings
) -> None:
    """Who may not see it learns that it is there, not which one it is; its owner and the beamline's staff do."""
    theirs = facility.client("bruno").post("/api/v1/uploads", json=scene.wish(kind="folder")).json()["id"]
    around.found = FOUND.model_copy(update={"overlaps": (Overlap(upload_id=theirs, requested_by="8", files=2),)})
    assert preview(facility, scene).json()["together_with"] == [{"upload": None, "mine": False, "files": 2}]
    for who, mine in (("bruno", True), ("stella", False)):
        said = preview(facility, scene, who=who).json()["together_with"]
        assert said == [{"upload": theirs, "mine": mine, "files": 2}]


def test_the_time_is_estimated_from_what_moves_now_on_the_same_way(
    facility: Any, scene: Any, around: Surroundings
) -> None:
    """Or from the best ten seconds of what moved there last; it is left out where only a part was counted."""
    facility.say(
        UploadRequested(
            upload_id="u-12345678", investigation="100", dataset=DatasetSpec(name="d"), root="/data", mode="sync",
            destination=Destination(remote="archive", location="100/d"), requested_by={"id": "8"},
        )
    )  # fmt: skip
    facility.say(TransferProgressed(upload_id="u-12345678", bytes_per_s=100_000.0, waiting=0))
    eventually(lambda: preview(facility, scene).json()["seconds"] == 30.0, what="an estimate")
    facility.say(TransferProgressed(upload_id="u-12345678", bytes_per_s=0.0, waiting=0))
    eventually(lambda: preview(facility, scene).json()["seconds"] == 300.0, what="an estimate from what has moved")
    around.found = FOUND.model_copy(update={"partial": True})
    assert preview(facility, scene).json()["seconds"] is None


def test_a_folder_is_searched_for_names(facility: Any, scene: Any, around: Surroundings) -> None:
    """The filter and the wish for counts reach the station."""
    client = facility.client("anna")
    client.get(f"/api/v1/stations/{scene.STATION.key}/folders", params={"path": "/data", "contains": "x", "counts": 1})
    asked = next(one for one in around.asked if isinstance(one, ListFolder))
    assert (asked.contains, asked.counts) == ("x", True)
    assert client.get(f"/api/v1/stations/{scene.STATION.key}/folders?contains={'x' * 256}").status_code == 422


def test_values_from_files_are_offered_with_their_source(facility: Any, scene: Any, around: Surroundings) -> None:
    """To who may upload there; to nobody else."""
    client = facility.client("anna")
    said = client.post("/api/v1/uploads/values", json=scene.wish()).json()
    assert said["values"] == [{"parameter": {"name": "title", "value": "Thin films", "units": ""}, "source": "1.nxs"}]
    assert client.post("/api/v1/uploads/values", json=scene.wish(investigation="999")).status_code == 403
    assert facility.client().post("/api/v1/uploads/values", json=scene.wish()).status_code == 401
    assert len([one for one in around.asked if isinstance(one, ReadValues)]) == 1


def test_what_the_facility_asks_about_a_dataset_is_asked_of_every_request(
    open_facility: Any, scene: Any, tmp_path: Any
) -> None:
    """The schema can be read, and what does not keep to it is refused, tried or begun."""
    path = tmp_path / "schema.json"
    path.write_text('{"type": "object", "required": ["sample"], "properties": {"sample": {"type": "string"}}}')
    facility = open_facility(metadata_schema=path)
    client = facility.client("anna")
    assert client.get("/api/v1/metadata-schema").json()["json_schema"]["required"] == ["sample"]
    for address in ("/api/v1/uploads", "/api/v1/uploads/preview"):
        answer = client.post(address, json=scene.wish(kind="folder"))
        assert (answer.status_code, "sample: this is required" in answer.json()["detail"]) == (422, True)
    named = {"name": "scan1", "parameters": [{"name": "sample", "value": "LaB6"}]}
    assert client.post("/api/v1/uploads", json=scene.wish(kind="folder", dataset=named)).status_code == 201


def test_a_dataset_that_looks_the_same_is_named_before_another_one_is_made(
    facility: Any, scene: Any, around: Surroundings
) -> None:
    """In the dry run and on the review; it is begun all the same if one wants that."""
    facility.catalogue.datasets["scan1"] = DatasetState(free=True, alike="Scan1")
    anna = facility.client("anna")
    assert preview(facility, scene, kind="folder").json()["alike"] == "Scan1"
    assert anna.post("/api/v1/uploads", json=scene.wish(kind="folder")).status_code == 201
