"""F40: each service dies at every step where a crash separates two effects, begins again, and nothing is amiss."""

import ast
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import datauploader
from datauploader.contracts import DatasetSpec, Destination, Event, Person, UploadControlled, UploadRequested
from datauploader.messaging import connect
from datauploader.messaging.topology import transfer_queue
from datauploader_gateway.projection import keys
from datauploader_sandbox.campaign import Record
from datauploader_sandbox.detector.ledger import Ledger
from datauploader_testing.waiting import eventually
from datauploader_transfer.domain.leftovers import BESIDE

from .conftest import HERE, Case, Stage
from .dying import Dying

REPOSITORY = Path(datauploader.__file__).parents[3]


def usual(dying: Dying) -> None:
    """An upload is asked for, written and closed; the service dies somewhere on the way."""
    dying.arm()
    dying.request()
    dying.write()
    dying.close()
    dying.revive()
    dying.judge()


def releasing(dying: Dying) -> None:
    """The upload removes local copies when its dataset is complete; in the end none is left, and that is told."""
    dying.arm()
    dying.request(delete_after=True)
    dying.write()
    dying.close()
    dying.revive()
    dying.judge()
    eventually(lambda: not dying.remaining(), within_s=60, what="the local copies are gone")
    files = dying.written()
    dying.run.until(dying.upload, lambda status: status.counts.released.files == files, "all are told to be gone", 60)


def describing(dying: Dying) -> None:
    """Somebody describes the dataset while it is uploaded; in the end the catalogue has the words, once each."""
    dying.arm()
    dying.request()
    address = f"{dying.run.facility.url}/api/v1/uploads/{dying.upload}/dataset"
    words = {"description": f"about {dying.dataset}", "parameters": [{"name": "energy", "value": 8.5, "units": "keV"}]}
    headers = {"Authorization": f"Bearer {dying.run.token}"}
    httpx.patch(address, json=words, headers=headers, timeout=30).raise_for_status()
    dying.write()
    dying.close()
    dying.revive()
    dying.judge()

    def told() -> bool:
        said = httpx.get(address, headers=headers, timeout=30).json()
        return (said["description"], said["state"]) == (words["description"], "catalogued")

    eventually(told, within_s=60, what="the gateway says that the catalogue has the words")
    (dataset,) = [one for one in dying.run.catalogue()["datasets"] if one["name"] == dying.dataset]
    assert dataset["description"] == words["description"]
    assert dying.run.parameters(dying.dataset, "energy") == [8.5]


def harvested(dying: Dying) -> None:
    """The catalog dies between what a harvester has read and its note of having told it; the catalogue has it all."""
    usual(dying)
    assert len(dying.run.parameters(dying.dataset, "title")) == 1


def addressed(dying: Dying) -> None:
    """The catalog dies when it has made the dataset; people are told its address all the same, long before the end."""
    dying.arm()
    dying.request()
    dying.revive()
    dying.run.until(dying.upload, lambda status: status.dataset_url, "the dataset's address is told", 60)
    dying.write()
    dying.judge()


def refused(dying: Dying) -> None:
    """The catalogue refuses the dataset for good, until somebody has it tried again."""
    fault = {"procedure": "datauploader.create_dataset", "kind": "error", "status": 422, "times": -1}
    double = dying.run.facility.catalogue.url
    httpx.post(f"{double}/_double/faults", json=fault | {"match": dying.dataset}).raise_for_status()
    dying.arm()
    dying.request()
    dying.write()
    dying.revive()
    dying.run.facility.wait()
    dying.run.until(dying.upload, lambda status: status.state == "refused", "the refusal is shown", 30)
    httpx.delete(f"{double}/_double/faults").raise_for_status()
    dying.insist(lambda: dying.run.control(dying.upload, "retry"))
    dying.judge()


def by_rule(dying: Dying) -> None:
    """A standing rule opens the upload, and a while without changes closes it."""
    rules = dying.run.facility.watched.resolve() / "by-rule"
    dying.folder = rules / dying.dataset
    rule = {"name": "fault", "pattern": f"{rules}/{{dataset}}", "investigation": "20260101", "remote": "store"}
    rule |= {"location": "by-rule/{dataset}", "idle_close_s": 3.0}
    dying.arm(DATAUPLOADER_WATCHER_RULES=json.dumps([rule]))
    dying.write()
    dying.revive()
    dying.judge_unseen()


def reminding(dying: Dying) -> None:
    """What was announced is lost with what transfer's queue held, and the watcher dies while it announces it again."""
    dying.run.services.kill("transfer")
    dying.arm(DATAUPLOADER_WATCHER_RECEIPT_PATIENCE_S="2")
    dying.request()
    dying.write()
    dying.revive(meanwhile=lambda: dying.run.purge(transfer_queue(HERE)))
    dying.run.services.start("transfer")
    dying.judge()


def without_memory(dying: Dying) -> None:
    """The state file is lost in the middle of an upload, and the service dies while it finds everything again."""
    dying.request()
    dying.write()
    lose_memory(dying.run, dying.service)
    dying.arm()
    dying.revive()
    dying.judge()


def tidied(dying: Dying) -> None:
    """A stored file is removed, the station loses its state file, and dies when it has asked what the catalog has."""
    dying.request()
    dying.write()
    dying.run.until_catalogued(dying.upload, dying.written())
    dying.remaining()[0].unlink()
    lose_memory(dying.run, dying.service)
    dying.arm()
    dying.revive()
    dying.judge()


def station_without_memory(dying: Dying) -> None:
    """The station loses its state file, and the gateway dies while it says its requests again."""
    dying.request()
    dying.write()
    lose_memory(dying.run, "watcher")
    dying.arm()
    dying.run.services.start("watcher")
    dying.revive()
    dying.judge()


def rewriting(dying: Dying) -> None:
    """Stored files are written anew; transfer dies where the new versions are to take the place of the old ones."""
    dying.request()
    dying.write()
    dying.run.until_catalogued(dying.upload, dying.written())
    dying.arm()
    with Ledger(dying.run.ledger, dying.folder) as ledger:
        for path in dying.remaining():
            path.write_bytes(b"newer: " + path.read_bytes())
            ledger.wrote(path)
    dying.revive()
    dying.judge()
    left = [path for path in dying.run.facility.storage.rglob("*") if path.name.startswith(BESIDE)]
    assert not left, "a successor was left beside its target"


def lose_memory(run: Case, service: str) -> None:
    """Kill a service and remove what it remembers."""
    run.services.kill(service)
    for path in (run.facility.folder / "state").glob(f"{service}.sqlite*"):
        path.unlink()


def view_lost(dying: Dying) -> None:
    """Redis has lost the view, and the gateway dies while it builds it again."""
    dying.request()
    dying.write()
    redis = dying.run.server["redis"]
    redis.command("DEL", keys.MARKER, keys.upload(dying.upload), keys.files(dying.upload))
    dying.arm()
    dying.revive()
    dying.judge()


def early(dying: Dying) -> None:
    """An order to close comes before the request, and the watcher dies while it puts it off; it closes the upload."""
    dying.write()
    dying.arm()
    dying.upload, anna = f"u-{dying.dataset}", Person(id="1101")
    request = UploadRequested(
        upload_id=dying.upload, investigation="20260101", dataset=DatasetSpec(name=dying.dataset),
        root=str(dying.folder.resolve()), mode="sync", quiet_period_s=1.0, requested_by=anna,
        destination=Destination(remote="store", location=f"experiments/20260101/{dying.dataset}"),
    )  # fmt: skip
    order = UploadControlled(upload_id=dying.upload, action="close", requested_by=anna)
    bus = connect(dying.run.facility.broker_address, name="stranger")
    bus.publish(Event(data=order, station=HERE, service="gateway")).result(60)
    dying.revive()
    bus.publish(Event(data=request, station=HERE, service="gateway")).result(60)
    bus.close()
    dying.judge(close=False)


@dataclass(frozen=True, slots=True)
class Place:
    """A point, who dies there, and what brings it there."""

    service: str
    point: str
    way: Callable[[Dying], None] = usual
    passes: int = 1


PLACES = (
    Place("watcher", "inbox.handled"),
    Place("watcher", "inbox.committed", passes=2),
    Place("watcher", "outbox.published", passes=4),
    Place("watcher", "outbox.confirmed"),
    Place("watcher", "outbox.deleted", passes=5),
    Place("watcher", "retry.moved", early),
    Place("watcher", "watcher.opened"),
    Place("watcher", "watcher.announcing"),
    Place("watcher", "watcher.reminding", reminding),
    Place("watcher", "watcher.sealing"),
    Place("watcher", "watcher.sealed"),
    Place("watcher", "watcher.unlinking", releasing),
    Place("watcher", "watcher.hidden", releasing),
    Place("watcher", "watcher.unlinked", releasing, passes=2),
    Place("watcher", "watcher.released", releasing),
    Place("watcher", "watcher.rule-asked", by_rule),
    Place("watcher", "watcher.forgot", without_memory),
    Place("watcher", "watcher.recalled", tidied),
    Place("transfer", "inbox.handled"),
    Place("transfer", "inbox.committed"),
    Place("transfer", "outbox.published"),
    Place("transfer", "outbox.confirmed"),
    Place("transfer", "outbox.deleted"),
    Place("transfer", "transfer.taken"),
    Place("transfer", "transfer.noted"),
    Place("transfer", "transfer.copied"),
    Place("transfer", "transfer.beside", rewriting),
    Place("transfer", "transfer.replaced", rewriting),
    Place("transfer", "transfer.verified"),
    Place("transfer", "transfer.settled"),
    Place("transfer", "transfer.audited"),
    Place("transfer", "transfer.audit-told"),
    Place("catalog", "inbox.handled"),
    Place("catalog", "inbox.committed"),
    Place("catalog", "outbox.published", passes=2),
    Place("catalog", "outbox.confirmed", passes=2),
    Place("catalog", "outbox.deleted", passes=2),
    Place("catalog", "catalog.claimed"),
    Place("catalog", "catalog.ensured"),
    Place("catalog", "catalog.ensured-noted", addressed),
    Place("catalog", "catalog.registered"),
    Place("catalog", "catalog.registered-noted"),
    Place("catalog", "catalog.described", harvested),
    Place("catalog", "catalog.audit-asked"),
    Place("catalog", "catalog.completed"),
    Place("catalog", "catalog.completed-noted"),
    Place("catalog", "catalog.refused", refused),
    Place("catalog", "catalog.recalling", without_memory),
    Place("catalog", "catalog.half-annotated", describing),
    Place("catalog", "catalog.annotated", describing),
    Place("gateway", "outbox.published"),
    Place("gateway", "outbox.confirmed"),
    Place("gateway", "outbox.deleted"),
    Place("gateway", "gateway.taking-in"),
    Place("gateway", "gateway.taken-in"),
    Place("gateway", "gateway.order-kept"),
    Place("gateway", "gateway.folding", passes=6),
    Place("gateway", "gateway.folded", passes=3),
    Place("gateway", "gateway.reminded", station_without_memory),
    Place("gateway", "gateway.rebuilding", view_lost),
    Place("gateway", "gateway.rebuilt", view_lost),
)


def named() -> Counter[str]:
    """Find every crash point in the sources of the services and of what they share."""
    found: Counter[str] = Counter()
    for path in (*REPOSITORY.glob("shared/core/datauploader/**/*.py"), *REPOSITORY.glob("services/*/*/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_point":
                (name,) = node.args
                assert isinstance(name, ast.Constant), f"{path}:{node.lineno} names its point only when it runs"
                found[str(name.value)] += 1
    return found


@pytest.mark.fault("F40")
def test_no_crash_point_is_forgotten() -> None:
    """Every point that the sources name stands once there and is died at below; so does every service."""
    points = named()
    assert points, f"no source is found below {REPOSITORY}"
    assert set(points) == {place.point for place in PLACES}
    assert set(points.values()) == {1}
    assert {place.service for place in PLACES} == {"watcher", "transfer", "catalog", "gateway"}


@pytest.mark.campaign
@pytest.mark.fault("F40")
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.service}:{place.point}")
def test_a_death_at_any_step_leaves_nothing_amiss(stage: Stage, record: Record, place: Place) -> None:
    """The service is seen to die at the point, is started again, and the oracle finds nothing."""
    dataset = f"{place.service}-{place.point}".replace(".", "-")
    point = f"{place.point}:{place.passes}" if place.passes > 1 else place.point
    with stage.run(dataset, record) as run:
        place.way(Dying(run, dataset, place.service, point))
