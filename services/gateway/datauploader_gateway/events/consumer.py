"""Consumes events for the view, a projection, while Redis is there, and rebuilds it when Redis has lost it."""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import redis
import structlog

from datauploader.contracts import Event, EventData, StationReported
from datauploader.errors import Retry
from datauploader.messaging.catch_up import CatchUp
from datauploader.messaging.port import Bus, Consumer, Delivery, Start
from datauploader.messaging.topology import gateway_queue
from datauploader.reliability import Store
from datauploader.reliability.heartbeat import Heartbeat
from datauploader.reliability.worker import PeriodicTask
from datauploader.runtime.crash_points import crash_point
from datauploader_gateway import metrics, redis_client
from datauploader_gateway.errors import AnotherServes
from datauploader_gateway.events.heard_sequences import HeardSequences
from datauploader_gateway.events.pending_requests import PendingRequests
from datauploader_gateway.events.serving import ServingLease
from datauploader_gateway.projection import keys, view_format
from datauploader_gateway.projection.projection_status import READING, ProjectionStatus
from datauploader_gateway.projection.projection_version import ProjectionVersion
from datauploader_gateway.projection.writer import ViewWriter
from datauploader_gateway.redis_client import MemoryReserve

log = structlog.get_logger()

CATCH_UP_S = 600.0
"""How far before the view's latest change the log is read again after a start."""
KEEP_S = 5.0
"""How often the number of the latest change is written down."""


class EventConsumer(PeriodicTask):
    """The consumer of all events: a thread that keeps the projection, and says now and then that it is alive."""

    def __init__(
        self, bus: Bus, client: redis.Redis, writer: ViewWriter, store: Store, pending_requests: PendingRequests,
        numbers: HeardSequences, lease: ServingLease, *, heartbeat: Heartbeat, interval_s: float,
        commits: ProjectionVersion, condition: ProjectionStatus, on_event: Callable[[Event[EventData]], object],
        on_old_redis: Callable[[redis.Redis], None], when_whole: Callable[[], None],
    ) -> None:  # fmt: skip
        """Look every `interval_s`.

        Each event that is in the view is given to `on_event`; a Redis that may have gone back to `on_old_redis`, which
        must take back in it what was taken back; and while the view is whole, each look ends with `when_whole`.
        """
        super().__init__("gateway-view")
        self._version, self._status = commits, condition
        self._on_event, self._on_old_redis, self._when_whole = on_event, on_old_redis, when_whole
        self._reserve = MemoryReserve(client)
        self._refused: redis.RedisError | None = None
        """Why the latest event could not be folded, until the thread has seen it."""
        self._caught_up = False
        """The latest minutes of the log were read once more after the start."""
        self._bus, self._redis, self._writer = bus, client, writer
        self._store, self._pending_requests, self._sequences, self._lease = store, pending_requests, numbers, lease
        self._heartbeat, self._interval_s = heartbeat, interval_s
        self._missed = threading.Event()
        """The queue was not there for a while: the view lacks what was said meanwhile."""
        self._consumer: Consumer | None = None
        self._rebuild: CatchUp | None = None
        self._keep_at = 0.0

    @property
    def problem(self) -> str:
        """A sentence while Redis is away or full, or the view is not whole, or nobody has looked yet."""
        return self._status.trouble

    def start(self) -> None:
        """Begin; the queue exists when this returns, unless another gateway serves."""
        try:
            self._lease.renew()
        except AnotherServes as standby:
            self._status.set_problem(str(standby))
        except redis.RedisError:
            self._consume()  # as long as nobody knows better
        else:
            self._consume()
        super().start()

    def stop(self, deadline_s: float) -> None:
        """Stop consuming and end."""
        end = time.monotonic() + deadline_s
        super().stop(deadline_s)
        self._abandon_rebuild()
        if self._consumer is not None:
            self._consumer.stop(max(0.0, end - time.monotonic()))
        with suppress(redis.RedisError):
            self._lease.release()
        with suppress(sqlite3.DatabaseError):
            self._sequences.write()
        self._keep_at = 0.0
        self._keep_number()

    def take_turn(self) -> float:
        """Look after the view, and pause where it cannot be written."""
        try:
            self._look()
        except AnotherServes as standby:
            self._pause(str(standby))
        except redis.RedisError as error:
            sentence = redis_client.trouble_of(error)
            if not self.problem.startswith("Redis"):
                log.warning("redis_unavailable", problem=f"{sentence} ({error})")
            self._pause(sentence)
        except Exception:  # the thread must outlive whatever happens here
            log.exception("projection_update_failed")
        if not self._lease.rival:
            self._heartbeat.tick(on_change=True)
        return 0.1 if self._rebuild else self._interval_s

    def _pause(self, problem: str) -> None:
        """Leave events in their queue while there is nowhere to put them, or while another gateway takes them."""
        self._status.set_problem(problem)
        self._abandon_rebuild()
        if self._consumer is not None:
            self._consumer.stop()
            self._consumer = None

    def _look(self) -> None:
        if (refused := self._refused) is not None:
            self._refused = None
            raise refused
        self._lease.renew()
        self._reserve.require_room(now=True)
        before = self._version.highest  # whether it can be written: a full Redis is read without a complaint
        self._version.made(before, int(self._redis.incr(keys.COMMITS)))
        view_format.claim(self._redis)
        self._consume()
        self._compare()
        if self._missed.is_set():
            self._missed.clear()
            self._redis.delete(keys.MARKER)
            self._abandon_rebuild()
        whole = bool(self._redis.exists(keys.MARKER)) and not self._store.needs_recovery
        self._pending_requests.repeat_due()
        self._sequences.write()
        if not whole and self._rebuild is None:
            self._status.set_problem(READING)
            log.info("projection_rebuild_started")
            metrics.REBUILDS.inc()
            mark = self._heartbeat.event()
            self._redis.set(keys.BUILDING, mark.id)
            self._on_old_redis(self._redis)
            crash_point("gateway.rebuilding")
            self._rebuild = CatchUp(self._bus, self._handle, marker=mark)
        elif not self._caught_up and self._rebuild is None:
            # after a power cut of this machine Redis may lack its last second, and the state file what would tell
            self._on_old_redis(self._redis)
            last = min(time.time(), float(self._redis.get(keys.COMMITTED) or time.time()))
            start = Start(time=datetime.fromtimestamp(last - CATCH_UP_S, UTC))
            self._rebuild = CatchUp(self._bus, self._handle, start, marker=self._heartbeat.event())
        if self._rebuild is not None and self._rebuild.start.first:
            self._status.set_problem(READING)
        elif self.problem:
            log.info("projection_recovered")
            self._status.set_problem("")
        else:
            self._when_whole()
        if self._rebuild is not None:
            self._look_after_rebuild(self._rebuild)

    def _compare(self) -> None:
        """Find out whether Redis has gone back behind what it has shown; then the view counts as lost."""
        if not self._version.behind.is_set():
            self._keep_number()
            return
        self._version.behind.clear()
        highest, there = self._version.highest, int(self._redis.get(keys.COMMITS) or 0)
        if self._redis.exists(keys.MARKER):
            log.warning(
                "redis_rolled_back", changes=there, had=highest, hint="after a power cut, or a copy was put back"
            )
        with self._redis.pipeline() as pipe:
            pipe.delete(keys.MARKER)
            pipe.incrby(keys.COMMITS, max(0, highest - there))
            pipe.execute()
        self._abandon_rebuild()

    def _keep_number(self) -> None:
        if time.monotonic() < self._keep_at:
            return
        self._keep_at = time.monotonic() + KEEP_S
        try:
            self._version.save()
        except sqlite3.OperationalError as error:
            log.warning("state_file_write_failed", problem=str(error))

    def _look_after_rebuild(self, rebuild: CatchUp) -> None:
        if rebuild.done.is_set() and not rebuild.start.first:
            self._caught_up = True
            self._abandon_rebuild()
        elif rebuild.done.is_set():
            crash_point("gateway.rebuilt")
            # Redis may have been flushed once more while the log was read: then all begins again
            if self._redis.get(keys.BUILDING) == rebuild.marker_id.encode():
                self._redis.set(keys.MARKER, int(time.time()))
                self._store.mark_recovered()
                self._status.set_problem("")
                self._caught_up = True
                log.info("projection_rebuilt")
            self._abandon_rebuild()
        elif rebuild.lost:
            if rebuild.start.first:
                self._status.set_problem("the status view cannot be built again while the broker is away")
            self._abandon_rebuild()

    def _abandon_rebuild(self) -> None:
        if self._rebuild is not None:
            self._rebuild.stop()
            self._rebuild = None

    def _consume(self) -> None:
        if self._consumer is None:
            self._consumer = self._bus.consume(
                gateway_queue(), self._handle, together=self._handle_all, on_new=self._missed.set
            )

    def _handle(self, delivery: Delivery) -> None:
        self._handle_all([delivery])

    def _handle_all(self, deliveries: Sequence[Delivery]) -> None:
        """Fold what comes together; what is folded, kept or noted once more changes nothing."""
        live = deliveries[0].offset is None
        events: list[Event[EventData]] = [delivery.event for delivery in deliveries]
        began = time.perf_counter()
        try:
            self._writer.apply(*events, live=live)
        except redis.RedisError as error:
            self._refused = error
            raise Retry(redis_client.trouble_of(error), timedelta(seconds=1)) from error
        each = (time.perf_counter() - began) / len(events)
        for event in events:
            try:
                self._pending_requests.note_answer(event, live=live)
                self._on_event(event)
                self._sequences.note(event)
            except sqlite3.OperationalError as error:
                raise Retry(f"the state file cannot be written: {error}", timedelta(seconds=10)) from error
            if live and isinstance(event.data, StationReported):
                metrics.ACTIVITY.note_clock(event.station.key, time.time() - event.time.timestamp())
            metrics.FOLD_SECONDS.observe(each)
            metrics.FOLDED.labels(event.data.name).inc()
