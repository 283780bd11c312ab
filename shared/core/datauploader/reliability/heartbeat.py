"""The heartbeat: a service says at an interval that it is alive and how it is, so that its silence can be noticed."""

import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from importlib.metadata import version
from typing import Literal, TypedDict

import structlog

from datauploader.contracts import Event, EventData, Station, StationReported
from datauploader.contracts.batching import bounded
from datauploader.contracts.stations import Disk, MoverElsewhere, Root, Storage
from datauploader.errors import MessagingError
from datauploader.reliability import Outbox
from datauploader.reliability.worker import PeriodicTask

log = structlog.get_logger()

State = Literal["starting", "ok", "degraded", "stopping"]


class Details(TypedDict, total=False):
    """What a service may say about itself beside its troubles; the units are those of `StationReported`."""

    roots: tuple[Root, ...]
    state_disk: Disk | None
    storages: tuple[Storage, ...]
    movers: tuple[MoverElsewhere, ...]
    backlog_files: int
    backlog_bytes: int
    oldest_pending_s: float
    uploads_open: int
    scanned_entries: int
    overflows: int


class Heartbeat(PeriodicTask):
    """Publishes `station.reported`; a report that is lost is not kept, for the next one says more.

    It looks at the service each time, in the thread that publishes: a service that hangs, or cannot be looked at, falls
    silent. Either `start` gives it a thread of its own, or the service's own loop calls `tick`.
    """

    def __init__(
        self, publish: Callable[[Event[EventData]], "Future[None]"], outbox: Outbox, here: Station, service: str, *,
        distribution: str, interval_s: float, troubles: Callable[[], Iterable[str]],
        details: Callable[[], Details] = Details,
    ) -> None:  # fmt: skip
        """Prepare; nothing is said yet.

        Args:
            publish: how it is sent, past the outbox.
            outbox: numbers the reports among all that the service says.
            here: the station that the service reports under.
            service: its name.
            distribution: what is installed, whose version is said.
            interval_s: seconds between two reports; after three of them without one the service counts as silent.
            troubles: sentences: what is wrong, and what to do; empty ones do not count.
            details: what else there is to say.
        """
        super().__init__(f"{service}.heartbeat")
        self._publish, self._outbox, self._here = publish, outbox, here
        self._service, self._distribution, self._interval_s = service, distribution, interval_s
        self._troubles, self._details = troubles, details
        self._sent: Future[None] | None = None
        self._due = float("-inf")
        self._told: tuple[str, ...] = ()
        self._first: State | None = None

    def start(self, first: State | None = None) -> None:
        """Report in a thread of its own, at once and then at the interval; `first` says how the service begins."""
        self._first = first
        super().start()

    def stop(self, deadline_s: float) -> None:
        """Report that the service stops, and nothing afterwards."""
        super().stop(deadline_s)
        self.beat("stopping")

    def tick(self, *, on_change: bool = False) -> None:
        """Report if it is time; with `on_change` also when a trouble has come or gone."""
        if time.monotonic() >= self._due or (on_change and self._sentences() != self._told):
            self.beat()

    def beat(self, state: State | None = None) -> None:
        """Report now, unless the broker has not taken the last report yet: there is no pile of old ones."""
        self._due = time.monotonic() + self._interval_s
        if self._sent is not None and not self._sent.done():
            return

        def note_refusal(sent: "Future[None]") -> None:
            if not sent.cancelled() and (error := sent.exception()) is not None:
                log.debug("report_not_taken", problem=str(error))

        report = self.event(state)
        self._told = report.data.troubles
        try:
            self._sent = self._publish(self._outbox.numbered(report))
        except MessagingError as error:
            log.debug("report_not_sent", problem=str(error))
        else:
            self._sent.add_done_callback(note_refusal)

    def event(self, state: State | None = None) -> Event[StationReported]:
        """Build a report; without a state it is as the troubles say."""
        return Event(data=self.report(state), station=self._here, service=self._service)

    def report(self, state: State | None = None) -> StationReported:
        """Look at the service."""
        troubles = self._sentences()
        return StationReported(
            service=self._service, version=version(self._distribution), host=socket.gethostname(),
            state=state or ("degraded" if troubles else "ok"), troubles=troubles, interval_s=self._interval_s,
            **self._details(),
        )  # fmt: skip

    def _sentences(self) -> tuple[str, ...]:
        return bounded(dict.fromkeys(sentence for sentence in self._troubles() if sentence))

    def take_turn(self) -> float:
        """Report; the first time as it was said at the start."""
        first, self._first = self._first, None
        self.beat(first)
        return self._interval_s
