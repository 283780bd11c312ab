"""From a delivery to a handler: one transaction holds the effect, the processed id and the outgoing events."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from datauploader.contracts.envelope import Event
from datauploader.contracts.model import EventData
from datauploader.errors import Retry
from datauploader.messaging.port import Delivery
from datauploader.reliability import Inbox, Outbox, Store
from datauploader.runtime import tracing
from datauploader.runtime.crash_points import crash_point

log = structlog.get_logger()

D = TypeVar("D", bound=EventData)

DISK_PAUSE = timedelta(seconds=10)
FORGET_S = 3600.0
"""How often ids are forgotten that nobody will deliver again."""


@dataclass(frozen=True, slots=True)
class UnitOfWork:
    """A unit of work, one transaction: look up and write through `db`, say what follows through `publish`."""

    db: sqlite3.Connection
    service: str
    cause: Event[EventData] | None = None
    seen: bool = False
    """The event was handled before; only handlers registered with `redeliver` ever see True."""

    def publish(self, event: Event[EventData]) -> None:
        """Send an event if, and only if, the transaction is kept."""
        Outbox.put(self.db, event)

    def follow(self, data: EventData, *, id: str | None = None) -> None:  # noqa: A002 - the envelope's own word
        """Send what this event causes: same station, trace and correlation."""
        assert self.cause is not None
        self.publish(self.cause.follow(data, service=self.service, id=id))


@dataclass(frozen=True, slots=True)
class _Registration:
    call: Callable[[UnitOfWork, Event[Any]], None]
    redeliver: bool


class Dispatcher:
    """Calls the right handler for each event; handlers persist an intent and return, they do not work.

    An event whose id was handled before is skipped, unless its handler was registered with `redeliver`: such a
    handler is idempotent by content and answers a repeated announcement with its receipts once more.
    """

    def __init__(self, store: Store, outbox: Outbox, service: str) -> None:
        self._store = store
        self._outbox = outbox
        self._service = service
        self._handlers: dict[type[EventData], _Registration] = {}
        self._after: list[Callable[[], None]] = [outbox.wake]
        self._forget_at = 0.0

    def on(self, kind: type[D], handler: Callable[[UnitOfWork, Event[D]], None], *, redeliver: bool = False) -> None:
        """Register the handler for one kind of event."""
        self._handlers[kind] = _Registration(handler, redeliver)

    def after_commit(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each committed event, so that workers look for new intents."""
        self._after.append(wake)

    def __call__(self, delivery: Delivery) -> None:
        """Handle one delivery; exceptions are the engine's to turn into a verdict."""
        self.handle_all([delivery])

    def handle_all(self, deliveries: Sequence[Delivery]) -> None:
        """Handle deliveries in one transaction, in order: all of them or, where one raises anything, none."""
        events = [delivery.event for delivery in deliveries if type(delivery.event.data) in self._handlers]
        if not events:
            return
        try:
            with self._store.transaction() as db:
                if (now := time.monotonic()) >= self._forget_at:
                    self._forget_at = now + FORGET_S
                    Inbox.forget_old(db)
                handled = [self._handle(db, event) for event in events]
        except sqlite3.OperationalError as error:  # a full disk is no fault of the message
            raise Retry(f"the state file cannot be written ({error}): free space on its disk", DISK_PAUSE) from error
        if any(handled):
            crash_point("inbox.committed")
            for wake in self._after:
                wake()

    def _handle(self, db: sqlite3.Connection, event: Event[EventData]) -> bool:
        registration = self._handlers[type(event.data)]
        about = {"event_id": event.id, "upload_id": event.data.upload_id}
        with (
            structlog.contextvars.bound_contextvars(event=event.data.name, trace_id=event.trace_id, **about),
            tracing.working(f"{self._service} handles {event.data.name}", event.traceparent, **about),
        ):
            seen = not Inbox.first_time(db, event.id)
            if seen and not registration.redeliver:
                log.debug("duplicate_event_ignored")
                return False
            registration.call(UnitOfWork(db, self._service, event, seen), event)
            crash_point("inbox.handled")
            return True
