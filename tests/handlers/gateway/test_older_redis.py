"""Redis goes back behind what it was: the view is built again, and what was taken back stays taken back (F53)."""

from collections.abc import Callable
from typing import Any

import pytest

from datauploader_gateway.projection import keys, view_format
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.fault("F53")


def copy_of(redis: Any) -> dict[bytes, tuple[bytes, int]]:
    """Take a copy of everything, with how long it lasts."""
    return {key: (redis.dump(key), max(0, redis.pttl(key))) for key in redis.keys("*")}


def put_back(redis: Any, copy: dict[bytes, tuple[bytes, int]]) -> None:
    """Have Redis hold a copy again, and nothing else."""
    redis.flushall()
    for key, (value, lasts_ms) in copy.items():
        redis.restore(key, lasts_ms, value)


def state(client: Any, upload_id: str) -> str:
    """Return how an upload is, as its person is told."""
    return str(client.get(f"/api/v1/uploads/{upload_id}").json().get("state"))


def completed(client: Any, upload_id: str) -> None:
    """Wait until it is complete."""
    eventually(lambda: state(client, upload_id) == "completed", what="the upload is complete")


def test_a_redis_that_becomes_older_while_the_gateway_runs_is_built_again(facility: Any, scene: Any) -> None:
    """An upload that was completed since the copy is complete again, by itself, and nobody stays open for ever."""
    anna, redis = facility.client("anna"), facility.redis()
    upload_id = anna.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    life = scene.life_of(upload_id, 3)
    for data in life[:3]:
        facility.say(data)
    eventually(lambda: state(anna, upload_id) == "sealed", what="the upload is sealed")
    copy = copy_of(redis)
    for data in life[3:]:
        facility.say(data)
    completed(anna, upload_id)
    put_back(redis, copy)
    completed(anna, upload_id)
    assert anna.get(f"/api/v1/uploads/{upload_id}").json()["counts"]["catalogued"]["files"] == 3


def test_a_redis_that_became_older_while_the_gateway_was_down_is_built_again(facility: Any, scene: Any) -> None:
    """Its state file remembers how far Redis had come."""
    anna, redis = facility.client("anna"), facility.redis()
    upload_id = anna.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    copy = copy_of(redis)
    for data in scene.life_of(upload_id, 3):
        facility.say(data)
    completed(anna, upload_id)
    facility.gateway.stop(5)
    put_back(redis, copy)
    facility.gateway = facility._gateway()
    facility.gateway.start()
    completed(facility.client("anna"), upload_id)


def test_what_a_power_cut_took_from_redis_and_from_the_state_file_alike_is_read_again(
    facility: Any, scene: Any
) -> None:
    """No number tells, so the latest minutes of the log are read at each start."""
    anna, redis = facility.client("anna"), facility.redis()
    upload_id = anna.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    for data in scene.life_of(upload_id, 3):
        facility.say(data)
    completed(anna, upload_id)
    facility.gateway.stop(5)
    redis.hdel(keys.upload(upload_id), "r:completed")
    facility.gateway = facility._gateway()
    facility.gateway.start()
    completed(facility.client("anna"), upload_id)


def test_who_signed_out_stays_signed_out_and_a_revoked_token_stays_revoked(facility: Any) -> None:
    """They are remembered beside Redis, and taken back once more when it is found older."""
    anna, bruno, redis = facility.client("anna"), facility.client("bruno"), facility.redis()
    token = anna.post("/api/v1/tokens", json={"name": "script", "days": 1}).json()
    other = anna.post("/api/v1/tokens", json={"name": "kept", "days": 1}).json()
    cookies = dict(anna.cookies)
    copy = copy_of(redis)
    assert anna.delete(f"/api/v1/tokens/{token['id']}").status_code < 300
    assert anna.delete("/api/v1/session").status_code < 300
    assert facility.client("otto").post("/api/v1/people/8/sign-out").status_code < 300
    put_back(redis, copy)
    behind = facility.client()
    behind.cookies.update(cookies)

    def status(client: Any, **headers: str) -> int:
        return int(client.get("/api/v1/uploads", headers=headers).status_code)

    bearer = {"Authorization": f"Bearer {token['token']}"}
    eventually(lambda: status(behind) == 401, what="the session is over again")
    eventually(lambda: status(facility.client(), **bearer) == 401, what="the token is worthless again")
    eventually(lambda: status(bruno) == 401, what="who was signed out by an operator still is")
    kept = {"Authorization": f"Bearer {other['token']}"}
    assert status(facility.client(), **kept) == 200


@pytest.mark.redis
@pytest.mark.fault("F57")
def test_a_full_redis_is_called_full_and_what_is_shown_is_called_old(
    open_facility: Callable[..., Any], redis_server: Any, scene: Any
) -> None:
    """Health, page and sign-in say so; people can still sign in, because the view leaves room for that."""
    redis_server.command("FLUSHALL")
    facility = open_facility(redis_server.address.url)
    anna, redis = facility.client("anna"), facility.redis()
    upload_id = anna.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    redis.config_set("maxmemory-policy", "noeviction")
    junk = [f"datauploader:junk:{n}" for n in range(200)]
    for key in junk:
        redis.set(key, b"x" * 100_000)
    redis.connection_pool.disconnect()
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / 0.94))
    try:
        eventually(lambda: "full" in facility.client().get("/health/ready").text, what="health says that Redis is full")
        assert facility.client().get("/health/ready").status_code == 503
        for data in scene.life_of(upload_id, 3):
            facility.say(data)
        page = facility.client("bruno").get("/", headers={"Accept": "text/html"}).text
        assert "This status is" in page
        assert "Redis is full" in page
        redis.config_set("maxmemory", 10_000_000)
        eventually(lambda: "is full" in _sign_in(facility, scene).text, what="the sign-in says why it cannot be")
    finally:
        redis.config_set("maxmemory", 0)
    completed(anna, upload_id)
    redis.delete(*junk)
    eventually(lambda: facility.client().get("/health/ready").status_code == 200, what="all is well")
    assert "This status is" not in facility.client("anna").get("/", headers={"Accept": "text/html"}).text


def _sign_in(facility: Any, scene: Any) -> Any:
    return facility.client().post("/api/v1/session", json=scene.credentials("bruno"))


@pytest.mark.parametrize("later", [True, False], ids=["a later release", "an earlier release"])
def test_a_view_that_another_release_wrote_is_read_or_built_again(facility: Any, scene: Any, later: bool) -> None:
    """What a later one wrote may be unreadable and is removed; an earlier one's is kept. People stay signed in."""
    anna, redis = facility.client("anna"), facility.redis()
    upload_id = anna.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    for data in scene.life_of(upload_id, 3):
        facility.say(data)
    completed(anna, upload_id)
    facility.gateway.stop(5)
    redis.set(keys.FORMAT, view_format.NUMBER + (1 if later else -1))
    redis.hset(keys.files(upload_id), b"of another release", b"\xff\xffwhat nobody here can read")
    facility.gateway = facility._gateway()
    facility.gateway.start()
    facility.whole()
    anna.base_url, anna.headers["Origin"] = facility.gateway.url, facility.gateway.url
    completed(anna, upload_id)
    assert bool(redis.hexists(keys.files(upload_id), b"of another release")) is not later
    assert int(redis.get(keys.FORMAT)) == view_format.NUMBER
