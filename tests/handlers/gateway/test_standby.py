"""Two gateways at one Redis: one serves, the other stands by and takes over."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from datauploader.runtime.service import Context
from datauploader_gateway.events import serving
from datauploader_gateway.projection import keys
from datauploader_gateway.service import GatewayService
from datauploader_testing.waiting import eventually


class Pair:
    """The gateway of a facility, and one more with a state file of its own."""

    def __init__(self, facility: Any, folder: Path) -> None:
        """Start the second one."""
        self.facility, self.folder = facility, folder
        self.folder.mkdir()
        self.second = self.start()

    def start(self) -> GatewayService:
        """Start a gateway on the second state."""
        common = self.facility.common.model_copy(update={"state_dir": self.folder})
        gateway = GatewayService(Context(common, self.facility.broker.bus("gateway")), self.facility.settings)
        gateway.start()
        return gateway

    def kill_first(self) -> None:
        """Let the first one do nothing more, and say nothing: as a machine that has lost its power."""
        lease = self.facility.gateway._lease
        lease.release = lambda: None
        self.facility.gateway.stop(5)

    def serves(self, gateway: GatewayService) -> dict[str, Any]:
        """Ask a gateway whether it serves, and see that the code says the same."""
        answer = httpx.get(f"{gateway.url}/health/serving", timeout=10)
        said: dict[str, Any] = answer.json()
        assert answer.status_code == (200 if said["serving"] else 503)
        return said


@pytest.fixture
def pair(open_facility: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make pairs whose lease is short."""
    monkeypatch.setattr(serving, "LEASE_S", 1)
    made: list[Pair] = []

    def make(facility: Any | None = None) -> Pair:
        made.append(Pair(facility or open_facility(), tmp_path / "second"))
        return made[-1]

    yield make
    for one in made:
        one.second.stop(5)


def test_a_second_gateway_says_that_another_one_serves_and_takes_no_event(pair: Any, scene: Any) -> None:
    """What it says tells a proxy where to send people, and a person why it waits."""
    both = pair()
    facility = both.facility
    assert both.serves(facility.gateway) == {"serving": True, "detail": ""}
    said = both.serves(both.second)
    assert not said["serving"]
    assert "another gateway serves" in said["detail"]
    view = next(check for check in both.second.checks() if check.name == "view")
    assert view.detail == said["detail"]
    client = facility.client("anna")
    upload = client.post("/api/v1/uploads", json=scene.wish()).json()["id"]
    for data in scene.life_of(upload, 2):
        facility.say(data)
    eventually(lambda: client.get(f"/api/v1/uploads/{upload}").json()["state"] == "completed")
    with both.second._store.reading() as db:
        assert not db.execute("SELECT * FROM wishes").fetchall()


def test_the_second_takes_over_and_knows_what_the_first_one_knew(pair: Any, scene: Any) -> None:
    """Sessions go on; what was asked for is said again, what was answered is not; the first one back stands by."""
    both = pair()
    facility = both.facility
    client = facility.client("anna")
    open_, over = (client.post("/api/v1/uploads", json=scene.wish(path=f"/data/{n}")).json()["id"] for n in "12")
    for data in scene.life_of(over, 1):
        facility.say(data)
    eventually(lambda: client.get(f"/api/v1/uploads/{over}").json()["state"] == "completed")
    both.kill_first()
    missed = scene.life_of(open_, 3)
    for data in missed[:-1]:
        facility.say(data)
    eventually(lambda: both.serves(both.second)["serving"], what="the second one serves")
    eventually(lambda: not both.second._store.needs_recovery, what="it has read the log")
    facility.say(missed[-1])
    there = httpx.Client(base_url=both.second.url, cookies=client.cookies, timeout=10)
    eventually(lambda: there.get(f"/api/v1/uploads/{open_}").json()["state"] == "completed")
    assert there.get(f"/api/v1/uploads/{over}").json()["counts"]["catalogued"]["files"] == 1
    knows = both.second._pending_requests.knows
    assert (knows(over, scene.STATION.key), knows(open_, scene.STATION.key)) == ("over", "over")
    facility.gateway = facility._gateway()
    facility.gateway.start()
    assert not both.serves(facility.gateway)["serving"]
    there.close()
    both.second.stop(5)
    eventually(lambda: both.serves(facility.gateway)["serving"], what="the first one serves again")
    facility.whole()
    assert facility.gateway._pending_requests.knows(open_, scene.STATION.key) == "over"
    both.second = both.start()


def test_a_gateway_that_starts_again_on_its_own_state_reads_no_log(pair: Any) -> None:
    """It holds the lease itself, also when it was killed."""
    both = pair()
    first = both.facility.gateway
    first._lease.release = lambda: None
    both.facility.again()
    assert both.serves(both.facility.gateway)["serving"]
    assert not both.facility.gateway._store.needs_recovery
    assert not both.serves(both.second)["serving"]


def test_the_lease_of_nobody_is_free_at_once(pair: Any) -> None:
    """A gateway that ends in order lets the other one serve without waiting for ten seconds."""
    both = pair()
    both.facility.gateway.stop(5)
    assert both.facility.redis().get(keys.SERVING) is None or both.serves(both.second)["serving"]
    eventually(lambda: both.serves(both.second)["serving"])
