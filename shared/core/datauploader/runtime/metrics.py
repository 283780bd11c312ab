"""What every service counts, for Prometheus: the names are here alone, so that they mean the same in each of them.

No label holds the name of an upload, a path or a person: those have no end, and a series of each would be kept. What is
counted for files is counted once for a batch of them, and what can be looked up is looked up when somebody asks.
"""

import os
import platform
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Protocol

import prometheus_client
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from datauploader.runtime.certificates import CertificateWatch

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, which nobody reads

COMMIT = "DATAUPLOADER_COMMIT"
"""The variable that says which commit an image was made from."""
_HANDLER_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCH_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)

FILES = Counter(
    "datauploader_files",
    "File versions that this service has done its part of, by stage (announced, stored, catalogued, read) and outcome",
    ["stage", "outcome"],
)
BYTES = Counter("datauploader_bytes", "Bytes of the file versions that came through a stage", ["stage"])
BATCH_SECONDS = Histogram(
    "datauploader_transfer_batch_duration_seconds",
    "Time that a batch of files took, by step (copy, verify)",
    ["step"],
    buckets=_BATCH_BUCKETS,
)
RCLONE_ERRORS = Counter("datauploader_rclone_errors", "Attempts at a file that failed, by reason", ["reason"])
CATALOGUE_SECONDS = Histogram(
    "datauploader_catalogue_request_duration_seconds",
    "Time of a call to the catalogue, by procedure and outcome (ok, refused, unavailable, not_yet, error)",
    ["procedure", "outcome"],
    buckets=_CALL_BUCKETS,
)
HANDLED = Counter(
    "datauploader_consumer_messages", "Messages that were handled, by outcome (done, again, park)", ["queue", "outcome"]
)
HANDLER_SECONDS = Histogram(
    "datauploader_consumer_handler_duration_seconds",
    "Time that a handler took for the messages that it was given at once",
    ["queue"],
    buckets=_HANDLER_BUCKETS,
)


def begin(counter: Counter, *labels: tuple[str, ...]) -> None:
    """Tell these series from the start: of one that begins with its first event nobody could say that it has risen."""
    for each in labels:
        counter.labels(*each)


def note_files(stage: str, outcome: str, sizes: Iterable[int]) -> None:
    """Count a batch of files of one outcome, each given by its bytes."""
    known = list(sizes)
    if known:
        FILES.labels(stage, outcome).inc(len(known))
        BYTES.labels(stage).inc(sum(known))


def note_failures(reasons: Iterable[str]) -> None:
    """Count attempts at files that failed, each given by its reason."""
    for reason, attempts in Tally(reasons).items():
        RCLONE_ERRORS.labels(reason).inc(attempts)


def note_handled(queue: str, outcomes: Iterable[str], seconds: float) -> None:
    """Count messages that a handler was given at once, and the time that it took."""
    for outcome, messages in Tally(outcomes).items():
        HANDLED.labels(queue, outcome).inc(messages)
    HANDLER_SECONDS.labels(queue).observe(seconds)


Checks = Callable[[], Iterable[tuple[str, str, bool]]]
"""Says of each check its service, its name, and whether it is well."""


class Backlog(Protocol):
    """What holds messages that the broker has not taken yet."""

    def backlog(self) -> tuple[int, float]:
        """Return how many wait, and for how many seconds the oldest has; 0 where none does."""


class ProcessCollector(Collector):
    """What is looked up when Prometheus asks: the checks of this process, outboxes of its services, certificates."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._lock = threading.Lock()
        self._checks: list[Checks] = []
        self._backlogs: dict[str, Backlog] = {}
        self.certificates = CertificateWatch()

    def watch_checks(self, checks: Checks) -> None:
        """Tell these checks."""
        with self._lock:
            self._checks.append(checks)

    def forget_checks(self, checks: Checks) -> None:
        """Tell them no longer: their services stop."""
        with self._lock:
            if checks in self._checks:
                self._checks.remove(checks)

    def watch_backlog(self, service: str, backlog: Backlog) -> None:
        """Tell what a service has not been able to send."""
        with self._lock:
            self._backlogs[service] = backlog

    def forget_backlog(self, service: str, backlog: Backlog) -> None:
        """Tell it no longer: the service stops."""
        with self._lock:
            if self._backlogs.get(service) is backlog:
                del self._backlogs[service]

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand, so that nothing is looked up when this is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Look everything up."""
        build = InfoMetricFamily("datauploader_build", "What runs here")
        release = version("ceric-datauploader-core")
        build.add_metric(
            (), {"version": release, "commit": os.environ.get(COMMIT, ""), "python": platform.python_version()}
        )
        yield build
        check = GaugeMetricFamily(
            "datauploader_check_ok", "1 where a thing that a service depends on is well", labels=["service", "check"]
        )
        with self._lock:
            watched = list(self._checks)
        for service, name, ok in dict.fromkeys(one for checks in watched for one in checks()):
            check.add_metric((service, name), float(ok))
        yield check
        yield from self._outboxes()
        yield from self.certificates.collect()

    def _outboxes(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "datauploader_outbox_messages", "Messages that the broker has not taken yet", labels=["service"]
        )
        oldest = GaugeMetricFamily(
            "datauploader_outbox_oldest_seconds", "How long the oldest of them has waited", labels=["service"]
        )
        with self._lock:
            backlogs = dict(self._backlogs)
        for service, backlog in backlogs.items():
            messages, seconds = backlog.backlog()
            waiting.add_metric((service,), messages)
            oldest.add_metric((service,), seconds)
        yield from (waiting, oldest)


PROCESS = ProcessCollector()
REGISTRY.register(PROCESS)
