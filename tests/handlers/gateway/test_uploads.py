"""Uploads over REST: asked for, refused with reasons, listed, looked into, steered; nobody sees what is another's."""

import json
from typing import Any

import pytest

from datauploader.contracts import (
    DatasetPartlyRefused,
    ExtractedFile,
    FailedFile,
    FileFailed,
    FileLeftOut,
    FileVersion,
    LeftOutFile,
    MetadataExtracted,
    RefusedFile,
    UploadControlled,
    UploadRequested,
)
from datauploader.contracts.envelope import LARGEST, encode
from datauploader.contracts.names import display, pack
from datauploader.messaging.port import Delivery
from datauploader.messaging.topology import harvester_queue, watcher_queue
from datauploader_gateway.http.middleware import LARGEST_BODY
from datauploader_testing.waiting import eventually


def heard(facility: Any) -> list[Any]:
    """Listen to everything that is said from now on."""
    events: list[Any] = []

    def keep(delivery: Delivery) -> None:
        events.append(delivery.event)

    facility.bus.consume(harvester_queue("test", ["*.*.*.upload.*.v1"]), keep)
    return events


def test_an_upload_is_asked_for_and_the_station_hears_of_it(facility: Any, scene: Any) -> None:
    """201 with the upload, and `upload.requested` under the station's address in the request's trace."""
    events = heard(facility)
    answer = facility.client("anna").post(
        "/api/v1/uploads",
        json=scene.wish(exclude=["*.tmp"], mode="sync", idle_close_s=60),
        headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"},
    )
    assert answer.status_code == 201, answer.text
    upload = answer.json()
    assert (upload["state"], upload["location"], upload["remote"]) == ("requested", "100/scan1", "archive")
    assert answer.headers["location"] == f"/api/v1/uploads/{upload['id']}"
    event = eventually(lambda: events and events[0])
    assert isinstance(event.data, UploadRequested)
    assert event.routing_key == "elettra.xrd1.ws01.upload.requested.v1"
    assert (event.data.root, event.data.sources, event.data.exclude) == ("/data/scan1", (".",), ("*.tmp",))
    assert (event.data.requested_by.id, event.trace_id) == ("7", "ab" * 16)


def test_a_file_becomes_its_folder_and_one_source(facility: Any, scene: Any) -> None:
    """The station is asked what the path is."""
    events = heard(facility)
    facility.client("anna").post("/api/v1/uploads", json=scene.wish(path="/data/one.nxs"))
    data = eventually(lambda: events and events[0]).data
    assert (data.root, data.sources) == ("/data", ("one.nxs",))


def test_a_windows_path_is_understood(facility: Any, scene: Any) -> None:
    """Drive and backslashes."""
    events = heard(facility)
    body = scene.wish(path=r"C:\data\one.nxs", kind="file")
    assert facility.client("anna").post("/api/v1/uploads", json=body).status_code == 201
    data = eventually(lambda: events and events[0]).data
    assert (data.root, data.sources) == ("C:\\data", ("one.nxs",))


def test_the_catalogue_says_where_the_data_belong(facility: Any, scene: Any) -> None:
    """The investigation's base directory comes before the template of the configuration."""
    facility.catalogue.base_dir = "xrd1/20250001"
    upload = facility.client("anna").post("/api/v1/uploads", json=scene.wish()).json()
    assert upload["location"] == "xrd1/20250001/scan1"


@pytest.mark.attack("S17", "S19")
@pytest.mark.parametrize(
    ("changes", "status", "word", "says"),
    [
        ({"investigation": "999"}, 403, "not-allowed", "user 7 is not on proposal 999"),
        ({"remote": "tape"}, 422, "unknown-remote", "there are: archive"),
        ({"remote": ":local:/etc"}, 422, "unknown-remote", "there are: archive"),
        ({"station": "elettra.xrd1.ws99"}, 422, "unknown-station", "elettra.xrd1.ws01"),
        ({"station": "#"}, 422, "unknown-station", "facility.beamline.station"),
        ({"dataset": {"name": "../up"}}, 422, "bad-name", "must not contain"),
        ({"dataset": {"name": "con"}}, 422, "bad-name", "reserved"),
        ({"path": "data/scan1"}, 422, "bad-path", "not an absolute path"),
        ({"path": "/data/../etc"}, 422, "bad-path", "'..'"),
        ({"sources": ["../x"]}, 422, "bad-path", "below the path"),
        ({"mode": "often"}, 422, "invalid-request", "mode"),
        ({"surprise": 1}, 422, "invalid-request", "surprise"),
        ({"quiet_period_s": -1}, 422, "invalid-request", "quiet_period_s"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    facility: Any, scene: Any, changes: dict[str, Any], status: int, word: str, says: str
) -> None:
    """A problem of a stable type with a sentence, and nothing is published."""
    client = facility.client("anna")
    answer = client.post("/api/v1/uploads", json=scene.wish(**changes))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert problem["type"] == f"https://datauploader.ceric.eu/problems/{word}"
    assert says in problem["detail"]
    assert set(problem) >= {"title", "status", "detail", "hint", "trace_id"}
    assert client.get("/api/v1/uploads").json()["items"] == []


def test_while_the_catalogue_is_silent_nothing_is_begun(facility: Any, scene: Any) -> None:
    """Silence is no permission."""
    facility.broker.answerers.clear()
    answer = facility.client("anna").post("/api/v1/uploads", json=scene.wish(kind="folder"))
    assert (answer.status_code, answer.json()["type"][-14:]) == (503, "catalogue-away")


@pytest.mark.attack("S25")
def test_a_body_without_end_is_cut_off(facility: Any) -> None:
    """With and without a length."""
    client = facility.client("anna")
    said = client.post("/api/v1/uploads", content=b"x" * 2_000_000)
    assert (said.status_code, said.json()["type"][-9:]) == (413, "too-large")
    unsaid = client.post("/api/v1/uploads", content=(b"x" * 100_000 for _ in range(20)))
    assert unsaid.status_code == 413


def test_the_same_key_makes_one_upload(facility: Any, scene: Any) -> None:
    """Repeated it answers with the first; with another body it is a conflict; another person has their own keys."""
    events = heard(facility)
    client, key = facility.client("anna"), {"Idempotency-Key": "k1"}
    first = client.post("/api/v1/uploads", json=scene.wish(), headers=key).json()
    again = client.post("/api/v1/uploads", json=scene.wish(), headers=key)
    assert (again.status_code, again.json()["id"]) == (201, first["id"])
    other = client.post("/api/v1/uploads", json=scene.wish(mode="sync"), headers=key)
    assert (other.status_code, other.json()["type"][-22:]) == (409, "idempotency-key-reused")
    bruno = facility.client("bruno").post("/api/v1/uploads", json=scene.wish(), headers=key).json()
    assert bruno["id"] != first["id"]
    eventually(lambda: len(events) == 2)


def test_a_request_survives_a_broker_that_does_not_take_it_and_a_restart(facility: Any, scene: Any) -> None:
    """It waits in the outbox, is shown meanwhile, and goes out when the station's queue is there."""
    facility.broker.delete(watcher_queue(scene.STATION))
    client = facility.client("anna")
    upload_id = client.post("/api/v1/uploads", json=scene.wish(kind="folder")).json()["id"]
    assert client.get(f"/api/v1/uploads/{upload_id}").json()["state"] == "requested"
    eventually(lambda: not facility.gateway.checks()[2].ok)
    facility.again()
    events: list[Any] = []
    facility.broker.declare(watcher_queue(scene.STATION))
    facility.bus.consume(watcher_queue(scene.STATION), lambda delivery: events.append(delivery.event))
    assert eventually(lambda: events and events[0]).data.upload_id == upload_id


def named(events: list[Any]) -> list[bytes]:
    """Return the files that steering has named."""
    return [file.raw for event in events if isinstance(event.data, UploadControlled) for file in event.data.files]


def test_a_retry_of_many_long_names_is_said_in_several_events(facility: Any, scene: Any) -> None:
    """A name of raw bytes takes five times its length: no event is above 64 KiB, and each file is named once."""
    client = facility.client("anna")
    upload_id = client.post("/api/v1/uploads", json=scene.wish(kind="folder")).json()["id"]
    events = heard(facility)
    raws = [b"%03d/" % number + b"\xff" * 600 for number in range(60)]
    files = [{"path": display(raw), "path_b64": pack(raw)} for raw in raws]
    assert client.post(f"/api/v1/uploads/{upload_id}/retry", json={"files": files}).status_code == 202
    eventually(lambda: len(named(events)) == 60, what="all files are named")
    assert sorted(named(events)) == raws
    assert max(len(encode(event)) for event in events) <= LARGEST


def test_a_request_that_no_message_holds_is_refused(facility: Any, scene: Any) -> None:
    """Before anything is kept, with what to do instead; a thousand folders are not too many."""
    client, as_json = facility.client("anna"), {"Content-Type": "application/json"}

    def ask(longest: int) -> Any:
        asked = scene.wish(kind="folder", sources=["語" * longest] * 1000)
        body = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode()
        room = LARGEST_BODY - len(body)
        asked["exclude"] = ["x" * 500] * min(100, room // 503)
        body = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(body) < LARGEST_BODY
        return client.post("/api/v1/uploads", content=body, headers=as_json)

    assert ask(300).status_code == 201
    refused = ask(348)
    assert refused.status_code == 422
    assert "have room" in refused.text or "has room" in refused.text


@pytest.mark.attack("S8")
def test_nobody_sees_what_is_anothers(facility: Any, scene: Any) -> None:
    """404 on every route for another user; staff of the beamline and operators see it."""
    mine = facility.client("anna").post("/api/v1/uploads", json=scene.wish()).json()["id"]
    there = facility.client("anna").post("/api/v1/uploads", json=scene.wish(station=scene.OTHER.key)).json()["id"]
    bruno, stella, otto = (facility.client(name) for name in ("bruno", "stella", "otto"))
    for path in ("", "/files", "/left-out", "/events"):
        assert bruno.get(f"/api/v1/uploads/{mine}{path}").status_code == 404
    for action in ("close", "pause", "resume", "cancel", "retry"):
        assert bruno.post(f"/api/v1/uploads/{mine}/{action}").status_code == 404
    seen = {name: {u["id"] for u in c.get("/api/v1/uploads").json()["items"]} for name, c in
            (("bruno", bruno), ("stella", stella), ("otto", otto))}  # fmt: skip
    assert seen == {"bruno": set(), "stella": {mine}, "otto": {mine, there}}
    assert stella.get(f"/api/v1/uploads/{there}").status_code == 404


def test_the_list_is_paged_and_filtered_newest_first(facility: Any, scene: Any) -> None:
    """Two pages without gap or repetition; filters by station, investigation and state."""
    client = facility.client("anna")
    made = [
        client.post("/api/v1/uploads", json=scene.wish(investigation=i, kind="folder")).json()["id"]
        for i in ("100", "200", "100", "100", "200")
    ]
    first = client.get("/api/v1/uploads", params={"limit": 3}).json()
    second = client.get("/api/v1/uploads", params={"limit": 3, "after": first["next"]}).json()
    assert [u["id"] for u in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None
    filtered = client.get("/api/v1/uploads", params={"investigation": "200", "state": "requested"}).json()["items"]
    assert {u["id"] for u in filtered} == {made[1], made[4]}
    assert client.get("/api/v1/uploads", params={"station": scene.OTHER.key}).json()["items"] == []
    assert client.get("/api/v1/uploads", params={"after": "???"}).status_code == 422


def test_an_upload_is_followed_to_its_end(facility: Any, scene: Any) -> None:
    """What the services say becomes state, counts and links."""
    client = facility.client("anna")
    upload_id = client.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    for data in scene.life_of(upload_id, 250):
        facility.say(data)
    upload = eventually(lambda: (u := client.get(f"/api/v1/uploads/{upload_id}").json())["over"] and u)
    assert (upload["state"], upload["dataset_url"]) == ("completed", "https://vuo/d1")
    assert upload["counts"]["catalogued"] == {"files": 250, "bytes": 2500}
    assert upload["counts"]["verified"] == upload["counts"]["found"] == {"files": 250, "bytes": 2500}
    assert client.post(f"/api/v1/uploads/{upload_id}/pause").status_code == 409


def test_files_are_paged_with_failed_ones_first(facility: Any, scene: Any) -> None:
    """Failed, then ready, by path; names of any bytes; what is left out has its own list."""
    client = facility.client("anna")
    upload_id = client.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    odd = FileVersion.of(b"z\xff\n<b>.tif", size=1, mtime_ns=1, sha256="1" * 64, revision=1)
    bad = FailedFile(file=odd, reason="conflict", detail="another file is there", hint="Rename it.", final=True)
    facility.say(scene.life_of(upload_id, 5)[1])
    facility.say(FileFailed(upload_id=upload_id, files=(bad,)))
    out = tuple(LeftOutFile(path=f"{n}.tmp", reason="excluded", detail="*.tmp") for n in range(3))
    facility.say(FileLeftOut(upload_id=upload_id, files=out))
    address = f"/api/v1/uploads/{upload_id}"
    eventually(lambda: client.get(address).json()["left_out"] == 3)
    pages, after = [], ""
    while after is not None:
        page = client.get(f"{address}/files", params={"limit": 2, "after": after}).json()
        pages += page["items"]
        after = page["next"]
    assert [f["state"] for f in pages] == ["failed", *["ready"] * 5]
    assert (pages[0]["path_b64"], pages[0]["reason"], pages[0]["hint"]) == (
        "ev8KPGI+LnRpZg==",
        "conflict",
        "Rename it.",
    )
    assert [f["path"] for f in pages[1:]] == [f"f{n:05d}.tif" for n in range(5)]
    assert len(client.get(f"{address}/files", params={"state": "failed"}).json()["items"]) == 1
    first = client.get(f"{address}/left-out", params={"limit": 2}).json()
    rest = client.get(f"{address}/left-out", params={"after": first["next"]}).json()
    assert [f["path"] for f in first["items"] + rest["items"]] == ["0.tmp", "1.tmp", "2.tmp"]


def test_steering_is_passed_on_and_shown_at_once(facility: Any, scene: Any) -> None:
    """`upload.controlled` names the action and the person."""
    events = heard(facility)
    client = facility.client("anna")
    upload_id = client.post("/api/v1/uploads", json=scene.wish(mode="sync")).json()["id"]
    paused = client.post(f"/api/v1/uploads/{upload_id}/pause")
    assert (paused.status_code, paused.json()["paused"]) == (202, True)
    assert client.post(f"/api/v1/uploads/{upload_id}/resume").json()["paused"] is False
    assert client.post(f"/api/v1/uploads/{upload_id}/close").json()["closing"] is True
    assert client.post(f"/api/v1/uploads/{upload_id}/explode").status_code == 422
    eventually(lambda: len(events) == 4)
    steered = [e.data for e in events if isinstance(e.data, UploadControlled)]
    assert [(d.action, d.requested_by.id) for d in steered] == [("pause", "7"), ("resume", "7"), ("close", "7")]


def test_what_people_did_is_on_record(facility: Any, scene: Any) -> None:
    """Who, what, from where."""
    client = facility.client("anna")
    upload_id = client.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    client.post(f"/api/v1/uploads/{upload_id}/cancel")
    entries = [entry for _, entry in facility.redis().xrange("datauploader:audit")]
    assert [e[b"what"] for e in entries] == [b"signed in", b"upload requested", b"upload cancel"]
    assert {(e[b"who"], e[b"address"]) for e in entries} == {(b"7", b"127.0.0.1")}


def test_stations_show_who_is_silent_and_what_lies_in_their_folders(facility: Any, scene: Any) -> None:
    """A report makes a station speak; none, or old ones, make it silent."""
    client = facility.client("anna")
    facility.say(scene.report(backlog_files=3))
    listed = eventually(
        lambda: [s for s in client.get("/api/v1/stations").json()["items"] if s["station"] == scene.STATION.key
                 and s["services"]]
    )  # fmt: skip
    assert (listed[0]["silent"], listed[0]["services"][0]["backlog_files"]) == (False, 3)
    silent = {s["station"]: s["silent"] for s in client.get("/api/v1/stations").json()["items"]}
    assert silent[scene.OTHER.key] is True
    folder = client.get(f"/api/v1/stations/{scene.STATION.key}/folders", params={"path": "/data"}).json()
    assert [e["name"] for e in folder["entries"]] == ["scan1", "one.nxs"]
    refused = client.get(f"/api/v1/stations/{scene.STATION.key}/folders", params={"path": "/etc"})
    assert (refused.status_code, refused.json()["detail"]) == (403, "/etc is not below a root of this station")
    facility.broker.answerers.pop(f"watcher.questions.{scene.STATION.key}")
    away = client.get(f"/api/v1/stations/{scene.STATION.key}/folders")
    assert (away.status_code, away.json()["type"][-14:]) == (504, "station-silent")


def test_choices_are_listed(facility: Any) -> None:
    """Investigations come from the catalogue, remotes from the configuration."""
    client = facility.client("anna")
    assert client.get("/api/v1/investigations").json()["items"][0]["title"] == "Thin films"
    assert client.get("/api/v1/remotes").json() == {"items": [{"name": "archive"}], "default": "archive"}


@pytest.mark.fault("F59")
def test_what_is_not_taken_is_shown_at_its_file_and_counted(facility: Any, scene: Any) -> None:
    """REST and page alike: a refused datafile as failed, refused or unread metadata as a remark."""
    client = facility.client("anna")
    upload = client.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    one, two, three = scene.versions(3)
    for data in scene.life_of(upload, 3)[:4]:
        facility.say(data)
    word = "VUO's database refuses a value: 'ORA-12899: value too large for column'."
    refused = RefusedFile(file=one, what="datafile", detail=word, hint="Rename it.")
    untaken = RefusedFile(file=two, what="metadata", harvester="nexus", detail=word)
    facility.say(DatasetPartlyRefused(upload_id=upload, files=(refused, untaken)))
    unread = ExtractedFile(file=three, problem="it is no HDF5 file")
    facility.say(MetadataExtracted(upload_id=upload, harvester="nexus", files=(unread,)))

    def found() -> Any:
        items = client.get(f"/api/v1/uploads/{upload}/files").json()["items"]
        return items if len([item for item in items if item["metadata_problem"]]) == 2 else None

    items = {item["path"]: item for item in eventually(found, what="both remarks are there")}
    assert [items[one.path][key] for key in ("state", "proof", "reason")] == ["failed", "verified", "catalogue-refuses"]
    assert items[one.path]["detail"] == word
    assert items[two.path]["metadata_problem"] == word
    assert items[three.path]["metadata_problem"] == "it is no HDF5 file"
    shown = client.get(f"/api/v1/uploads/{upload}").json()
    assert shown["counts"]["metadata_lacks"]["files"] == 2
    assert shown["counts"]["failed"]["files"] == 1
    page = client.get(f"/uploads/{upload}").text
    assert page.count("value too large for column") >= 2
    assert "Metadata: It is no HDF5 file" in page
    assert "<dt>Metadata not accepted</dt><dd>1</dd>" in page
    assert "<dt>Metadata not read</dt><dd>1 " in page
