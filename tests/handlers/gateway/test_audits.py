"""Audits over HTTP: asked for by a person or a rule, and told on REST, on the page and in the receipt."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from datauploader.contracts import (
    AuditReported,
    AuditRequested,
    CataloguedFile,
    DatasetCompleted,
    Destination,
    FileCatalogued,
    FileReady,
    FileStored,
    FileVersion,
    StoredFile,
    UploadOpened,
    UploadSealed,
)
from datauploader.contracts.uploads import manifest_digest
from datauploader.messaging.topology import transfer_queue
from datauploader_gateway.features.audits import service
from datauploader_testing.waiting import eventually

THERE = Destination(remote="archive", location="100/scan1")
FILE = FileVersion.of(b"a.dat", size=1, mtime_ns=1, sha256=hashlib.sha256(b"1").hexdigest(), revision=1)
MANIFEST = manifest_digest([(FILE.raw, FILE.sha256)])
MISSING = {"kind": "missing", "files": 1, "first": ("a.dat",)}
FOREIGN = {"kind": "foreign", "files": 1, "first": ("README",)}


def lived(facility: Any, scene: Any, *, complete: bool) -> tuple[Any, str]:
    """Bring an upload of one file to its seal, or to its end."""
    client = facility.client("anna")
    upload = client.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    stored = StoredFile(file=FILE, object="100/scan1/a.dat", state="verified", method="backend md5")
    known = CataloguedFile(file=FILE, state="verified")
    facility.say(UploadOpened(upload_id=upload))
    facility.say(FileReady(upload_id=upload, root="/data/scan1", destination=THERE, files=(FILE,)))
    facility.say(FileStored(upload_id=upload, destination=THERE, files=(stored,)))
    facility.say(FileCatalogued(upload_id=upload, dataset_id="d1", files=(known,)))
    facility.say(UploadSealed(upload_id=upload, files=1, bytes=1, left_out=0, manifest_sha256=MANIFEST))
    if complete:
        facility.say(
            DatasetCompleted(upload_id=upload, dataset_id="d1", files=1, bytes=1, manifest_sha256=MANIFEST)
        )  # fmt: skip
    until(client, upload, lambda now: now["state"] == ("completed" if complete else "sealed"))
    return client, upload


def until(client: Any, upload: str, holds: Any) -> dict[str, Any]:
    """Wait until something holds of the upload."""

    def look() -> Any:
        now = client.get(f"/api/v1/uploads/{upload}").json()
        return now if holds(now) else None

    return eventually(look, what="the upload is as it should be")


def report(upload: str, audit: str = "audit-0001", **more: Any) -> AuditReported:
    """A report about the manifest."""
    said = {"upload_id": upload, "audit": audit, "looked": datetime.now(UTC), "manifest_sha256": MANIFEST, "files": 1}
    return AuditReported.model_validate(said | {"objects": 1, "hashes": [{"algorithm": "md5", "files": 1}]} | more)


def test_a_person_has_a_storage_compared_and_is_told_what_was_found(facility, scene) -> None:
    """The station is asked about exactly the sealed manifest; asking twice is asking once."""
    client, upload = lived(facility, scene, complete=True)
    heard: list[AuditRequested] = []
    facility.bus.consume(transfer_queue(scene.STATION), lambda delivery: heard.append(delivery.event.data))

    first = client.post(f"/api/v1/uploads/{upload}/audits", json={})
    again = client.post(f"/api/v1/uploads/{upload}/audits", json={})

    assert (first.status_code, again.json()["audit"]) == (202, first.json()["audit"])
    asked = eventually(lambda: [one for one in heard if isinstance(one, AuditRequested)], what="the station is asked")[
        0
    ]
    assert (asked.manifest_sha256, asked.files, asked.requested_by.id) == (MANIFEST, 1, "7")
    facility.say(report(upload, asked.audit))
    until(client, upload, lambda now: not now["auditing"])
    (found,) = client.get(f"/api/v1/uploads/{upload}/audits").json()["items"]
    assert (found["well"], found["says"]) == (True, "1 file compared by names, sizes, md5; no difference.")


def test_a_difference_keeps_the_upload_waiting_for_a_person_in_plain_words(facility, scene) -> None:
    """It says what to do, and nobody is told to switch the computer off."""
    client, upload = lived(facility, scene, complete=False)
    page = client.get(f"/uploads/{upload}").text
    assert "Leave this computer on: the storage is being compared" in page

    facility.say(report(upload, differences=(MISSING,)))

    now = until(client, upload, lambda now: now["needs_person"])
    assert now["troubles"] == [
        (
            "1 file of this dataset is no longer on the storage as verified: a.dat is missing. "
            "Press Retry to upload files that are missing or have another size again."
        )
    ]
    page = client.get(f"/uploads/{upload}").text
    assert "Retry" in page
    assert "safe to switch" not in page
    facility.say(report(upload, "audit-0002"))
    until(client, upload, lambda now: not now["needs_person"] and not now["troubles"])


def test_a_difference_that_is_found_later_takes_the_word_complete_back(facility, scene) -> None:
    """In the receipt and on the page, until a look finds everything again."""
    client, upload = lived(facility, scene, complete=True)
    assert client.get(f"/api/v1/uploads/{upload}/receipt").json()["complete"]

    facility.say(report(upload, differences=(MISSING,)))

    now = until(client, upload, lambda now: now["troubles"])
    assert "a.dat is missing" in now["troubles"][0]
    receipt = client.get(f"/api/v1/uploads/{upload}/receipt").json()
    assert not receipt["complete"]
    assert "a.dat is missing" in receipt["doubts"][0]
    page = client.get(f"/uploads/{upload}").text
    assert "Keep the files on this computer" in page
    assert "It is safe" not in page
    facility.say(report(upload, "audit-0002"))
    until(client, upload, lambda now: not now["troubles"])
    receipt = client.get(f"/api/v1/uploads/{upload}/receipt").json()
    assert receipt["complete"]
    assert "Compared with the storage on" in client.get(f"/uploads/{upload}/receipt").text


def test_what_nobody_ordered_is_offered_to_be_accepted(facility, scene) -> None:
    """By a button; the station is told that a person accepts it."""
    client, upload = lived(facility, scene, complete=False)
    facility.say(report(upload, differences=(FOREIGN,)))
    until(client, upload, lambda now: now["needs_person"])
    assert "Complete anyway" in client.get(f"/uploads/{upload}").text

    client.post(f"/uploads/{upload}/audits", data={"accept": "true"})

    (asked,) = [client.get(f"/api/v1/uploads/{upload}/audits").json()["asked"]]
    assert asked["accept"]


def test_trouble_is_told_as_trouble_and_not_as_a_difference(facility, scene) -> None:
    """The storage could not be looked at: that says nothing about what lies there."""
    client, upload = lived(facility, scene, complete=False)

    facility.say(
        report(upload, trouble="The storage could not be compared with the manifest: it is away.", final=False)
    )

    now = until(client, upload, lambda now: now["troubles"])
    assert now["troubles"][0].endswith("it is away. It is retried automatically.")
    assert not now["needs_person"]


def test_old_datasets_are_compared_again_by_a_rule(open_facility, scene, monkeypatch) -> None:
    """When their last look is older than it may be; once, until there is an answer."""
    monkeypatch.setattr(service, "TURN_S", 0.05)
    facility = open_facility(audit_every=1e-6)
    _, upload = lived(facility, scene, complete=True)
    heard: list[AuditRequested] = []
    facility.bus.consume(transfer_queue(scene.STATION), lambda delivery: heard.append(delivery.event.data))

    (asked,) = eventually(lambda: [o for o in heard if isinstance(o, AuditRequested)], within_s=90, what="it is asked")

    assert (asked.upload_id, asked.requested_by.id) == (upload, "rule:audit_every")


def test_nothing_is_compared_before_anything_can_be_there(facility, scene) -> None:
    """It is said so."""
    client = facility.client("anna")
    upload = client.post("/api/v1/uploads", json=scene.wish()).json()["id"]

    assert client.post(f"/api/v1/uploads/{upload}/audits", json={}).json()["title"] == "Nothing to compare"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_latest_look_counts_in_whatever_order_it_is_heard(facility, scene, order) -> None:
    """The log is read again, and messages overtake each other."""
    client, upload = lived(facility, scene, complete=True)
    reports = [
        report(upload, f"audit-000{n}", looked=datetime(2026, 1, 1 + n, tzinfo=UTC), differences=(MISSING,) * (n < 2))
        for n in range(3)
    ]

    for number in order:
        facility.say(reports[number])

    def items() -> Any:
        found = client.get(f"/api/v1/uploads/{upload}/audits").json()["items"]
        return found if len(found) == 3 else None

    found = eventually(items, what="three audits are known")
    assert [one["audit"] for one in found] == ["audit-0002", "audit-0001", "audit-0000"]
    assert not client.get(f"/api/v1/uploads/{upload}").json()["troubles"]
