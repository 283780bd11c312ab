"""Says every half minute that the gateway is alive, as every service does."""

import socket
import time
from collections.abc import Callable
from importlib.metadata import version

import structlog

from datauploader.contracts import Event, EventData, Station, StationReported
from datauploader.errors import MessagingError
from datauploader.messaging.ports import Bus

log = structlog.get_logger()

SERVICE = "gateway"


class Heartbeat:
    """Publishes a report when one is due; a lost one does not matter, the next one says the same."""

    def __init__(
        self, bus: Bus, station: Station, interval_s: float,
        numbered: Callable[[Event[EventData]], Event[EventData]] = lambda event: event,
    ) -> None:  # fmt: skip
        """Report as a service of this station; `numbered` gives each report its place in what the gateway says."""
        self._numbered = numbered
        self._bus, self._station, self._interval_s = bus, station, interval_s
        self._due = 0.0
        self._said = ""

    def event(self, trouble: str = "", *, stopping: bool = False) -> Event[StationReported]:
        """Build a report."""
        state = "stopping" if stopping else "degraded" if trouble else "ok"
        data = StationReported(
            service=SERVICE, version=version("ceric-datauploader-gateway"), host=socket.gethostname(), state=state,
            troubles=(trouble,) if trouble else (), interval_s=self._interval_s,
        )  # fmt: skip
        return Event(data=data, station=self._station, service=SERVICE)

    def beat(self, trouble: str) -> None:
        """Report if it is time, or if a trouble has come or gone."""
        if time.monotonic() < self._due and trouble == self._said:
            return
        self._said = trouble
        self._due = time.monotonic() + self._interval_s
        try:
            self._bus.publish(self._numbered(self.event(trouble)))
        except MessagingError as error:
            log.debug("heartbeat_not_sent", problem=str(error))
