"""Keeps the view fed: consumes events while Redis is there, and builds the view again when Redis has lost it."""

import sqlite3
import threading
import time
from contextlib import suppress
from datetime import timedelta

import redis
import structlog

from datauploader.contracts import Event, EventData, StationReported
from datauploader.crashing import crash_point
from datauploader.errors import Retry
from datauploader.messaging.ports import Bus, Consumer, Delivery, Handler, Start
from datauploader.messaging.topology import gateway_queue
from datauploader.state import Store
from datauploader_gateway import metrics
from datauploader_gateway.heartbeat import Heartbeat
from datauploader_gateway.lastheard import LastHeard
from datauploader_gateway.mail.occasions import Occasions
from datauploader_gateway.unanswered import Unanswered
from datauploader_gateway.view import keys
from datauploader_gateway.view.writer import ViewWriter

log = structlog.get_logger()


class _Rebuild:
    """One reading of the event log from its beginning up to an event that was published for it."""

    def __init__(self, bus: Bus, mark: Event[StationReported], fold: Handler) -> None:
        self.done = threading.Event()
        self.mark_id, self._fold = mark.id, fold
        self._published = bus.publish(mark)
        self._consumer = bus.replay(Start(first=True), self._handle)

    @property
    def lost(self) -> bool:
        """The event that would have ended it was not taken by the broker."""
        return self._published.done() and self._published.exception() is not None

    def stop(self) -> None:
        self._consumer.stop()

    def _handle(self, delivery: Delivery) -> None:
        self._fold(delivery)
        if delivery.event.id == self.mark_id:
            self.done.set()


class Keeper:
    """The thread that looks after the view, and says now and then that the gateway is alive."""

    def __init__(
        self, bus: Bus, client: redis.Redis, writer: ViewWriter, store: Store, unanswered: Unanswered,
        occasions: Occasions, numbers: LastHeard, *, heartbeat: Heartbeat, interval_s: float,
    ) -> None:  # fmt: skip
        """Look every `interval_s`."""
        self._bus, self._redis, self._writer = bus, client, writer
        self._store, self._unanswered, self._occasions, self._numbers = store, unanswered, occasions, numbers
        self._heartbeat, self._interval_s = heartbeat, interval_s
        self._ending = threading.Event()
        self._missed = threading.Event()
        """The queue was not there for a while: the view lacks what was said meanwhile."""
        self._consumer: Consumer | None = None
        self._rebuild: _Rebuild | None = None
        self._thread = threading.Thread(target=self._run, name="gateway-view", daemon=True)
        self.trouble = ""
        """A sentence while Redis is away or the view is not whole."""

    def start(self) -> None:
        """Begin; the queue exists when this returns."""
        self._consume()
        self._thread.start()

    def stop(self, deadline_s: float) -> None:
        """Stop consuming and end."""
        self._ending.set()
        end = time.monotonic() + deadline_s
        if self._thread.is_alive():
            self._thread.join(deadline_s)
        self._abandon_rebuild()
        if self._consumer is not None:
            self._consumer.stop(max(0.0, end - time.monotonic()))
        with suppress(sqlite3.DatabaseError):
            self._numbers.write()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._look()
            except redis.RedisError as error:
                self._pause(str(error))
            except Exception:  # the thread must outlive whatever happens here
                log.exception("view_keeper_failed")
            self._heartbeat.beat(self.trouble)
            self._ending.wait(0.1 if self._rebuild else self._interval_s)

    def _look(self) -> None:
        self._consume()
        if self._missed.is_set():
            self._missed.clear()
            self._redis.delete(keys.MARKER)
            self._abandon_rebuild()
        whole = bool(self._redis.exists(keys.MARKER)) and not self._store.forgetful
        self._unanswered.look()
        self._numbers.write()
        if not whole and self._rebuild is None:
            log.info("view_is_built_again")
            metrics.REBUILDS.inc()
            mark = self._heartbeat.event()
            self._redis.set(keys.BUILDING, mark.id)
            crash_point("gateway.rebuilding")
            self._rebuild = _Rebuild(self._bus, mark, self._handle)
        if self._rebuild is not None:
            self.trouble = "the status view is being built again from the event log"
            self._look_after_rebuild(self._rebuild)
        elif self.trouble:
            log.info("view_is_well")
            self.trouble = ""

    def _look_after_rebuild(self, rebuild: _Rebuild) -> None:
        if rebuild.done.is_set():
            crash_point("gateway.rebuilt")
            # Redis may have been flushed once more while the log was read: then all begins again
            if self._redis.get(keys.BUILDING) == rebuild.mark_id.encode():
                self._redis.set(keys.MARKER, int(time.time()))
                self._store.remembered()
                self.trouble = ""
                log.info("view_is_whole")
            self._abandon_rebuild()
        elif rebuild.lost:
            self.trouble = "the status view cannot be built again while the broker is away"
            self._abandon_rebuild()

    def _abandon_rebuild(self) -> None:
        if self._rebuild is not None:
            self._rebuild.stop()
            self._rebuild = None

    def _consume(self) -> None:
        if self._consumer is None:
            self._consumer = self._bus.consume(gateway_queue(), self._handle, on_new=self._missed.set)

    def _pause(self, problem: str) -> None:
        """Leave events in their queue while there is nowhere to put them."""
        if not self.trouble.startswith("Redis"):
            log.warning("redis_away", problem=problem)
        self.trouble = f"Redis does not answer: {problem}"
        self._abandon_rebuild()
        if self._consumer is not None:
            self._consumer.stop()
            self._consumer = None

    def _handle(self, delivery: Delivery) -> None:
        event: Event[EventData] = delivery.event
        try:
            with metrics.FOLD_SECONDS.time():
                self._writer.apply(event)
        except redis.RedisError as error:
            raise Retry(f"Redis does not answer: {error}", timedelta(seconds=1)) from error
        try:
            self._unanswered.hear(event, live=delivery.offset is None)
            self._occasions.hear(event)
            self._numbers.note(event)
        except sqlite3.OperationalError as error:
            raise Retry(f"the state file cannot be written: {error}", timedelta(seconds=10)) from error
        metrics.FOLDED.labels(event.data.name).inc()
