"""The record of what people did: read by operators, by staff as far as it concerns their beamline, and searched."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datauploader_gateway.auth import audit_log


def lived(facility: Any, scene: Any) -> tuple[str, str]:
    """Let Anna ask for two uploads at two beamlines and pause one; return their ids."""
    anna = facility.client("anna")
    ids = [
        anna.post("/api/v1/uploads", json=scene.wish(station=station.key, kind="folder")).json()["id"]
        for station in (scene.STATION, scene.OTHER)
    ]
    assert anna.post(f"/api/v1/uploads/{ids[0]}/pause").status_code == 202
    assert anna.post("/api/v1/session", json=scene.credentials("<b>eve</b>", "x")).status_code == 401
    return ids[0], ids[1]


def read(client: Any, **asked: Any) -> list[dict[str, Any]]:
    """Return the entries that are found."""
    answer = client.get("/api/v1/audit", params=asked)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def test_an_operator_reads_who_did_what_when_and_from_where(facility: Any, scene: Any) -> None:
    """Newest first, with what it was about."""
    one, _ = lived(facility, scene)
    entries = read(facility.client("otto"))
    assert [entry["what"] for entry in entries[:3]] == ["signed in", "sign-in refused", "upload pause"]
    paused = entries[2]
    assert (paused["who"], paused["address"], paused["about"]) == ("7", "127.0.0.1", {"upload_id": one})
    assert datetime.now(UTC) - datetime.fromisoformat(paused["time"]) < timedelta(minutes=1)


def test_entries_are_found_by_words_person_and_time(facility: Any, scene: Any) -> None:
    """Everything that is asked must hold."""
    one, two = lived(facility, scene)
    otto = facility.client("otto")
    assert {entry["about"]["upload_id"] for entry in read(otto, text="Upload REQUESTED")} == {one, two}
    assert [entry["what"] for entry in read(otto, text=one, person="7")] == ["upload pause", "upload requested"]
    now = datetime.now(UTC)
    assert read(otto, until=(now - timedelta(hours=1)).isoformat()) == []
    assert read(otto, since=(now - timedelta(hours=1)).isoformat(), person="30")[0]["what"] == "signed in"
    assert otto.get("/api/v1/audit?after=x").status_code == 422


def test_pages_of_the_record_have_everything_once(facility: Any, scene: Any) -> None:
    """While new entries come."""
    lived(facility, scene)
    otto = facility.client("otto")
    whole, seen, after = read(otto), [], ""
    while after is not None:
        answer = otto.get("/api/v1/audit", params={"limit": 2, "after": after}).json()
        seen += answer["items"]
        after = answer["next"]
        facility.client("bruno")
    assert seen == whole


@pytest.mark.attack("S9")
def test_strangers_at_the_door_do_not_push_out_what_people_did(
    open_facility: Any, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused sign-ins are kept apart, and shown among the others."""
    monkeypatch.setattr(audit_log, "KEPT", 4)
    facility = open_facility()
    facility.client("anna")
    stranger = facility.client()
    for number in range(20):
        stranger.post("/api/v1/session", json=scene.credentials(f"eve{number}", "x"))
    found = [(entry["what"], entry["who"]) for entry in read(facility.client("otto"))]
    assert [what for what, _ in found] == ["signed in", *["sign-in refused"] * 4, "signed in"]


@pytest.mark.attack("S8", "S31")
def test_staff_read_what_concerns_their_beamline_and_users_nothing(facility: Any, scene: Any) -> None:
    """Nobody's sign-ins, no other beamline's uploads; on the page as over REST."""
    one, two = lived(facility, scene)
    assert {entry["about"].get("upload_id") for entry in read(facility.client("stella"))} == {one}
    page = facility.client("stella").get("/audit").text
    assert (one in page, two in page) == (True, False)
    for path in ("/api/v1/audit", "/audit"):
        assert facility.client("anna").get(path).status_code == 403
    assert "/audit" not in facility.client("anna").get("/history").text


def test_the_page_shows_the_record_as_text(facility: Any, scene: Any) -> None:
    """Whatever name a stranger signs in with; htmx gets the list alone."""
    lived(facility, scene)
    otto = facility.client("otto")
    page = otto.get("/audit").text
    assert "&lt;b&gt;eve&lt;/b&gt;" in page
    assert "<b>eve" not in page
    part = otto.get("/audit", params={"text": "pause"}, headers={"HX-Request": "true"}).text
    assert ("<html" in part, part.count("<tr>")) == (False, 2)
