"""What stations ask the gateway: how far it has heard them, and whether it knows what is open there."""

from dataclasses import replace

import pytest

from datauploader.contracts import Event, EventData, Person, UploadControlled, UploadRequested, UploadScanned
from datauploader.contracts.envelope import Mark, decode, encode
from datauploader.contracts.questions import Heard, LastHeard, Remembered, RememberUpload
from datauploader.errors import QuestionRefused
from datauploader_gateway.projection import keys
from datauploader_testing.waiting import eventually

from .conftest import OTHER, STATION, Facility, life_of, report, wish


def say(facility: Facility, number: int, run: str = "r1", service: str = "watcher", **event) -> None:
    """Say something as the state file 77 of a station."""
    said = Event(data=report(service), station=STATION, service=service, mark=Mark("77", run, number))
    facility.bus.publish(replace(said, **event)).result(60)


def heard(facility: Facility, run: str = "now", station=STATION, service: str = "watcher") -> int:
    """Ask how far the state file 77 has been heard."""
    question = LastHeard(service=service, state="77", run=run)
    return facility.bus.ask(question, Heard, station=station).result(60).number


def remember(facility: Facility, event: Event, station=STATION, **more) -> str:
    """Tell of an open upload."""
    question = RememberUpload(event=encode(event).decode(), **more)
    return facility.bus.ask(question, Remembered, station=station).result(60).knew


def asked_for(facility: Facility) -> Event[UploadRequested]:
    """Have somebody ask for an upload; return the request as its station hears it."""
    answer = facility.client("anna").post("/api/v1/uploads", json=wish())
    assert answer.status_code == 201, answer.text
    return eventually(lambda: requests(facility), what="the request is said")[0]


def catch_up(facility: Facility) -> None:
    """Wait until the view has everything that was said so far: the log is folded in order."""
    facility.say(UploadScanned(upload_id="upload-last", files=1, bytes=1, settling=0, left_out=0))
    eventually(lambda: facility.redis().exists(keys.upload("upload-last")), what="the last event is in the view")


def requests(facility: Facility) -> list[Event[UploadRequested]]:
    """Return all requests that were said so far, from the log."""
    said: list[Event[EventData]] = []
    offset = 0
    with facility.broker.changed:
        while (entry := facility.broker.next_logged(offset, None)) is not None:
            said.append(decode(entry[2]))
            offset = entry[0] + 1
    return [event for event in said if isinstance(event.data, UploadRequested)]


@pytest.mark.fault("F53")
def test_a_station_is_told_how_far_its_state_was_heard_in_other_runs(facility: Facility) -> None:
    """Also after a restart of the gateway; late copies of old events change nothing."""
    say(facility, 7)
    say(facility, 9, run="r2")
    say(facility, 8, run="r2")
    eventually(lambda: heard(facility) == 9)
    assert heard(facility, run="r2") == 7
    assert heard(facility, station=OTHER) == 0
    assert heard(facility, service="transfer") == 0
    facility.again()
    assert heard(facility) == 9


@pytest.mark.attack("S13")
@pytest.mark.fault("F53")
def test_nobody_else_can_have_a_station_throw_its_state_away(facility: Facility) -> None:
    """Of events that others may say as well, the number does not count; nor may a station ask as the catalog."""
    control = UploadControlled(upload_id="upload-0001", action="pause", requested_by=Person(id="7"))
    say(facility, 99, data=control)
    say(facility, 99, service="catalog")
    say(facility, 3)
    eventually(lambda: heard(facility) == 3)
    with pytest.raises(QuestionRefused):
        heard(facility, service="catalog")


@pytest.mark.fault("F53")
@pytest.mark.parametrize(
    ("lost", "knew"), [("wishes", "open"), ("view", "nothing"), ("all", "nothing"), ("all but news", "nothing")]
)
def test_a_gateway_that_has_forgotten_an_upload_says_its_request_again(
    facility: Facility, lost: str, knew: str
) -> None:  # fmt: skip
    """The same event, in the name of the same person; after that it is known."""
    request = asked_for(facility)
    assert remember(facility, request) == "open"
    if lost != "view":
        with facility.gateway._store.transaction() as db:
            db.execute("DELETE FROM wishes")
    if lost != "wishes":
        catch_up(facility)  # else the request could be folded into the view after it was deleted there
        facility.redis().delete(keys.upload(request.data.upload_id))
    if lost == "all but news":
        facility.say(UploadScanned(upload_id=request.data.upload_id, files=1, bytes=1, settling=0, left_out=0))
        eventually(lambda: facility.redis().exists(keys.upload(request.data.upload_id)), what="the news is in the view")
    before = len(requests(facility))
    assert remember(facility, request) == knew
    again = eventually(lambda: requests(facility)[before:], what="the request is said again")
    assert again[0] == request
    eventually(lambda: remember(facility, request) == "open")


@pytest.mark.attack("S30")
@pytest.mark.fault("F53")
@pytest.mark.parametrize("forgery", ["person", "investigation", "unsigned", "station"])
def test_a_station_cannot_have_the_gateway_speak_for_a_person_who_never_asked(
    facility: Facility, forgery: str
) -> None:  # fmt: skip
    """What was changed in a request, or was never signed, is not said."""
    request = asked_for(facility)
    changes = {
        "person": {"requested_by": Person(id="30")}, "investigation": {"investigation": "200"},
        "unsigned": {"signature": None}, "station": {},
    }  # fmt: skip
    data = request.data.model_copy(update={"upload_id": "upload-0009", **changes[forgery]})
    forged = request if forgery == "station" else replace(request, data=data)
    before = len(requests(facility))
    with pytest.raises(QuestionRefused) as refusal:
        remember(facility, forged, station=OTHER if forgery == "station" else STATION)
    assert refusal.value.code == "not-allowed"
    assert len(requests(facility)) == before


@pytest.mark.fault("F53")
def test_what_is_over_is_not_asked_for_again(facility: Facility) -> None:
    """A station that holds it open has not heard the end, and seals it again."""
    request = asked_for(facility)
    for data in life_of(request.data.upload_id, 1):
        facility.say(data)
    eventually(lambda: remember(facility, request) == "over")


@pytest.mark.fault("F53")
def test_a_rule_s_upload_is_said_again_without_a_signature(facility: Facility) -> None:
    """A station may ask for it by itself in any case."""
    data = asked_for(facility).data
    data = data.model_copy(
        update={"upload_id": "upload-0009", "requested_by": Person(id="rule:all"), "signature": None}
    )  # fmt: skip
    event = Event(data=data, station=STATION, service="watcher")
    assert remember(facility, event, paused=True) == "nothing"
    said = eventually(lambda: [one for one in requests(facility) if one.id == event.id])
    assert len(said) == 1
