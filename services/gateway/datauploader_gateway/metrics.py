"""What the gateway counts, for Prometheus: its own work, and what it hears of stations, which nobody else can reach."""

import bisect
import itertools
import threading
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Iterator, Mapping

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from datauploader.runtime import metrics  # noqa: F401 - what all services have in common is told with it

REQUESTS = Counter("datauploader_gateway_requests", "Requests by route and status", ["method", "route", "status"])
SECONDS = Histogram("datauploader_gateway_request_duration_seconds", "Time to answer, without streams", ["route"])
FOLDED = Counter("datauploader_gateway_events_folded", "Events put into the view", ["event"])
FOLD_SECONDS = Histogram(
    "datauploader_gateway_fold_seconds",
    "Time to put one event into the view",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1),
)
STREAMS = Gauge("datauploader_gateway_streams", "Open event streams")
REBUILDS = Counter("datauploader_gateway_view_rebuilds", "Times that the view was built again from the event log")
SIGN_INS = Counter("datauploader_gateway_sign_ins", "Attempts to sign in", ["method", "outcome"])

_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
_STAGES = {"ready": "announced", "stored": "stored", "catalogued": "catalogued", "failed": "failed"}
"""What the view counts of an upload's files, and what it is called here."""


class StationActivity:
    """What was newly heard of each station's files: a version counts once at each stage, however often it is said."""

    def __init__(self) -> None:
        """Begin at 0; who has counted before is told by Prometheus."""
        self._lock = threading.Lock()
        self._files: Tally[tuple[str, str]] = Tally()
        self._bytes: Tally[tuple[str, str]] = Tally()
        self._times: dict[tuple[str, str], tuple[list[int], float]] = {}
        """By station and step: how many took so long (the last one longer than any bucket), and their sum."""
        self._clocks: dict[str, float] = {}

    def note(self, station: str, counts: Mapping[str, int], times: Iterable[tuple[str, float, int]]) -> None:
        """Add what the view has just added; `times` are steps, with their seconds and how many files took them."""
        with self._lock:
            for word, stage in _STAGES.items():
                if (files := counts.get(f"{word}.files", 0)) > 0:
                    self._files[station, stage] += files
                    self._bytes[station, stage] += max(0, counts.get(f"{word}.bytes", 0))
            for step, seconds, files in times:
                if files > 0:  # less where a newer version took the place of one that was counted
                    tally, total = self._times.get((station, step)) or ([0] * (len(_BUCKETS) + 1), 0.0)
                    tally[bisect.bisect_left(_BUCKETS, seconds)] += files
                    self._times[station, step] = (tally, total + seconds * files)

    def note_clock(self, station: str, behind_s: float) -> None:
        """Note how much later than it says a station's report arrived; below 0 its clock is ahead of ours."""
        with self._lock:
            self._clocks[station] = behind_s

    def collect(self, wanted: Collection[str]) -> Iterator[Metric]:
        """Tell it of these stations, and forget the others: they were removed."""
        with self._lock:
            for known in (self._files, self._bytes, self._times):
                for key in [key for key in known if key[0] not in wanted]:
                    del known[key]
            for station in self._clocks.keys() - set(wanted):
                del self._clocks[station]
            files, sizes, clocks = dict(self._files), dict(self._bytes), dict(self._clocks)
            times = {key: (list(tally), total) for key, (tally, total) in self._times.items()}
        labels = ["station", "stage"]
        of_files = CounterMetricFamily("datauploader_station_files", "File versions by stage", labels=labels)
        of_bytes = CounterMetricFamily("datauploader_station_bytes", "Their bytes", labels=labels)
        for key, number in files.items():
            of_files.add_metric(key, number)
            of_bytes.add_metric(key, sizes[key])
        seconds = HistogramMetricFamily(
            "datauploader_station_stage_duration_seconds",
            "Time from the stage before: announced (since it was last written), stored (moved and proved), registered "
            "(in the catalogue), shown (on the page)",
            labels=labels,
        )
        for key, (tally, total) in times.items():
            ends = (*map(str, map(float, _BUCKETS)), "+Inf")
            seconds.add_metric(key, list(zip(ends, itertools.accumulate(tally), strict=True)), total)
        offset = GaugeMetricFamily(
            "datauploader_station_clock_offset_seconds",
            "How much later than it says the last report arrived; below 0 the station's clock is ahead",
            labels=["station"],
        )
        for station, behind in clocks.items():
            offset.add_metric((station,), behind)
        yield from (of_files, of_bytes, seconds, offset)


ACTIVITY = StationActivity()
