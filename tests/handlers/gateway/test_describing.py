"""What people see and say of investigations and datasets: sorted lists, creation, descriptions, and who may."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from datauploader.contracts import (
    DatasetAnnotated,
    DatasetDescribed,
    DatasetEnsured,
    Event,
    InvestigationAnnotated,
    InvestigationDescribed,
    Person,
)
from datauploader.contracts.questions import Investigations, InvestigationSummary
from datauploader.contracts.rest.uploads import Upload
from datauploader.errors import QuestionRefused
from datauploader.messaging.topology import catalog_queue
from datauploader_gateway.auth.authentication import Caller
from datauploader_gateway.auth.person import SignedInUser
from datauploader_gateway.auth.sessions import SessionRecord
from datauploader_gateway.errors import NotAllowed
from datauploader_gateway.features.descriptions.service import DatasetText, DescriptionService, may_describe
from datauploader_gateway.projection.fold import Before, fold
from datauploader_gateway.projection.summary import summarise
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

TODAY = datetime.now().astimezone().date()
BEGAN = datetime(2026, 3, 4, tzinfo=UTC)


def summary(
    name: str, from_day: int = -1, to_day: int = 1, beamline: str = "XRD1", **more: Any
) -> InvestigationSummary:
    """An investigation whose days are counted from today."""
    start, end = TODAY + timedelta(days=from_day), TODAY + timedelta(days=to_day)
    said = {"title": f"Title of {name}", "start": start, "end": end, "beamline": beamline}
    return InvestigationSummary(id=name, **said | more)


LIST = (
    summary("900", beamline="SAXS"),
    summary("901", -30, -28, open=False, reason="The time is over."),
    summary("200", -9, -8),
    summary("902", 5, 6),
    summary("100"),
    summary("903", 0, 0, beamline=""),
)


class Words:
    """The events that the catalog hears."""

    def __init__(self, facility: Any) -> None:
        self.events: list[Event[Any]] = []
        facility.bus.consume(catalog_queue(), lambda delivery: self.events.append(delivery.event))

    def of(self, kind: type[Any]) -> list[Event[Any]]:
        """Return those of a kind."""
        return [event for event in list(self.events) if isinstance(event.data, kind)]

    def wait_for(self, kind: type[Any], count: int = 1) -> list[Event[Any]]:
        """Wait for so many of a kind."""
        return eventually(
            lambda: found if len(found := self.of(kind)) >= count else [], what=f"{count} {kind.__name__}"
        )


@pytest.fixture
def words(facility: Any) -> Words:
    """Hear what the catalog hears."""
    return Words(facility)


@pytest.fixture
def anna(facility: Any) -> httpx.Client:
    """A scientist's browser."""
    client: httpx.Client = facility.client("anna")
    return client


def upload(facility: Any, scene: Any, client: httpx.Client, **changes: Any) -> str:
    """Ask for an upload; return its id."""
    answer = client.post("/api/v1/uploads", json=scene.wish(kind="folder", **changes))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_todays_at_this_beamline_come_first_then_what_was_used_last(facility: Any, scene: Any, anna: Any) -> None:
    """Then the other open ones, and the closed ones at the end with the reason."""
    facility.catalogue.investigations = Investigations(items=LIST, total=9, create_refusal="Ask the user office.")
    upload(facility, scene, anna, investigation="200")
    found = anna.get("/api/v1/investigations").json()
    assert [(item["id"], item["section"]) for item in found["items"]] == [
        ("100", "today"), ("903", "today"), ("200", "used"), ("900", "open"), ("902", "open"), ("901", "closed"),
    ]  # fmt: skip
    used, closed = found["items"][2], found["items"][-1]
    assert used["last_used"]
    assert closed["reason"] == "The time is over."
    assert (found["total"], found["may_create"], found["create_refusal"]) == (9, False, "Ask the user office.")
    elsewhere = anna.get("/api/v1/investigations?beamline=saxs&limit=1").json()
    assert [item["id"] for item in elsewhere["items"]] == ["900"]


def test_others_uploads_are_not_what_one_used_last(facility: Any, scene: Any, anna: Any) -> None:
    """Neither for staff, who see them."""
    facility.catalogue.investigations = Investigations(items=LIST)
    upload(facility, scene, anna, investigation="200")
    staff = facility.client("stella").get("/api/v1/investigations").json()
    assert all(item["last_used"] is None for item in staff["items"])


def test_the_words_of_a_search_are_put_to_the_catalogue(facility: Any, anna: Any) -> None:
    """Which may know more investigations than it tells at once."""
    anna.get("/api/v1/investigations", params={"text": "thin films"})
    assert facility.catalogue.asked[-1].text == "thin films"


def test_one_investigation_is_shown_to_its_people_alone(facility: Any, anna: Any) -> None:
    """The catalogue's list decides."""
    facility.catalogue.investigations = Investigations(items=LIST)
    assert anna.get("/api/v1/investigations/902").json()["title"] == "Title of 902"
    assert anna.get("/api/v1/investigations/90").status_code == 404


def test_an_investigation_is_made_and_audited(facility: Any, anna: Any) -> None:
    """With what the catalogue made of it."""
    body = {"name": "P-7", "title": "  Films ", "beamline": "XRD1", "start": str(TODAY), "end": str(TODAY)}
    answer = anna.post("/api/v1/investigations", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["id"], made["title"], made["section"]) == ("made-P-7", "Films", "today")
    assert answer.headers["Location"] == "/api/v1/investigations/made-P-7"
    assert facility.catalogue.asked[-1].user_id == "7"
    assert b"investigation made" in [entry[b"what"] for _, entry in facility.redis().xrange("datauploader:audit")]


@pytest.mark.parametrize(
    ("code", "status", "word"),
    [("refused", 403, "not-allowed"), ("taken", 409, "investigation-exists"), ("unavailable", 503, "catalogue-away")],
)
def test_an_investigation_that_cannot_be_made_is_a_sentence(
    facility: Any, anna: Any, code: str, status: int, word: str
) -> None:
    """And nobody is told that nothing happened while that is not known."""
    facility.catalogue.refusal = QuestionRefused(code, "so it is")
    answer = anna.post("/api/v1/investigations", json={"name": "P", "title": "t"})
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (status, word)
    assert "so it is" in answer.json()["detail"]
    assert "Nothing was changed" not in answer.json()["hint"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a/b"}, {"name": ""}, {"title": " "}, {"title": "x" * 501}, {"title": "two\nlines"}, {"visit": ""},
        {"start": "2026-02-03", "end": "2026-02-02"}, {"start": "soon"}, {"more": 1}, {"beamline": "x" * 61},
    ],
)  # fmt: skip
def test_an_unsound_investigation_is_not_asked_for(facility: Any, anna: Any, change: dict[str, Any]) -> None:
    """The fault is named before the catalogue is asked."""
    answer = anna.post("/api/v1/investigations", json={"name": "P", "title": "t"} | change)
    assert answer.status_code == 422, answer.text
    assert not any(type(question).__name__ == "CreateInvestigation" for question in facility.catalogue.asked)


def test_a_description_is_seen_at_once_and_is_waiting_until_the_catalogue_answers(
    facility: Any, scene: Any, anna: Any, words: Words
) -> None:
    """From the request's own description to the corrected one."""
    asked = {"name": "scan1", "description": "first", "parameters": [{"name": "energy", "value": 8, "units": "keV"}]}
    place = f"/api/v1/uploads/{upload(facility, scene, anna, dataset=asked)}/dataset"
    before = anna.get(place).json()
    assert (before["description"], before["state"], before["word"]) == ("first", "waiting", "")
    change = {"description": "second\r\nline", "parameters": [{"name": "sample", "value": "LaB6"}], "based_on": ""}
    answer = anna.patch(place, json=change)
    assert answer.status_code == 202, answer.text
    now = answer.json()
    assert now == anna.get(place).json()
    assert (now["description"], now["state"], now["by"]["id"]) == ("second\nline", "waiting", "7")
    assert [(p["name"], p["value"]) for p in now["parameters"]] == [("energy", 8), ("sample", "LaB6")]
    (event,) = words.wait_for(DatasetDescribed)
    assert (event.id, event.station) == (now["word"], scene.STATION)
    facility.say(annotated(event))
    eventually(lambda: anna.get(place).json()["state"] == "catalogued")


def annotated(event: Event[Any], refusal: str = "") -> DatasetAnnotated:
    """The catalogue's answer to a word."""
    upload_id = event.data.upload_id
    return DatasetAnnotated(upload_id=upload_id, dataset_id="1", word=event.id, said=event.time, refusal=refusal)


def test_a_refused_description_says_why(facility: Any, scene: Any, anna: Any, words: Words) -> None:
    """In the catalogue's words."""
    place = f"/api/v1/uploads/{upload(facility, scene, anna)}/dataset"
    anna.patch(place, json={"description": "text"})
    facility.say(annotated(words.wait_for(DatasetDescribed)[0], "VUO does not allow this."))
    eventually(lambda: anna.get(place).json()["state"] == "refused")
    assert anna.get(place).json()["refusal"] == "VUO does not allow this."


@pytest.mark.fault("F26")
def test_an_answer_to_an_earlier_word_does_not_stand_for_a_later_one(
    facility: Any, scene: Any, anna: Any, words: Words
) -> None:
    """In whatever order they come."""
    place = f"/api/v1/uploads/{upload(facility, scene, anna)}/dataset"
    for text in ("first", "second"):
        anna.patch(place, json={"description": text})
    first, second = words.wait_for(DatasetDescribed, 2)
    facility.say(annotated(first))
    facility.say(
        DatasetEnsured(upload_id=first.data.upload_id, investigation_id="100", dataset_id="1", url="http://x/")
    )
    eventually(lambda: anna.get(place.removesuffix("/dataset")).json()["dataset_url"])
    assert anna.get(place).json()["state"] == "waiting"
    facility.say(annotated(second))
    eventually(lambda: anna.get(place).json()["state"] == "catalogued")
    facility.say(annotated(first))
    facility.say(first.data)  # a late copy of the first word, with another id and a later time: the last word then
    eventually(lambda: anna.get(place).json()["description"] == "first")


def test_after_the_upload_is_complete_it_can_still_be_described(
    facility: Any, scene: Any, anna: Any, words: Words
) -> None:
    """That is when people have the time."""
    upload_id = upload(facility, scene, anna)
    for data in scene.life_of(upload_id, 2):
        facility.say(data)
    eventually(lambda: anna.get(f"/api/v1/uploads/{upload_id}").json()["over"])
    assert anna.patch(f"/api/v1/uploads/{upload_id}/dataset", json={"description": "late"}).status_code == 202
    assert words.wait_for(DatasetDescribed)[0].data.description == "late"


def test_nobody_corrects_what_they_have_not_seen(facility: Any, scene: Any, anna: Any) -> None:
    """Two tabs: the second is told who was quicker."""
    place = f"/api/v1/uploads/{upload(facility, scene, anna)}/dataset"
    first = anna.patch(place, json={"description": "one", "based_on": ""}).json()
    late = anna.patch(place, json={"description": "two", "based_on": ""})
    assert (late.status_code, late.json()["type"].rpartition("/")[2]) == (409, "changed-meanwhile")
    assert "Anna Rossi" in late.json()["detail"]
    assert anna.patch(place, json={"description": "two", "based_on": first["word"]}).status_code == 202


def test_a_text_as_long_as_the_form_allows_is_taken(facility: Any, scene: Any, anna: Any) -> None:
    """A browser counts a line break once and sends it as two characters."""
    place = f"/api/v1/uploads/{upload(facility, scene, anna)}/dataset"
    said = anna.patch(place, json={"description": "x\r\n" * 2000})
    assert (said.status_code, len(said.json()["description"])) == (202, 4000), said.text


def test_who_may_see_an_upload_and_neither_asked_for_it_nor_is_staff_may_not_describe_it() -> None:
    """Seeing is not saying."""
    asked = summarised("7")
    for name, role, may in (("7", "user", True), ("8", "user", False), ("8", "staff", True), ("8", "operator", True)):
        assert may_describe(person(name, role), asked) is may
    said = DatasetText(description="mine")
    service = DescriptionService(None, None, None, None)  # type: ignore[arg-type]
    with pytest.raises(NotAllowed, match="only the person who requested this upload"):
        asyncio.run(service.describe_dataset(asked, said, person("8", "user"), ""))


def person(name: str, role: str) -> Caller:
    """Somebody who is signed in."""
    user = SignedInUser.model_validate({"id": name, "role": role})
    record = SessionRecord(user=user, by="session", method="local", created=BEGAN, expires=BEGAN)
    return Caller(user, record, "secret", "127.0.0.1")


def summarised(requester: str) -> Upload:
    """An upload of somebody's."""
    asked = builders.event(builders.upload_requested(requested_by=Person(id=requester)))
    found = summarise(builders.UPLOAD, fold(Before(), asked).registers, {})
    assert found is not None
    return found


@pytest.mark.attack("S8")
@pytest.mark.parametrize(("name", "status"), [("bruno", 404), ("stella", 202), ("otto", 202), ("", 401)])
def test_the_requester_and_staff_describe_a_dataset_and_nobody_else(
    facility: Any, scene: Any, anna: Any, words: Words, name: str, status: int
) -> None:
    """Staff of the beamline and operators; for others the upload does not exist."""
    place = f"/api/v1/uploads/{upload(facility, scene, anna)}/dataset"
    client = facility.client(name)
    assert client.patch(place, json={"description": "mine"}).status_code == status
    assert client.get(place).status_code == (200 if status == 202 else status)
    if status == 202:
        assert words.wait_for(DatasetDescribed)[0].data.requested_by.id == {"stella": "20", "otto": "30"}[name]
    else:
        assert anna.get(place).json()["description"] == ""


@pytest.mark.parametrize(
    "body",
    [
        {}, {"description": "x" * 4001}, {"description": "bell\x07"}, {"parameters": [{"name": "", "value": 1}]},
        {"parameters": [{"name": "a", "value": 1}, {"name": "a", "value": 2}]}, {"parameters": [{"name": "a"}]},
        {"parameters": [{"name": "a", "value": "x" * 2001}]}, {"parameters": [{"name": "a", "value": None}]},
        {"parameters": [{"name": str(n), "value": "x" * 2000} for n in range(200)]},
        {"parameters": [{"name": str(n), "value": 1} for n in range(201)]}, {"title": "no"}, {"based_on": "x" * 201},
    ],
)  # fmt: skip
def test_an_unsound_description_is_refused(facility: Any, scene: Any, anna: Any, body: dict[str, Any]) -> None:
    """Bounds on every field, and on all of it together."""
    place = f"/api/v1/uploads/{upload(facility, scene, anna)}/dataset"
    assert anna.patch(place, json=body).status_code == 422
    assert anna.get(place).json()["word"] == ""


def test_an_investigation_is_described_by_who_may_upload_to_it(facility: Any, anna: Any, words: Words) -> None:
    """Shown at once, with the catalogue's own text again when it has it."""
    facility.catalogue.investigations = Investigations(items=(summary("100", description="old"),))
    answer = anna.patch("/api/v1/investigations/100", json={"description": "new", "based_on": ""})
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting"), answer.text
    (item,) = anna.get("/api/v1/investigations").json()["items"]
    assert (item["description"], item["described"]["description"], item["described"]["state"]) == (
        "old",
        "new",
        "waiting",
    )
    (event,) = words.wait_for(InvestigationDescribed)
    told = InvestigationAnnotated(investigation="100", word=event.id, said=event.time)
    facility.say(told, event.station)
    place = "/api/v1/investigations/100"
    eventually(lambda: anna.get(place).json()["described"]["state"] == "catalogued")
    assert anna.get(place).json()["described"]["description"] == "old"
    refused = anna.patch("/api/v1/investigations/666", json={"description": "mine"})
    assert refused.status_code == 403
    assert len(words.of(InvestigationDescribed)) == 1


def test_a_word_survives_a_broker_that_does_not_take_it_and_a_restart(facility: Any, scene: Any, anna: Any) -> None:
    """It waits in the outbox, and goes out when the catalog's queue is there."""
    upload_id = upload(facility, scene, anna)
    eventually(lambda: facility.gateway.checks()[2].ok)
    facility.broker.delete(catalog_queue())
    anna.patch(f"/api/v1/uploads/{upload_id}/dataset", json={"description": "text"})
    eventually(lambda: not facility.gateway.checks()[2].ok)
    facility.again()
    facility.broker.declare(catalog_queue())
    assert Words(facility).wait_for(DatasetDescribed)[0].data.description == "text"


@pytest.fixture
def impatient(open_facility: Callable[..., Any]) -> Any:
    """A gateway that repeats at once what is not answered."""
    return open_facility(request_patience_s=0.2)


def test_a_word_is_said_again_with_its_id_until_the_catalogue_answers(impatient: Any, scene: Any) -> None:
    """The broker may lose it with a queue; the answer ends it, also of a word that a later one overtook."""
    words, client = Words(impatient), impatient.client("anna")
    place = f"/api/v1/uploads/{upload(impatient, scene, client)}/dataset"
    for text in ("first", "second"):
        client.patch(place, json={"description": text})
    heard = words.wait_for(DatasetDescribed, 4)
    assert {event.data.description for event in heard[2:]} == {"second"}
    assert len({event.id for event in heard}) == 2
    impatient.say(annotated(heard[-1]))

    def kept() -> int:
        with impatient.gateway._store.reading() as db:
            return int(db.execute("SELECT count(*) FROM words").fetchone()[0])

    eventually(lambda: kept() == 0, what="nothing is kept any more")
