"""In whose name somebody may ask for an upload."""

import pytest

from datauploader.contracts import DatasetSpec, Destination, Event, Person, Station, UploadRequested, UploadSealed
from datauploader.errors import Park
from datauploader.messaging import Delivery
from datauploader_catalog.persons import RequesterCheck

HERE, THERE = Station.parse("elettra.xrd1.ws01"), Station.parse("elettra.xrd1.ws02")
PERSONS = RequesterCheck(("gateway", "catalog"), {HERE.key: "1101"})


def asked(person: str, sender: str) -> Delivery:
    """A request as it comes from the broker."""
    request = UploadRequested(
        upload_id="upload-0001", investigation="1", dataset=DatasetSpec(name="run1"), root="/data", mode="sync",
        destination=Destination(remote="store", location="1/run1"), requested_by=Person(id=person),
    )  # fmt: skip
    return Delivery(Event(data=request, station=HERE, service="gateway"), sender=sender)


@pytest.mark.attack("S30")
@pytest.mark.parametrize("sender", ["elettra.xrd1.ws01", ""])
def test_a_station_asks_in_no_persons_name(sender: str) -> None:
    """Whatever service the body names, and also where its sender gives no name to the broker."""
    with pytest.raises(Park, match=r"forbidden: .* in the name of '1101'"):
        PERSONS.check_requester(asked("1101", sender))
    PERSONS.check_requester(asked("rule:scans", sender))


@pytest.mark.parametrize("sender", ["gateway", "catalog"])
def test_who_has_signed_a_person_in_may(sender: str) -> None:
    """The catalog's own user stands for brokers with one user for all."""
    PERSONS.check_requester(asked("1101", sender))


def test_a_process_that_is_its_own_broker_has_nobody_to_mistrust() -> None:
    """Neither the bus nor its deliveries have a user there."""
    RequesterCheck(("gateway", ""), {}).check_requester(asked("1101", ""))


def test_other_events_name_nobody() -> None:
    """They are judged elsewhere."""
    seal = UploadSealed(upload_id="upload-0001", files=0, bytes=0, left_out=0, manifest_sha256="0" * 64)
    PERSONS.check_requester(Delivery(Event(data=seal, station=HERE, service="watcher"), sender="elettra.xrd1.ws01"))


def test_a_rule_works_for_whom_the_deployment_says() -> None:
    """Of its station, or of all others; a person's own request for that person."""
    rule, own = asked("rule:scans", "").event.data, asked("2202", "").event.data
    assert PERSONS.find_owner(rule, HERE) == "1101"
    assert PERSONS.find_owner(rule, THERE) == ""
    assert RequesterCheck((), {"*": "7"}).find_owner(rule, THERE) == "7"
    assert PERSONS.find_owner(own, HERE) == "2202"
