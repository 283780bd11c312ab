"""What the gateway tells Prometheus of stations, which nobody else can reach."""

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import REGISTRY

from datauploader.contracts import Event
from datauploader_gateway import redis_client
from datauploader_gateway.metrics import StationActivity
from datauploader_gateway.projection.station_metrics import StationCollector
from datauploader_testing.waiting import eventually

STATION = "elettra.xrd1.ws01"


def value(name: str, **labels: str) -> float | None:
    """Return a sample; None where there is none."""
    return REGISTRY.get_sample_value(name, {"station": STATION} | labels)


def test_a_station_is_told_as_it_has_reported(facility: Any, scene: Any) -> None:
    """Its backlog, its disks and when it spoke last are known without reaching into the beamline."""
    roots = [{"path": "/data", "present": True, "free_bytes": 5, "total_bytes": 100}, {"path": "/x", "present": False}]
    storages = [{"remote": "archive", "trouble": "It is full."}, {"remote": "tape"}]
    numbers = {"backlog_files": 7, "backlog_bytes": 70, "oldest_pending_s": 9}
    facility.say(scene.report(roots=roots, storages=storages, troubles=("a", "b"), **numbers))
    watcher = {"service": "watcher"}
    eventually(lambda: value("datauploader_station_backlog_files", **watcher) == 7, what="the report is folded")
    assert value("datauploader_station_silent") == 0
    assert value("datauploader_station_service_silent", **watcher) == 0
    assert value("datauploader_station_oldest_pending_seconds", **watcher) == 9
    assert value("datauploader_station_missing_folders", **watcher) == 1
    assert value("datauploader_station_disk_free_ratio", **watcher) == 0.05
    assert value("datauploader_station_troubles", **watcher) == 2
    assert value("datauploader_station_storage_ok", remote="archive") == 0
    assert value("datauploader_station_storage_ok", remote="tape") == 1
    said_at = value("datauploader_station_last_report_timestamp_seconds", **watcher) or 0
    assert abs(said_at - datetime.now(UTC).timestamp()) < 60
    assert value("datauploader_station_info", **watcher, version="1") == 1
    assert REGISTRY.get_sample_value("datauploader_station_silent", {"station": "elettra.xrd2.ws01"}) == 1


def test_a_file_counts_once_at_each_stage(facility: Any, scene: Any) -> None:
    """Announcements and receipts are said again after a restart; a rate of them would show files that never came."""
    anna = facility.client("anna")
    upload = anna.post("/api/v1/uploads", json=scene.wish(mode="sync")).json()["id"]

    def counted(stage: str) -> float:
        return value("datauploader_station_files_total", stage=stage) or 0

    before = {stage: counted(stage) for stage in ("announced", "stored", "catalogued")}
    bytes_before = value("datauploader_station_bytes_total", stage="stored") or 0
    timed = value("datauploader_station_stage_duration_seconds_count", stage="stored") or 0
    for _ in range(2):
        for data in scene.life_of(upload, 3):
            facility.say(data)
    facility.say(scene.report(backlog_files=1234))
    eventually(lambda: value("datauploader_station_backlog_files", service="watcher") == 1234, what="all is folded")
    assert {stage: counted(stage) - had for stage, had in before.items()} == dict.fromkeys(before, 3)
    assert (value("datauploader_station_bytes_total", stage="stored") or 0) - bytes_before == 30
    assert (value("datauploader_station_stage_duration_seconds_count", stage="stored") or 0) - timed == 3


def test_a_clock_that_is_off_is_seen(facility: Any, scene: Any) -> None:
    """A report that comes from the future shows that the station's clock is ahead."""
    late = Event(
        data=scene.report(), station=scene.STATION, service="watcher", time=datetime.now(UTC) + timedelta(hours=1)
    )
    facility.bus.publish(late).result(60)
    eventually(lambda: (value("datauploader_station_clock_offset_seconds") or 0) < -3500, what="the offset is told")


def test_a_removed_station_is_forgotten() -> None:
    """Its series end, or a dashboard would show it for ever."""
    activity = StationActivity()
    for station in ("here", "removed"):
        activity.note(station, {"stored.files": 2, "stored.bytes": 20}, [("stored", 0.3, 2)])
        activity.note_clock(station, 0.1)
    told = {sample.labels["station"] for metric in activity.collect(["here"]) for sample in metric.samples}
    assert told == {"here"}
    told = {sample.labels["station"] for metric in activity.collect(["here", "removed"]) for sample in metric.samples}
    assert told == {"here"}, "what was forgotten does not come back"


def test_a_histogram_of_a_stage_counts_what_came_within() -> None:
    """Each bucket holds those before it, as Prometheus wants it."""
    activity = StationActivity()
    activity.note("here", {}, [("stored", 0.3, 2), ("stored", 45.0, 1), ("stored", 1e9, 1), ("stored", 5.0, -1)])
    (seconds,) = [one for one in activity.collect(["here"]) if one.name.endswith("stage_duration_seconds")]
    buckets = {s.labels["le"]: s.value for s in seconds.samples if s.name.endswith("_bucket")}
    assert (buckets["0.25"], buckets["0.5"], buckets["30.0"], buckets["60.0"], buckets["+Inf"]) == (0, 2, 2, 3, 4)


def test_without_redis_that_alone_is_told() -> None:
    """Prometheus goes on to be answered, so that the alert about Redis can fire."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = redis_client.connect(f"redis://127.0.0.1:{port}/0")
    told = [sample for metric in StationCollector(client, [STATION], []).collect() for sample in metric.samples]
    assert [(sample.name, sample.value) for sample in told] == [("datauploader_gateway_redis_up", 0)]
    client.close()
