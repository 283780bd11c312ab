"""What operators and beamline staff see of the facility, and what operators do about parked messages."""

import threading
from typing import Any

import pytest

from datauploader.contracts import Station, StationReported, UploadRequested
from datauploader.contracts.questions import CatalogCondition
from datauploader.contracts.stations import Disk, MoverElsewhere, Root
from datauploader.errors import Park
from datauploader.messaging.topology import catalog_queue
from datauploader.runtime.registrations import Registrations
from datauploader_testing.servers.ports import free_port
from datauploader_testing.waiting import eventually

HERE, THERE = "elettra.xrd1.ws01", "elettra.xrd2.ws01"


class Consumer:
    """Somebody who parks what comes until told otherwise, and keeps what it was given."""

    def __init__(self, facility: Any) -> None:
        self.seen: list[str] = []
        self.well = threading.Event()
        facility.bus.consume(catalog_queue(), self)

    def __call__(self, delivery: Any) -> None:
        """Take a delivery."""
        self.seen.append(delivery.event.id)
        if not self.well.is_set():
            raise Park("the catalogue refuses <b>this</b>")


@pytest.fixture
def parked(facility: Any, scene: Any) -> tuple[Consumer, str]:
    """Give a consumer that has parked one request, and its id."""
    consumer = Consumer(facility)
    answer = facility.client("anna").post("/api/v1/uploads", json=scene.wish())
    assert answer.status_code == 201
    eventually(lambda: facility.bus.parked(catalog_queue()), what="the request is parked")
    return consumer, consumer.seen[0]


def seen(facility: Any, name: str = "otto") -> Any:
    """Return what this person sees."""
    answer = facility.client(name).get("/api/v1/operations")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_facility_without_trouble_is_called_well(facility: Any, scene: Any) -> None:
    """All stations report, every queue has a consumer, nothing is parked."""
    facility.bus.consume(catalog_queue(), lambda _: None)
    for station in (scene.STATION, scene.OTHER):
        consume_of(facility, station)
        facility.say(scene.report(), station)
    found = eventually(lambda: (now := seen(facility))["well"] and now, what="all is well", within_s=10)
    assert found["summary"] == "No problems found."
    names = {check["name"] for check in found["checks"]}
    both = {"catalog service", "catalogue updates"}
    assert names == {"broker", "redis", "view", "catalogue", "outbox"} | both
    assert all(queue["there"] and queue["consumers"] for queue in found["queues"])


def consume_of(facility: Any, station: Any) -> None:
    """Consume both queues of a station."""
    from datauploader.messaging.topology import transfer_queue, watcher_queue

    for queue in (watcher_queue(station), transfer_queue(station)):
        facility.bus.consume(queue, lambda _: None)


def test_what_is_wrong_comes_first_and_in_one_sentence(facility: Any, scene: Any, parked: Any) -> None:
    """A silent station, a full disk, a queue without a consumer, a parked message."""
    roots = (Root(path="/data", present=True, free_bytes=10, total_bytes=10_000),)
    disk = Disk(free_bytes=1, total_bytes=1000)
    said = scene.report(roots=roots, state_disk=disk, scanned_entries=77, overflows=2, troubles=("Look at the drive.",))
    facility.say(said, scene.STATION)
    found = eventually(
        lambda: (now := seen(facility)) and [s for s in now["stations"] if s["services"]] and now, what="the report"
    )
    whats = [trouble["what"] for trouble in found["troubles"]]
    assert f"a disk of {HERE} is nearly full" in whats
    assert f"the disk with the state of watcher on {HERE} is nearly full" in whats
    assert f"station {THERE} has never reported" in whats
    assert f"transfer of {HERE} is not connected: the queue transfer.{HERE} has no consumer" in whats
    assert "1 message is parked in catalog.work" in whats
    assert found["summary"].startswith(f"{len(found['causes'])} problems: ")
    assert len(whats) == sum(1 + len(cause["consequences"]) for cause in found["causes"])
    assert not found["well"]
    service = next(s for s in found["stations"] if s["station"] == HERE)["services"][0]
    assert (service["scanned_entries"], service["overflows"], service["age_s"] < 60) == (77, 2, True)
    assert (service["roots"][0]["total_bytes"], service["state_disk"]["free_bytes"]) == (10_000, 1)


def test_movers_are_parts_of_the_facility_with_a_health_of_their_own(facility: Any, scene: Any) -> None:
    """What each holds and when it was heard; grey is who has been silent, and whose transfer is."""
    movers = (
        MoverElsewhere(name="aa", host="pc2", files=12, bytes=3_400_000, heard_s=2),
        MoverElsewhere(name="bb", host="pc3", heard_s=400, gone=True),
        MoverElsewhere(name="cc", host="<b>", trouble="/data is not there on this machine."),
    )
    facility.say(scene.report("transfer", movers=movers), scene.STATION)
    stopped = (MoverElsewhere(name="dd", host="pc5"),)
    facility.say(scene.report("transfer", state="stopping", movers=stopped), scene.OTHER)

    def rows() -> dict[str, Any]:
        return {one["name"]: one for one in seen(facility)["parts"] if one["kind"] == "mover"}

    found = eventually(lambda: now if len(now := rows()) == 4 else None, what="all are parts")
    assert {name: one["health"] for name, one in found.items()} == {
        "pc2 aa": "ok", "pc3 bb": "unknown", "<b> cc": "problem", "pc5 dd": "unknown",
    }  # fmt: skip
    assert found["pc2 aa"]["sentence"].startswith(f"moves 12 files, 3.40 MB for {HERE}; heard ")
    assert f"not heard for 6 minutes by the transfer of {HERE}" in found["pc3 bb"]["sentence"]
    assert "does not report" in found["pc5 dd"]["sentence"]
    told = [one for one in seen(facility)["troubles"] if one["kind"] == "mover"]
    assert [(one["part"], one["detail"]) for one in told] == [("<b> cc", "/data is not there on this machine.")]
    page = facility.client("otto").get("/operations").text
    assert '<span class="soft">mover</span>' in page
    assert "&lt;b&gt; cc" in page


@pytest.mark.attack("S8")
def test_staff_see_the_stations_of_their_beamline_and_nothing_else(facility: Any, scene: Any) -> None:
    """Neither the queues nor the checks nor another beamline's stations."""
    found = seen(facility, "stella")
    stations = [station["station"] for station in found["stations"]]
    assert HERE in stations
    assert all(station.startswith("elettra.xrd1.") for station in stations)
    assert (found["queues"], found["checks"], found["parked_in_reach"]) == ([], [], False)
    assert not any(THERE in trouble["what"] for trouble in found["troubles"])


@pytest.mark.attack("S31")
@pytest.mark.parametrize("name", ["anna", "stella"])
def test_parked_messages_are_for_operators_alone(facility: Any, parked: Any, name: str) -> None:
    """Whoever tries is refused and recorded, and nothing happens."""
    _, ident = parked
    place = f"/api/v1/operations/parked/catalog.work/{ident}"
    client = facility.client(name)
    answers = [client.get("/api/v1/operations/parked"), client.get(place)]
    answers += [client.post(f"{place}/{verb}") for verb in ("replay", "drop")]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert [answer.json()["type"].rpartition("/")[2] for answer in answers] == ["not-allowed"] * 4
    assert len(facility.bus.parked(catalog_queue())) == 1
    refused = [one for one in audited(facility) if one["what"].startswith("refused: ")]
    assert [one["what"] for one in refused] == [
        "refused: read parked messages", "refused: read a parked message", "refused: replay a parked message",
        "refused: drop a parked message",
    ]  # fmt: skip
    assert {one["who"] for one in refused} == {{"anna": "7", "stella": "20"}[name]}


def test_a_user_sees_no_operations(facility: Any) -> None:
    """The answer says whose business it is."""
    answer = facility.client("anna").get("/api/v1/operations")
    assert (answer.status_code, answer.json()["detail"]) == (403, "operations are for operators and beamline staff")


def audited(facility: Any) -> list[dict[str, str]]:
    """Return what is recorded."""
    entries = facility.redis().xrange("datauploader:audit")
    return [{key.decode(): value.decode() for key, value in fields.items()} for _, fields in entries]


def test_an_operator_reads_a_parked_message(facility: Any, parked: Any) -> None:
    """The list has the reason and the beginning, the message itself its body."""
    _, ident = parked
    client = facility.client("otto")
    (item,) = client.get("/api/v1/operations/parked").json()["items"]
    assert (item["id"], item["queue"], item["reason"]) == (ident, "catalog.work", "the catalogue refuses <b>this</b>")
    assert (item["replayable"], len(item["trace_id"]), len(item["body"])) == (True, 32, 400)
    whole = client.get(f"/api/v1/operations/parked/catalog.work/{ident}").json()
    assert len(whole["body"]) == whole["body_bytes"] > 400
    assert UploadRequested.name in whole["body"]


def test_a_replayed_message_is_handled_once_more_and_recorded(facility: Any, parked: Any) -> None:
    """Who did it, what and where from."""
    consumer, ident = parked
    consumer.well.set()
    client = facility.client("otto")
    answer = client.post(f"/api/v1/operations/parked/catalog.work/{ident}/replay")
    assert answer.json() == {"messages": 1}
    eventually(lambda: consumer.seen == [ident, ident], what="it is handled once more")
    assert client.get("/api/v1/operations/parked").json() == {"items": []}
    (entry,) = [one for one in audited(facility) if one["what"] == "parked message: replay"]
    assert entry == {
        "what": "parked message: replay", "who": "30", "address": "127.0.0.1", "queue": "catalog.work",
        "message": ident,
    }  # fmt: skip
    again = client.post(f"/api/v1/operations/parked/catalog.work/{ident}/replay")
    assert (again.status_code, again.json()["type"].rpartition("/")[2]) == (404, "not-found")


def test_a_dropped_message_is_gone_and_recorded(facility: Any, parked: Any) -> None:
    """Nobody is given it again."""
    consumer, ident = parked
    client = facility.client("otto")
    assert client.post(f"/api/v1/operations/parked/catalog.work/{ident}/drop").json() == {"messages": 1}
    assert not facility.bus.parked(catalog_queue())
    assert [one["message"] for one in audited(facility) if one["what"] == "parked message: drop"] == [ident]
    assert consumer.seen == [ident]


@pytest.mark.attack("S10")
def test_a_page_of_another_site_replays_nothing(facility: Any, parked: Any) -> None:
    """An operator's session is no use to it."""
    _, ident = parked
    answer = facility.client("otto").post(
        f"/api/v1/operations/parked/catalog.work/{ident}/replay", headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert len(facility.bus.parked(catalog_queue())) == 1


def test_an_unknown_queue_is_not_found(facility: Any) -> None:
    """Only the facility's own queues can be asked for."""
    answer = facility.client("otto").post("/api/v1/operations/parked/somebody.elses/1/drop")
    assert answer.status_code == 404


def test_links_and_harvesters_come_from_the_settings(open_facility: Any) -> None:
    """A link that is no web address is refused at the start."""
    facility = open_facility(
        broker_page="https://rabbit.facility.eu/", grafana_page="https://grafana.facility.eu/d/1", harvesters=("nexus",)
    )
    found = seen(facility)
    assert found["links"] == {"broker": "https://rabbit.facility.eu/", "grafana": "https://grafana.facility.eu/d/1"}
    assert [queue["there"] for queue in found["queues"] if queue["name"] == "harvester.nexus"] == [False]


def test_an_identity_provider_that_is_away_is_told_and_keeps_nothing_from_work(open_facility: Any, scene: Any) -> None:
    """It stands among the checks of the operators, and not among those that make the gateway unready."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = {"issuer": nowhere, "client_id": "gateway", "client_secret": "s", "name": "Elettra"}
    facility = open_facility(oidc=settings)
    checks = {check["name"]: check for check in seen(facility)["checks"]}
    assert not checks["identity provider"]["ok"]
    assert checks["identity provider"]["detail"]
    ready = facility.client().get("/health/ready").json()
    assert ready["ok"]
    assert "identity provider" not in {check["name"] for check in ready["checks"]}


@pytest.mark.usefixtures("provider")
def test_an_identity_provider_that_answers_is_well(signing_in: Any) -> None:
    """Asked at its own address."""
    checks = {check["name"]: check for check in seen(signing_in())["checks"]}
    assert checks["identity provider"] == {"name": "identity provider", "ok": True, "detail": ""}


@pytest.mark.fault("F62")
def test_a_harvester_that_cannot_work_is_told_to_operators_and_is_no_place_to_upload_from(facility: Any) -> None:
    """It reports as a station does, under an address that no workstation has."""
    here = Station.of_harvester("elettra", "nexus")
    trouble = "3 files are waiting to be read, the oldest for 16 minutes. It goes on by itself"
    report = StationReported(
        service="nexus-harvester", version="1", host="h", state="degraded", troubles=(trouble,), interval_s=30
    )
    facility.say(report, here)
    told = eventually(
        lambda: [t for t in seen(facility)["troubles"] if t["name"] == here.key], what="the trouble is told"
    )
    assert [(one["what"], one["detail"]) for one in told] == [
        (f"nexus-harvester of {here.key} reports a problem", trouble)
    ]
    listed = facility.client("anna").get("/api/v1/stations").json()["items"]
    assert here.key not in {station["station"] for station in listed}


@pytest.mark.fault("F57")
@pytest.mark.parametrize("state", ["ok", "stopping"])
def test_a_catalog_that_is_silent_is_told_to_operators(facility: Any, scene: Any, state: str) -> None:
    """It has missed three reports, or has said that it stops; its station's watcher goes on."""
    facility.say(scene.report(), scene.STATION)
    interval_s = 0.1 if state == "ok" else 60
    facility.say(scene.report("catalog", interval_s=interval_s, state=state), scene.STATION)

    words = "has not reported for" if state == "ok" else "was stopped"

    def told() -> list[Any]:
        return [one for one in seen(facility)["troubles"] if one["what"].startswith(f"catalog of {HERE} {words}")]

    (trouble,) = eventually(told, what="the silence is told")
    assert "reach the broker" in trouble["detail"]
    page = facility.client("otto").get("/operations").text
    assert f"atalog of {HERE} {words}" in page
    facility.say(scene.report("catalog", interval_s=60), scene.STATION)
    eventually(lambda: not told(), what="it speaks again")


@pytest.mark.fault("F59")
def test_what_keeps_the_catalog_from_its_work_is_told_to_operators_and_to_the_probe(facility: Any) -> None:
    """Uploads that wait are told to operators alone: for one refused value no gateway is taken out of service."""
    waits, stuck = "VUO failed at x with HTTP 500.", "the catalog's thread catalogue.0 has ended"
    facility.catalogue.condition = CatalogCondition(troubles=(stuck,), waiting=(waits,))
    found = {check["name"]: check for check in seen(facility)["checks"]}
    assert (found["catalog service"]["ok"], found["catalog service"]["detail"]) == (False, stuck)
    assert (found["catalogue updates"]["ok"], found["catalogue updates"]["detail"]) == (False, waits)
    ready = facility.client().get("/health/ready")
    assert ready.status_code == 503
    assert [check["detail"] for check in ready.json()["checks"] if not check["ok"]] == [stuck]


def test_registrations_count_while_the_gateway_runs(facility: Any, scene: Any, tmp_path: Any) -> None:
    """A station that is added is shown at once with its queues; one that is removed is not, though it has reported."""
    path = tmp_path / "registrations.json"
    chat = {"name": "chat", "events": ["dataset.completed.v1"]}
    names = {"stations": [HERE, THERE], "harvesters": ["spec"], "consumers": [chat]}
    path.write_text(Registrations.model_validate(names).model_dump_json())
    facility.common.registrations = path
    facility.say(scene.report(), Station.parse(THERE))
    eventually(lambda: THERE in shown(facility), what="the report of a station")
    assert {"harvester.spec", "consumer.chat"} <= queues_shown(facility)

    added = "elettra.xrd2.ws09"
    other = {"stations": [HERE, added], "removed": [THERE]}
    draft = tmp_path / "draft"
    draft.write_text(Registrations.model_validate(other).model_dump_json())
    draft.replace(path)
    own = facility.common.here.key  # under which the gateway itself reports
    assert shown(facility) - {own} == {HERE, added}
    eventually(lambda: f"watcher.{added}" in queues_shown(facility), what="the queues of the station")
    queues = queues_shown(facility)
    assert f"watcher.{THERE}" not in queues
    assert not {"harvester.spec", "consumer.chat"} & queues
    answer = facility.client("otto").get("/api/v1/stations").json()
    assert {station["station"] for station in answer["items"]} - {own} == {HERE, added}

    path.write_text("{")
    assert shown(facility) - {own} == {HERE, added}


def shown(facility: Any) -> set[str]:
    """Name the stations that an operator sees."""
    return {station["station"] for station in seen(facility)["stations"]}


def queues_shown(facility: Any) -> set[str]:
    """Name the queues that an operator sees."""
    return {queue["name"] for queue in seen(facility)["queues"]}


@pytest.mark.attack("S31")
def test_a_cause_is_acknowledged_with_a_sentence_by_operators_alone(facility: Any) -> None:
    """It stays on the page with name and time, without being called new; taking that back tells of it again."""
    key = f"station:{THERE}:away"
    said = {"cause": key, "sentence": "Otto sets it up on Monday.", "hours": 24}
    for name in ("anna", "stella"):
        assert facility.client(name).post("/api/v1/operations/acknowledgements", json=said).status_code == 403
    client = facility.client("otto")
    assert client.post("/api/v1/operations/acknowledgements", json=said | {"cause": "x"}).status_code == 404
    assert client.post("/api/v1/operations/acknowledgements", json=said).status_code == 204
    known = {cause["key"]: cause["acknowledged"] for cause in seen(facility)["causes"]}[key]
    assert (known["by"], known["sentence"]) == ("otto", "Otto sets it up on Monday.")
    assert "1 acknowledged problem." in seen(facility)["summary"]
    assert "Otto sets it up on Monday." in client.get("/operations").text
    assert [one["cause"] for one in audited(facility) if one["what"] == "problem acknowledged"] == [key]

    assert client.delete(f"/api/v1/operations/acknowledgements/{key}").status_code == 204
    assert client.delete(f"/api/v1/operations/acknowledgements/{key}").status_code == 404
    assert {cause["key"]: cause["acknowledged"] for cause in seen(facility)["causes"]}[key] is None


@pytest.mark.attack("S31")
def test_a_whole_group_of_parked_messages_is_replayed_in_the_background(facility: Any, scene: Any) -> None:
    """All of one reason, beyond what a list shows; for operators alone, recorded, and with its progress."""
    well, seen_ids = threading.Event(), []

    def handle(delivery: Any) -> None:
        seen_ids.append(delivery.event.id)
        if not well.is_set():
            raise Park(f"file {len(seen_ids)} has no dataset")

    facility.bus.consume(catalog_queue(), handle)
    for number in range(600):
        data = scene.life_of(f"u-group{number:05}", 1)[3]
        facility.say(data)
    eventually(lambda: len(facility.bus.parked(catalog_queue())) == 600, what="all are parked")
    client = facility.client("otto")
    eventually(lambda: client.get("/api/v1/operations/parked-groups").json()["items"], what="the count is seen")
    found = client.get("/api/v1/operations/parked-groups").json()
    (item,) = found["items"]
    assert (item["messages"], item["replayable"], len(item["examples"]), found["unread"]) == (600, 600, 20, 0)
    named = {"queue": "catalog.work", "reason": item["reason"]}
    for name in ("anna", "stella"):
        refused = facility.client(name).post("/api/v1/operations/parked-groups/drop", json=named)
        assert refused.status_code == 403
    page = client.get("/operations").text
    assert "600 messages in catalog.work" in page
    well.set()
    assert client.post("/api/v1/operations/parked-groups/replay", json=named | {"reason": "x"}).status_code == 404
    assert client.post("/api/v1/operations/parked-groups/replay", json=named).json()["messages"] == 600
    eventually(lambda: client.get("/api/v1/operations/parked-groups").json()["job"]["over"], what="it is done")
    assert client.get("/api/v1/operations/parked-groups").json()["job"]["done"] == 600
    assert not facility.bus.parked(catalog_queue())
    what = "group of parked messages: replay"
    assert {one["queue"] for one in audited(facility) if one["what"] == what} == {"catalog.work"}
