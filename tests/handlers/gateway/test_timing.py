"""Where the time of an upload's files goes: over REST and on its page."""

from typing import Any

from datauploader.contracts import FileReady, FileStored
from datauploader_testing.waiting import eventually


def test_an_upload_says_where_its_time_went(facility: Any, scene: Any) -> None:
    """Over REST and as a part of the page; before anything is known, that is said; nobody sees another's."""
    anna, bruno = facility.client("anna"), facility.client("bruno")
    upload = anna.post("/api/v1/uploads", json=scene.wish(mode="batch")).json()["id"]
    address = f"/api/v1/uploads/{upload}/timing"
    assert anna.get(address).json() == {"steps": []}
    assert "Nothing is known of this upload" in anna.get(f"/uploads/{upload}/timing").text
    for data in scene.life_of(upload, 3):
        facility.say(data)
    eventually(lambda: len(anna.get(address).json()["steps"]) == 3, what="all steps are known")
    steps = anna.get(address).json()["steps"]
    assert [(one["step"], one["files"]) for one in steps] == [("stored", 3), ("registered", 3), ("shown", 3)]
    assert all(0 <= one["p50_s"] <= one["p95_s"] <= one["max_s"] < 60 for one in steps)
    part = anna.get(f"/uploads/{upload}/timing").text
    assert all(word in part for word in ("Moved and verified", "Registered", "Shown", "Half within"))
    assert "Where the time goes" in anna.get(f"/uploads/{upload}").text
    for path in (address, f"/uploads/{upload}/timing"):
        assert bruno.get(path).status_code == 404


def test_a_view_that_is_built_again_tells_the_same_steps(facility: Any, scene: Any) -> None:
    """All but when it was shown, which no event says."""
    anna = facility.client("anna")
    upload = anna.post("/api/v1/uploads", json=scene.wish(mode="sync")).json()["id"]

    def steps(client: Any) -> dict[str, Any]:
        return {one["step"]: one for one in client.get(f"/api/v1/uploads/{upload}/timing").json().get("steps", ())}

    for data in scene.life_of(upload, 3):
        facility.say(data)
    eventually(lambda: len(steps(anna)) == 4, what="all steps are known")
    before = steps(anna)
    facility.redis().flushall()
    again = facility.client("anna")
    eventually(lambda: "registered" in steps(again), what="the view is built again")
    assert steps(again) == {name: step for name, step in before.items() if name != "shown"}


def test_what_station_and_transfer_say_of_their_steps_is_told(facility: Any, scene: Any) -> None:
    """Over REST and on the page, in the order in which a file goes through them."""
    anna = facility.client("anna")
    upload = anna.post("/api/v1/uploads", json=scene.wish(mode="sync")).json()["id"]
    said: dict[type, dict[str, Any]] = {FileReady: {"seen_ms": (900, 1000, 1100)}, FileStored: {"proof_ms": 0}}
    for data in scene.life_of(upload, 3):
        facility.say(data.model_copy(update=said.get(type(data), {})))
    address = f"/api/v1/uploads/{upload}/timing"
    eventually(lambda: len(anna.get(address).json()["steps"]) == 6, what="all steps are known")
    steps = [one["step"] for one in anna.get(address).json()["steps"]]
    assert steps == ["seen", "announced", "moved", "verified", "registered", "shown"]
    part = anna.get(f"/uploads/{upload}/timing").text
    places = [part.find(f">{word}<") for word in ("Seen", "Found finished", "Moved", "Verified", "Registered", "Shown")]
    assert -1 not in places
    assert places == sorted(places)
