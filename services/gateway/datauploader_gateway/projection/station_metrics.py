"""What stations say of themselves, for Prometheus: nobody need reach into a beamline to know how it is there."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import redis
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from datauploader.contracts.rest.stations import ServiceReport, StationStatus
from datauploader_gateway.metrics import ACTIVITY
from datauploader_gateway.projection import keys
from datauploader_gateway.projection.reader import statuses


class StationCollector(Collector):
    """Reads the latest reports of all stations when Prometheus asks."""

    def __init__(self, client: redis.Redis, configured: Sequence[str], removed: Sequence[str]) -> None:
        """Tell of the stations that are configured or have reported, and were not removed."""
        self._redis, self._configured, self._removed = client, configured, removed

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand, so that nothing is read when this is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read the reports; while Redis is away that alone is told."""
        up = GaugeMetricFamily("datauploader_gateway_redis_up", "1 where Redis has just answered")
        try:
            said = cast("Mapping[Any, Any]", self._redis.hgetall(keys.STATIONS))
        except redis.RedisError:
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        removed = set(self._removed)
        found = [one for one in statuses(said, self._configured, datetime.now(UTC)) if one.station not in removed]
        yield from _stations(found)
        yield from ACTIVITY.collect([one.station for one in found])


def _stations(found: Sequence[StationStatus]) -> Iterator[Metric]:
    silent = GaugeMetricFamily(
        "datauploader_station_silent", "1 where a station has missed three reports", labels=["station"]
    )
    for station in found:
        silent.add_metric((station.station,), float(station.silent))
    yield silent
    services = [(station.station, report) for station in found for report in station.services]
    info = InfoMetricFamily("datauploader_station", "Release of a station's service", labels=["station", "service"])
    for station_key, report in services:
        info.add_metric((station_key, report.service), {"version": report.version})
    yield info
    for name, about, value in _OF_SERVICE:
        gauge = GaugeMetricFamily(f"datauploader_station_{name}", about, labels=["station", "service"])
        for station_key, report in services:
            if (number := value(report)) is not None:
                gauge.add_metric((station_key, report.service), number)
        yield gauge
    about = "1 where a storage takes the files of a station"
    storage_ok = GaugeMetricFamily("datauploader_station_storage_ok", about, labels=["station", "remote"])
    for station_key, report in services:
        for storage in () if report.silent else report.storages:
            storage_ok.add_metric((station_key, storage.remote), float(not storage.trouble))
    yield storage_ok


def _missing(report: ServiceReport) -> float:
    return sum(not root.present for root in report.roots)


def _least_free(report: ServiceReport) -> float | None:
    """Return the smallest part that is free of a disk with a folder for uploads, or with the service's state."""
    disks = [(root.free_bytes, root.total_bytes) for root in report.roots]
    if report.state_disk is not None:
        disks.append((report.state_disk.free_bytes, report.state_disk.total_bytes))
    return min((free / total for free, total in disks if free is not None and total), default=None)


_OF_SERVICE: Sequence[tuple[str, str, Callable[[ServiceReport], float | None]]] = (
    ("last_report_timestamp_seconds", "When the latest report was said",
     lambda report: datetime.fromisoformat(report.time).timestamp()),
    ("service_silent", "1 where this service has missed three reports", lambda report: report.silent),
    ("troubles", "Troubles that the service reports", lambda report: len(report.troubles)),
    ("backlog_files", "File versions that wait", lambda report: report.backlog_files),
    ("backlog_bytes", "Bytes of the file versions that wait", lambda report: report.backlog_bytes),
    ("oldest_pending_seconds", "How long the oldest of them has waited", lambda report: report.oldest_pending_s),
    ("uploads_open", "Uploads that are open", lambda report: report.uploads_open),
    ("missing_folders", "Folders for uploads that are not there", _missing),
    ("disk_free_ratio", "The smallest free part of the disks of the service", _least_free),
)  # fmt: skip
