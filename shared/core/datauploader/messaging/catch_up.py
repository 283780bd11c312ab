"""Catch-up: reading the event log until everything was handled that had been said before, as after a loss of state."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from datauploader.contracts.envelope import Event
from datauploader.contracts.model import EventData
from datauploader.errors import MessagingError
from datauploader.messaging.port import Bus, Consumer, Delivery, Handler, Start

FROM_THE_FIRST = Start(first=True)


class CatchUp:
    """One catch-up, a consumer whose handler is given nothing behind its end; whoever began it stops it then.

    The end is where the log ended when the reading began, as `Bus.replay` tells. Who must not miss anything that was
    said until now publishes a marker instead: the end is where that event comes back.
    """

    def __init__(
        self, bus: Bus, handler: Handler, start: Start = FROM_THE_FIRST, *, marker: Event[EventData] | None = None,
        then: Callable[["CatchUp"], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Begin to read, and publish the marker if there is one; the reader's thread calls `then` at the end."""
        self.start, self.marker_id = start, marker.id if marker is not None else ""
        self.done = threading.Event()
        """Set when the end is reached."""
        self._handler, self._then = handler, then
        self._published = bus.publish(marker) if marker is not None else None
        self._reader: Future[Consumer] = Future()
        at_end = self._end if marker is None else None
        self._reader.set_result(bus.replay(start, self._handle, at_end=at_end))

    @property
    def problem(self) -> MessagingError | None:
        """Why nothing is read now; BrokerRefused where waiting does not help; None while all is well."""
        return self._reader.result().problem

    @property
    def lost(self) -> bool:
        """The broker has not taken the marker, so the end will not come."""
        return self._published is not None and self._published.done() and self._published.exception() is not None

    def stop(self, deadline_s: float = 10.0) -> None:
        """Read no more."""
        self._reader.result().stop(deadline_s)

    def _handle(self, delivery: Delivery) -> None:
        if self.done.is_set():
            return
        self._handler(delivery)
        if delivery.event.id == self.marker_id:
            self._end()

    def _end(self) -> None:
        self.done.set()
        self._then(self)
