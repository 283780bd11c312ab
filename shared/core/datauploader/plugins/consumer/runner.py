"""How a consumer's function is called: once for each event, in a thread of its own, however long it takes."""

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

import structlog

from datauploader.contracts import Event, EventData
from datauploader.contracts.registry import topic
from datauploader.errors import Retry
from datauploader.messaging import Delivery
from datauploader.messaging.dispatcher import DISK_PAUSE, FORGET_S
from datauploader.plugins.consumer.plug_in import ConsumerPlugIn, EventHandler, HandlerContext
from datauploader.reliability import Inbox, Store
from datauploader.reliability.hang_guard import in_a_thread

log = structlog.get_logger()

S = TypeVar("S")

KEPT_S = 45 * 24 * 3600.0
"""How long it is known that an event was handled: longer than the event log keeps it, from which it can be replayed."""
LATER = timedelta(minutes=1)
STOP_S = 2.0
"""What a function may still take when the service stops."""
_LOOK_S = 0.5


@dataclass(slots=True)
class _Call:
    """A call of a function that has not been settled; its result says whether the inbox knows of it."""

    function: str
    event: Event[EventData]
    began_at: float
    ended: "Future[bool]"
    late: bool = False
    """Its delivery has gone back."""


class HandlerRunner(Generic[S]):
    """Calls the functions of a consumer; what the engine calls for each delivery.

    A delivery waits for its function for `seconds`, and goes back to be delivered later if that does not return, so
    that no delivery is open for so long that the broker closes the channel. The call goes on; the same event is not
    handled again while it does, nor when it has ended well.
    """

    def __init__(
        self, plug_in: ConsumerPlugIn[S], settings: S, store: Store, *, seconds: float, at_once: int,
        changed: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Call nothing yet; `changed` is called when `full` may have changed."""
        self._plug_in, self._settings, self._store = plug_in, settings, store
        self._seconds, self._at_once, self._changed = seconds, at_once, changed
        self._places = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._calls: dict[str, _Call] = {}
        self._forget_at = 0.0
        self.stopping = threading.Event()

    @property
    def full(self) -> bool:
        """Every place is taken by a call whose delivery has gone back: nothing else can be handled."""
        return len(self._late()) >= self._at_once

    @property
    def problem(self) -> str:
        """Say what has not returned for long, "" where nothing is so."""
        late = self._late()
        if not late:
            return ""
        oldest = min(late, key=lambda call: call.began_at)
        minutes = (time.monotonic() - oldest.began_at) / 60
        waiting = "; other events wait until it returns" if len(late) >= self._at_once else ""
        return (
            f"{oldest.function} has been handling {topic(type(oldest.event.data))} {oldest.event.id} for {minutes:.0f} "
            f"minutes{waiting}. If it hangs, restart the service and give what it calls a time limit"
        )

    def __call__(self, delivery: Delivery) -> None:
        """Handle one delivery; exceptions are the engine's to turn into a verdict."""
        handler = self._plug_in.handlers.get(type(delivery.event.data))
        if handler is None:
            return
        until = time.monotonic() + self._seconds
        call = self._begun(handler, delivery, until)
        if call is None:
            return
        while not self._ended(call, until):
            if self.stopping.is_set():
                until = min(until, time.monotonic() + STOP_S)
            if time.monotonic() >= until:
                call.late = True
                self._changed()
                raise Retry(f"{call.function} takes longer than {self._seconds:g} s, and goes on", LATER)
        self._settle(call)

    def _begun(self, handler: EventHandler[EventData, S], delivery: Delivery, until: float) -> _Call | None:
        """Begin a call, or find the one that runs; None where the event was handled."""
        event = delivery.event
        if known := self._known(event):
            return known[0]
        if not self._places.acquire(timeout=max(0.0, until - time.monotonic())):
            raise Retry("as many events are being handled as the consumer may handle at once", LATER)
        with self._lock:
            if event.id in self._calls:  # it was delivered twice at the same moment
                self._places.release()
                return self._calls[event.id]
            function = getattr(handler, "__name__", self._plug_in.name)
            ended: Future[bool] = Future()
            call = self._calls[event.id] = _Call(function, event, time.monotonic(), ended)
        running = in_a_thread(lambda: self._run(handler, delivery))
        running.add_done_callback(lambda done: self._end(done, ended))
        return call

    def _known(self, event: Event[EventData]) -> tuple[_Call | None] | None:
        with self._lock:
            if event.id in self._calls:
                return (self._calls[event.id],)
            with self._store.reading() as db:
                handled = Inbox.knows(db, event.id)
        if handled:
            log.debug("duplicate_event_ignored", event_id=event.id)
        return (None,) if handled else None

    def _run(self, handler: EventHandler[EventData, S], delivery: Delivery) -> bool:
        event = delivery.event
        about = {"event_id": event.id, "upload_id": event.data.upload_id, "trace_id": event.trace_id}
        with structlog.contextvars.bound_contextvars(consumer=self._plug_in.name, **about):
            handler(event, HandlerContext(self._settings, event.id, delivery.attempt, log.bind(), self.stopping))
            return self._note(event)

    def _end(self, done: "Future[bool]", ended: "Future[bool]") -> None:
        self._places.release()
        error = done.exception()
        if error is None:
            ended.set_result(done.result())
        elif isinstance(error, Exception):
            ended.set_exception(error)
        else:
            ended.set_exception(RuntimeError(f"the function has raised {type(error).__name__}"))
        self._changed()

    @staticmethod
    def _ended(call: _Call, until: float) -> bool:
        try:
            call.ended.exception(max(0.0, min(_LOOK_S, until - time.monotonic())))
        except TimeoutError:
            return call.ended.done()
        return True

    def _settle(self, call: _Call) -> None:
        """Forget the call; an event that the inbox does not know yet stays known here until it does."""
        if call.ended.exception() is None and not call.ended.result() and not self._note(call.event):
            raise Retry("the state file cannot be written: free space on its disk", DISK_PAUSE)
        with self._lock:
            self._calls.pop(call.event.id, None)
        call.ended.result()

    def _note(self, event: Event[EventData]) -> bool:
        """Note that an event was handled; return False where the disk does not take it."""
        try:
            with self._store.transaction() as db:
                Inbox.first_time(db, event.id)
                if (now := time.monotonic()) >= self._forget_at:
                    self._forget_at = now + FORGET_S
                    Inbox.forget_old(db, older_than_s=KEPT_S)
        except sqlite3.OperationalError as error:
            log.error("handled_event_not_noted", event_id=event.id, problem=str(error))  # noqa: TRY400 - a sentence
            return False
        return True

    def _late(self) -> list[_Call]:
        with self._lock:
            return [call for call in self._calls.values() if call.late and not call.ended.done()]
