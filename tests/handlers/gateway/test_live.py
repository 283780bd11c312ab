"""Live streams: everything comes, from where one was; they end with the upload, the session and the gateway."""

import itertools
import os
import time
from typing import Any

import pytest

from datauploader.contracts import TransferProgressed, UploadOpened, UploadScanned
from datauploader_gateway import redis_client
from datauploader_testing.waiting import eventually


def begin(facility: Any, scene: Any, name: str = "anna", **changes: Any) -> tuple[Any, str]:
    """Return a signed-in browser and the id of a new upload of theirs."""
    client = facility.client(name)
    return client, client.post("/api/v1/uploads", json=scene.wish(kind="folder", **changes)).json()["id"]


def test_a_stream_tells_an_upload_from_its_state_now_to_its_end(facility: Any, scene: Any) -> None:
    """First `upload`, then `files` as they go on, at last `end`; and the stream is closed."""
    client, upload_id = begin(facility, scene)
    stream = scene.Stream(client, f"/api/v1/uploads/{upload_id}/events")
    assert stream.wait_for("upload")["state"] == "requested"
    for data in scene.life_of(upload_id, 12):
        facility.say(data)
    assert stream.wait_for("end")["state"] == "completed"
    assert stream.ended.wait(5)
    told = [data for kind, _, data in stream.events if kind == "files"]
    assert {group["state"] for group in told} == {"ready", "verified", "catalogued"}
    assert all(group["files"] == 12 and len(group["paths"]) == 10 for group in told)


def test_a_stream_goes_on_where_it_was_interrupted(facility: Any, scene: Any) -> None:
    """With Last-Event-ID nothing is missing and nothing before it is repeated."""
    client, upload_id = begin(facility, scene)
    path = f"/api/v1/uploads/{upload_id}/events"
    opened, ready, *rest = scene.life_of(upload_id, 3)
    first = scene.Stream(client, path)
    first.wait_for("upload")
    facility.say(opened)
    facility.say(ready)
    first.wait_for("files")
    position = eventually(
        lambda: next((p for k, p, d in first.events if k == "upload" and d["counts"]["ready"]["files"]), "")
    )
    for data in rest:
        facility.say(data)
    eventually(lambda: client.get(f"/api/v1/uploads/{upload_id}").json()["over"])
    second = scene.Stream(client, path, after=position)
    assert second.ended.wait(10), second.events
    states = [data["state"] for kind, _, data in second.events if kind == "files"]
    assert states == ["verified", "catalogued"]
    assert second.kinds()[-1] == "end"


def test_a_stream_of_an_upload_that_is_over_says_so_and_ends(facility: Any, scene: Any) -> None:
    """Also for a browser that reconnects after the end."""
    client, upload_id = begin(facility, scene)
    for data in scene.life_of(upload_id, 1):
        facility.say(data)
    eventually(lambda: client.get(f"/api/v1/uploads/{upload_id}").json()["over"])
    stream = scene.Stream(client, f"/api/v1/uploads/{upload_id}/events")
    assert stream.ended.wait(5)
    again = scene.Stream(client, f"/api/v1/uploads/{upload_id}/events", after=stream.events[-1][1])
    assert again.ended.wait(5)
    assert again.kinds()[-1] == "end"


def test_the_stream_of_everything_shows_each_what_they_may_see(facility: Any, scene: Any) -> None:
    """Another user's uploads are not in it; an operator's has them, and stations."""
    anna, upload_id = begin(facility, scene)
    bruno, other_id = begin(facility, scene, "bruno")
    streams = {n: scene.Stream(c, "/api/v1/events") for n, c in
               (("anna", anna), ("bruno", bruno), ("otto", facility.client("otto")))}  # fmt: skip
    facility.say(scene.report())
    eventually(lambda: all("station" in s.kinds() for s in streams.values()))
    for mine in (upload_id, other_id):
        facility.say(scene.life_of(mine, 1)[0])
    eventually(lambda: {d["id"] for k, _, d in streams["otto"].events if k == "upload"} == {upload_id, other_id})
    eventually(lambda: {d["id"] for k, _, d in streams["anna"].events if k == "upload"} == {upload_id})
    eventually(lambda: {d["id"] for k, _, d in streams["bruno"].events if k == "upload"} == {other_id})


@pytest.mark.parametrize("path", ["/uploads/{}/live", "/live", "/api/v1/uploads/{}/events", "/api/v1/events"])
def test_a_stream_whose_browser_has_gone_is_let_go(facility: Any, scene: Any, path: str) -> None:
    """Nothing is kept for it; the gateway's own counter says so."""
    client, upload_id = begin(facility, scene)

    def streams() -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith("datauploader_gateway_streams ")).split()[1])

    before = streams()
    with client.stream("GET", path.format(upload_id), timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        eventually(lambda: streams() == before + 1, what="the stream is open")
    eventually(lambda: streams() == before, what="the stream is let go")


def test_a_stream_ends_with_its_session(facility: Any, scene: Any) -> None:
    """A revoked session is refused within about five seconds."""
    client, upload_id = begin(facility, scene)
    stream = scene.Stream(client, f"/api/v1/uploads/{upload_id}/events")
    stream.wait_for("upload")
    client.delete("/api/v1/session")
    assert stream.ended.wait(8)


@pytest.mark.attack("S7")
def test_a_stream_ends_when_its_person_may_see_less(facility: Any, scene: Any) -> None:
    """Staff who became a user see their own from then on; the browser comes back as that."""
    client = facility.client("stella")
    stream = scene.Stream(client, "/api/v1/events")
    accounts = facility.settings.accounts
    text = accounts.read_text()
    assert text.count('role = "staff"') == 1
    accounts.write_text(text.replace('role = "staff"', 'role = "user"'))
    os.utime(accounts, (time.time() - 60,) * 2)
    assert stream.ended.wait(8)


def test_a_busy_stream_ends_with_its_session_as_well(facility: Any, scene: Any) -> None:
    """Events that keep coming do not keep a revoked session alive."""
    client, upload_id = begin(facility, scene)
    stream = scene.Stream(client, f"/api/v1/uploads/{upload_id}/events")
    stream.wait_for("upload")
    client.delete("/api/v1/session")
    numbers = itertools.count()

    def ended_while_busy() -> bool:
        moved = TransferProgressed(upload_id=upload_id, waiting=next(numbers), bytes_per_s=1)
        facility.say(moved)
        return stream.ended.wait(0.1)

    eventually(ended_while_busy, within_s=10)
    assert "progress" in stream.kinds()


def test_a_stream_ends_when_nobody_can_say_whether_the_session_is_good(facility: Any, scene: Any) -> None:
    """Without Redis it fails closed; the browser comes back."""
    client, upload_id = begin(facility, scene)
    stream = scene.Stream(client, f"/api/v1/uploads/{upload_id}/events")
    stream.wait_for("upload")
    server = redis_client.memory_server(facility.redis_url)
    server.connected = False
    assert stream.ended.wait(8)
    server.connected = True


def test_the_gateway_stops_within_its_time_while_streams_are_open(facility: Any, scene: Any) -> None:
    """Open streams end at once instead of holding the stop."""
    client, upload_id = begin(facility, scene)
    streams = [scene.Stream(client, f"/api/v1/uploads/{upload_id}/events") for _ in range(5)]
    streams += [scene.Stream(client, "/api/v1/events") for _ in range(5)]
    began = time.monotonic()
    facility.gateway.stop(5)
    assert time.monotonic() - began < 5
    assert all(stream.ended.wait(5) for stream in streams)
    facility.gateway = facility._gateway()
    facility.gateway.start()


@pytest.mark.fault("F41")
def test_the_view_is_built_again_after_a_flush_while_uploads_go_on(facility: Any, scene: Any) -> None:
    """Everything is back from the event log, and what happens meanwhile is counted once."""
    client, upload_id = begin(facility, scene)
    opened, ready, sealed, stored, catalogued, completed = scene.life_of(upload_id, 100)
    for data in (opened, ready, sealed):
        facility.say(data)
    eventually(lambda: client.get(f"/api/v1/uploads/{upload_id}").json()["counts"]["ready"]["files"] == 100)
    facility.redis().flushall()
    facility.say(stored)
    assert client.get("/api/v1/me").status_code == 401  # sessions may be lost
    facility.whole()
    facility.say(catalogued)
    facility.say(completed)
    again = facility.client("anna")
    upload = eventually(lambda: (u := again.get(f"/api/v1/uploads/{upload_id}").json()).get("over") and u)
    assert (upload["state"], upload["counts"]["catalogued"]["files"]) == ("completed", 100)
    assert upload["counts"]["verified"] == {"files": 100, "bytes": 1000}


@pytest.mark.fault("F41")
@pytest.mark.fault("F57")
def test_a_station_that_falls_silent_is_told_everywhere_without_any_event(facility: Any, scene: Any) -> None:
    """On both pages, over REST and in a stream that was open before; transfer's reports hide nothing."""
    client, upload = begin(facility, scene, mode="sync")
    facility.say(UploadOpened(upload_id=upload))
    facility.say(UploadScanned(upload_id=upload, files=0, bytes=0, settling=0, left_out=0))
    facility.say(scene.report(interval_s=1))
    eventually(lambda: "Everything written so far is stored" in client.get(f"/uploads/{upload}").text, what="the claim")
    stream = scene.Stream(client, f"/api/v1/uploads/{upload}/events")

    def silent_in_the_stream() -> bool:
        facility.say(scene.report("transfer", interval_s=10))
        return any(said["station_silent_since"] for kind, _, said in stream.events if kind == "upload")

    eventually(silent_in_the_stream, what="the silence in the stream", within_s=30)
    for page in (f"/uploads/{upload}", "/"):
        text = client.get(page).text
        assert "The station has not reported since <time datetime=" in text
        assert "Files written after that are not known here" in text
        assert "Everything written so far is stored" not in text
    told = client.get(f"/api/v1/uploads/{upload}").json()
    assert told["station_silent_since"] is not None
    facility.say(scene.report(interval_s=10))
    eventually(lambda: client.get(f"/api/v1/uploads/{upload}").json()["station_silent_since"] is None, what="its voice")


@pytest.mark.fault("F57")
def test_pages_say_that_the_view_is_being_read_until_it_is_whole(facility: Any, scene: Any) -> None:
    """What they show meanwhile is an earlier state, told as that; the notice asks again by itself until it is over."""
    begin(facility, scene)
    with facility.broker.changed:  # nothing of the log is read as long as this is held
        facility.redis().flushall()
        client = facility.client("anna")
        eventually(lambda: "loading its history" in client.get("/").text, what="the notice")
        assert "Numbers may be out of date" in client.get("/history").text
        assert 'hx-trigger="every 3s"' in client.get("/old-view").text
    facility.whole()
    eventually(lambda: "hidden" in client.get("/old-view").text, what="the end of the notice")
    assert "loading its history" not in client.get("/").text


def test_events_wait_in_their_queue_while_redis_is_away(facility: Any, scene: Any) -> None:
    """Nothing is lost and nothing is parked; the view catches up by itself."""
    client, upload_id = begin(facility, scene)
    server = redis_client.memory_server(facility.redis_url)
    server.connected = False
    eventually(lambda: not facility.gateway.checks()[1].ok)
    for data in scene.life_of(upload_id, 20):
        facility.say(data)
    server.connected = True
    upload = eventually(lambda: (u := client.get(f"/api/v1/uploads/{upload_id}").json()).get("over") and u)
    assert upload["counts"]["catalogued"]["files"] == 20
