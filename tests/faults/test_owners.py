"""F47: a second upload to the same place, on real processes: what the first one stored stays as its receipt says."""

import hashlib

import pytest

from datauploader.contracts import DatasetSpec, Destination, Event, Person, UploadRequested
from datauploader.messaging import connect
from datauploader_testing.waiting import eventually

from .conftest import HERE, Case

FILES = [f"scan/{number}.dat" for number in range(5)]


def request(run: Case, upload_id: str, folder: str, *, continues: tuple[str, ...] = ()) -> None:
    """Ask the station for an upload to the first one's place under another name, as no gateway would."""
    asked = UploadRequested(
        upload_id=upload_id, investigation="20260101", dataset=DatasetSpec(name="other"), mode="sync",
        root=str((run.facility.watched / folder).resolve()), quiet_period_s=1.0, requested_by=Person(id="1101"),
        destination=Destination(remote="store", location="experiments/20260101/run"), continues=continues,
    )  # fmt: skip
    bus = connect(run.facility.broker_address, name="stranger")
    bus.publish(Event(data=asked, station=HERE, service="gateway")).result(60)
    bus.close()


def held(run: Case) -> dict[str, str]:
    """Return the digests of what the storage holds, by object."""
    root = run.facility.storage
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.campaign
@pytest.mark.fault("F47")
@pytest.mark.parametrize("close", [True, False], ids=["complete", "open"])
def test_a_second_upload_to_the_same_place_overwrites_nothing(case, scribe, close) -> None:
    """Five files of the same names and other bytes: each is a conflict, and the first receipt holds to the byte."""
    run = case()
    first = scribe(run, run.facility.watched / "one")
    first.write_many(FILES)
    upload = run.request(path=str(first.folder.resolve()), kind="folder")
    run.until_catalogued(upload, len(FILES))
    if close:
        run.control(upload, "close")
        run.completed(upload)
    before = held(run)
    for number, name in enumerate(FILES):
        path = run.facility.watched / "two" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"somebody else's %d" % number)
    request(run, "u-second-0001", "two")
    refused = '"reason": "conflict"'
    eventually(
        lambda: run.services.log("transfer").count(refused) >= len(FILES),
        within_s=60,
        what="each is refused",
    )
    assert held(run) == before
    run.heal()
    run.recover(upload, close=not close)
    assert held(run) == before
