"""One fault is one cause: what it brings about is folded under it, and what cannot be known is not called well."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datauploader.contracts.rest.health import CheckBody
from datauploader.contracts.rest.stations import ServiceReport, StationStatus
from datauploader.contracts.stations import MoverElsewhere, Storage
from datauploader.messaging.port import BusHealth
from datauploader_gateway.features.operations.causes import (
    Acknowledged,
    acknowledge,
    causes,
    identity,
    parts,
    summary,
)
from datauploader_gateway.features.operations.diagnosis import QueueBody, Refused, Seen, troubles

NOW = datetime(2026, 12, 1, 10, 32, tzinfo=UTC)
HERE = "elettra.xrd1.ws01"
NAMES = ("catalog.work", "gateway.view", f"watcher.{HERE}", f"transfer.{HERE}", "harvester.nexus")


def report(service: str = "watcher", **changes: Any) -> ServiceReport:
    """Return what a service that is well has said."""
    said: dict[str, Any] = {
        "state": "ok", "version": "1", "host": "ws01", "time": NOW.isoformat(), "age_s": 5.0, "silent": False,
        "troubles": (), "roots": (), "state_disk": None, "backlog_files": 0, "backlog_bytes": 0, "oldest_pending_s": 0,
        "uploads_open": 0, "scanned_entries": 0, "overflows": 0, "interval_s": 10,
    }  # fmt: skip
    return ServiceReport(service=service, **said | changes)


def station(*services: ServiceReport, silent: bool = False, name: str = HERE) -> StationStatus:
    """Return a station with these reports."""
    return StationStatus(station=name, silent=silent, last_report=NOW.isoformat(), services=services)


def queues(*unconsumed: str, **changes: Any) -> list[QueueBody]:
    """Return all queues, without consumers where named."""
    well = {"there": True, "waiting": 0, "parked": 0} | changes
    return [QueueBody(name=name, consumers=name not in unconsumed, **well) for name in NAMES]


def bad(name: str, detail: str = "why") -> CheckBody:
    """Return a check that fails."""
    return CheckBody(name=name, ok=False, detail=detail)


def found(**seen: Any) -> Any:
    """Find the causes of what was seen; what is not said is well."""
    return causes(troubles(Seen(**{"stations": [station(report())], "queues": queues()} | seen), NOW))


DEEP = QueueBody(name="catalog.work", there=True, waiting=5000, consumers=0, parked=0)
SILENT = station(report(silent=True, age_s=300.0), report("transfer", silent=True), silent=True)
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "broker away": (
        {
            "checks": [bad("broker"), bad("catalogue"), bad("outbox"), bad("queues")], "queues": [],
            "broker": BusHealth(ok=False, connected=False), "catalog_answers": False,
            "stations": [SILENT],
        },
        "broker:broker:away", "the broker cannot be reached",
    ),
    "broker's disk is full": (
        {
            "checks": [bad("broker"), bad("catalogue"), bad("outbox")], "broker": BusHealth(ok=False, blocked=True),
            "stations": [SILENT], "catalog_answers": False,
        },
        "broker:broker:blocked", "the broker accepts no messages",
    ),
    "catalog not connected": (
        {"checks": [bad("catalogue")], "catalog_answers": False, "queues": queues("catalog.work")},
        "service:catalog:away", "the catalog service does not answer",
    ),
    "catalog silent": (
        {
            "checks": [bad("catalogue")], "catalog_answers": False, "queues": [*queues("catalog.work")[1:], DEEP],
            "stations": [station(report(oldest_pending_s=9000), report("catalog", silent=True))],
        },
        "service:catalog:away", "the catalog service does not answer",
    ),
    "catalogue away": (
        {
            "checks": [bad("catalogue"), bad("catalog service"), bad("catalogue updates")],
            "stations": [station(report(oldest_pending_s=9000), report("catalog", troubles=("VUO is away.",)))],
        },
        "catalogue:catalogue:away", "the catalogue does not answer",
    ),
    "station not connected": (
        {"queues": queues(f"watcher.{HERE}", f"transfer.{HERE}")},
        f"station:{HERE}:away", f"station {HERE} is not connected to the broker",
    ),
    "station refused": (
        {
            "queues": queues(f"watcher.{HERE}", f"transfer.{HERE}"),
            "stations": [station(report(state="stopping", silent=True), silent=True)],
            "refused": [Refused("station", HERE, (HERE,), 14, 300.0, ("10.0.0.7",))],
        },
        f"station:{HERE}:refused", f"station {HERE} signs in at the broker with a wrong password from 10.0.0.7",
    ),
    "catalog refused": (
        {
            "checks": [bad("catalogue")], "catalog_answers": False, "queues": [*queues("catalog.work")[1:], DEEP],
            "refused": [Refused("service", "catalog", ("catalog",), 2, 30.0, ("172.30.0.9",))],
        },
        "service:catalog:refused", "the catalog service signs in at the broker with a wrong password from 172.30.0.9",
    ),
    "harvester refused": (
        {"queues": queues("harvester.nexus"), "refused": [Refused("harvester", "nexus", ("nexus",), 1, 0.0)]},
        "harvester:nexus:refused", "the harvester nexus signs in at the broker with a wrong password",
    ),
    "somebody guesses": (
        {"refused": [Refused("broker", "broker", ("guest", "<b>"), 30, 60.0, ("10.0.0.9",))]},
        "broker:broker:refused",
        "somebody who says to be 'guest', '<b>' signs in at the broker with a wrong name or password from 10.0.0.9",
    ),
    "station hangs": (
        {"stations": [station(report(age_s=13.5), report("transfer", age_s=14.0))]},
        f"station:{HERE}:away", f"station {HERE} has not reported for 13 s",
    ),
    "station silent": (
        {"queues": queues(f"watcher.{HERE}", f"transfer.{HERE}"), "stations": [SILENT]},
        f"station:{HERE}:away", f"station {HERE} has not reported for 5 minutes",
    ),
    "transfer not connected": (
        {
            "queues": queues(f"transfer.{HERE}"),
            "stations": [station(report(oldest_pending_s=9000), report("transfer", silent=True))],
        },
        f"station:{HERE}:transfer", f"transfer of {HERE} has not reported for 5 s",
    ),
    "storage away": (
        {
            "stations": [
                station(
                    report(oldest_pending_s=9000),
                    report(
                        "transfer", troubles=("No route.",), state="degraded",
                        storages=(Storage(remote="s3", trouble="No route."), Storage(remote="nas")),
                    ),
                )
            ]
        },
        "storage:s3:away", f"the storage s3 does not accept files from {HERE}",
    ),
    "harvester stopped": (
        {"queues": queues("harvester.nexus")},
        "harvester:nexus:away", "the harvester nexus is not connected: the queue harvester.nexus has no consumer",
    ),
    "Redis away": (
        {"checks": [bad("redis")], "queues": queues("gateway.view"), "stations": []},
        "redis:redis:away", "Redis does not work",
    ),
    "certificate about to expire": (
        {"broker": BusHealth(ok=True, certificate_until=NOW + timedelta(days=20, hours=1))},
        "broker:broker:certificate", "the certificate of the broker expires in 20 days",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_one_cause(fault: str) -> None:
    """Whatever else it shows in is folded under it, and nothing is told twice."""
    seen, key, what = FAULTS[fault]
    (cause,) = found(**seen)
    assert (cause.key, cause.what) == (key, what)
    wrong = troubles(Seen(**{"stations": [station(report())], "queues": queues()} | seen), NOW)
    assert len(wrong) == 1 + len(cause.consequences)


def test_two_faults_are_two_causes() -> None:
    """A rule reaches no further than it says: another station's silence does not come from this one's storage."""
    other = "elettra.xrd2.ws01"
    seen, _, _ = FAULTS["storage away"]
    silent = station(report(silent=True, age_s=300.0), silent=True, name=other)
    keys = {cause.key for cause in found(stations=[*seen["stations"], silent])}
    assert keys == {"storage:s3:away", f"station:{other}:away"}


def test_nothing_wrong_is_no_cause() -> None:
    """Everything answers and is consumed."""
    assert found() == []
    assert summary([]) == "No problems found."


@pytest.mark.parametrize(("days", "said"), [(22, False), (20, True), (6, True), (-1, True)])
def test_a_certificate_is_told_of_three_weeks_before_its_end(days: int, said: bool) -> None:
    """A week before the end it is urgent, and afterwards it says so."""
    until = NOW + timedelta(days=days, hours=1)
    told = found(public_certificate_until=until)
    assert bool(told) == said
    if said:
        assert ("Renew it now" in told[0].detail) == (days < 7)
        assert ("expired" in told[0].what) == (days < 0)


def test_the_gateways_own_report_is_none_of_its_servers_station() -> None:
    """A server that watches nothing is not silent, and the catalog's silence is the catalog's."""
    server = "elettra.server.main"
    of_server = station(report("gateway"), report("catalog", silent=True, age_s=100.0), name=server)
    (cause,) = found(stations=[station(report()), of_server])
    assert (cause.key, cause.what) == ("service:catalog:away", f"catalog of {server} has not reported for 1 minute")


def test_what_cannot_be_known_is_not_called_well() -> None:
    """Without the broker stations are unknown; with the catalogue away those that wait for it are affected."""
    known = [("broker", "broker", "connected"), ("station", HERE, "last report 5 s ago"), ("redis", "redis", "answers")]
    seen, _, _ = FAULTS["broker away"]
    rows = {row.kind: row.health for row in parts(known, found(**seen))}
    assert rows == {"broker": "problem", "station": "unknown", "redis": "ok"}
    seen, _, _ = FAULTS["catalogue away"]
    rows = {row.kind: row.health for row in parts(known, found(**seen))}
    assert rows == {"broker": "ok", "station": "affected", "redis": "ok"}


def test_a_mover_that_is_not_heard_is_unknown_and_one_that_gets_nothing_a_problem() -> None:
    """Whoever ends a mover does nothing wrong."""
    row = ("mover", "pc2 aa", "waits for files")
    movers = (
        MoverElsewhere(name="aa", host="pc2", trouble="Enough."),
        MoverElsewhere(name="bb", gone=True, trouble="x"),
    )
    (cause,) = found(stations=[station(report(), report("transfer", movers=movers))])
    assert (cause.key, cause.detail) == ("mover:pc2-aa:trouble", "Enough.")
    assert [one.health for one in parts([row], [cause])] == ["problem"]
    silent = {("mover", "pc2 aa"): "not heard for 5 minutes"}
    assert [(one.health, one.sentence) for one in parts([row], [], silent)] == [("unknown", "not heard for 5 minutes")]
    assert [one.health for one in parts([row], [])] == ["ok"]


def test_an_acknowledged_cause_is_told_of_again_when_it_changes_or_its_time_is_over() -> None:
    """Time that goes on is no change; one more parked message is."""
    seen, key, _ = FAULTS["station silent"]
    (cause,) = found(**seen)
    said = Acknowledged(by="Otto", sentence="x", at=NOW, until=NOW + timedelta(hours=1), what=identity(cause))
    later = station(report(silent=True, age_s=7300.0), report("transfer", silent=True), silent=True)
    again = found(**seen | {"stations": [later]})
    acknowledge(again, {key: said}, NOW)
    assert again[0].acknowledged == said
    assert summary(again) == "No new problems. 1 acknowledged problem."

    stopped = station(report(silent=True, age_s=7300.0, state="stopping"), silent=True)
    for changed, now in ((found(**seen), NOW + timedelta(hours=2)), (found(**seen | {"stations": [stopped]}), NOW)):
        acknowledge(changed, {key: said}, now)
        assert changed[0].acknowledged is None
    one, two = (found(queues=[QueueBody(name="catalog.work", there=True, waiting=0, consumers=1, parked=n)])
                for n in (1, 2))  # fmt: skip
    assert identity(one[0]) != identity(two[0])


def test_one_service_that_is_late_once_is_not_missed() -> None:
    """The other one reports, so the computer works."""
    assert found(stations=[station(report(age_s=14.0), report("transfer", age_s=5.0))]) == []
    assert found(stations=[station(report(age_s=14.0))]) == []


def test_who_works_and_is_refused_elsewhere_hides_nothing() -> None:
    """Another computer uses the catalog's name: its own troubles are told of as well."""
    refused = [Refused("service", "catalog", ("catalog",), 2, 30.0)]
    keys = {cause.key for cause in found(refused=refused, checks=[bad("catalogue")])}
    assert keys == {"service:catalog:refused", "catalogue:catalogue:away"}


def test_an_acknowledged_refusal_stays_so_while_it_goes_on() -> None:
    """How often and for how long is no change; another address is."""
    first, later, other = (
        found(refused=[Refused("station", HERE, (HERE,), times, for_s, hosts)])[0]
        for times, for_s, hosts in ((1, 0.0, ("a",)), (14, 300.0, ("a",)), (15, 301.0, ("a", "b")))
    )
    assert "Refusals: 1 in 0 s." in first.detail
    assert "Refusals: 14 in 5 minutes." in later.detail
    assert identity(first) == identity(later) != identity(other)
