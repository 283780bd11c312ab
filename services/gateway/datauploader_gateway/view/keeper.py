"""Keeps the view fed: consumes events while Redis is there, and builds the view again when Redis has lost it."""

import sqlite3
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import redis
import structlog

from datauploader.contracts import Event, EventData, StationReported
from datauploader.crashing import crash_point
from datauploader.errors import Retry
from datauploader.heartbeat import Heartbeat
from datauploader.messaging.ports import Bus, Consumer, Delivery, Handler, Start
from datauploader.messaging.topology import gateway_queue
from datauploader.state import Store
from datauploader.threads import WorkerThread
from datauploader_gateway import metrics, redisdoor
from datauploader_gateway.auth.revocations import Revocations
from datauploader_gateway.lastheard import LastHeard
from datauploader_gateway.mail.occasions import Occasions
from datauploader_gateway.rechecking import OldDatasets
from datauploader_gateway.unanswered import Unanswered
from datauploader_gateway.view import keys
from datauploader_gateway.view.commits import Commits
from datauploader_gateway.view.condition import READING, Condition
from datauploader_gateway.view.room import Room
from datauploader_gateway.view.writer import ViewWriter

log = structlog.get_logger()

CATCH_UP_S = 600.0
"""How far before the view's latest change the log is read again after a start."""
KEEP_S = 5.0
"""How often the number of the latest change is written down."""


class _Rebuild:
    """One reading of the event log from somewhere up to an event that was published for it."""

    def __init__(self, bus: Bus, mark: Event[StationReported], fold: Handler, start: Start) -> None:
        self.whole = start.first
        self.done = threading.Event()
        self.mark_id, self._fold = mark.id, fold
        self._published = bus.publish(mark)
        self._consumer = bus.replay(start, self._handle)

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
        occasions: Occasions, numbers: LastHeard, *, heartbeat: Heartbeat, interval_s: float, commits: Commits,
        condition: Condition, revocations: Revocations, old: OldDatasets | None = None,
    ) -> None:  # fmt: skip
        """Look every `interval_s`."""
        self._commits, self._condition, self._revocations = commits, condition, revocations
        self._room = Room(client)
        self._refused: redis.RedisError | None = None
        """Why the latest event could not be folded, until the thread has seen it."""
        self._caught_up = False
        """The latest minutes of the log were read once more after the start."""
        self._bus, self._redis, self._writer = bus, client, writer
        self._store, self._unanswered, self._occasions, self._numbers = store, unanswered, occasions, numbers
        self._heartbeat, self._interval_s, self._old = heartbeat, interval_s, old
        self._ending = threading.Event()
        self._missed = threading.Event()
        """The queue was not there for a while: the view lacks what was said meanwhile."""
        self._consumer: Consumer | None = None
        self._rebuild: _Rebuild | None = None
        self._keep_at = 0.0
        self._thread = WorkerThread(self._run, name="gateway-view")

    @property
    def trouble(self) -> str:
        """A sentence while Redis is away or full, or the view is not whole, or nobody has looked yet."""
        return self._condition.trouble

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
        self._keep_at = 0.0
        self._keep_number()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._look()
            except redis.RedisError as error:
                self._pause(error)
            except Exception:  # the thread must outlive whatever happens here
                log.exception("view_keeper_failed")
            self._heartbeat.tick(on_change=True)
            self._ending.wait(0.1 if self._rebuild else self._interval_s)

    def _look(self) -> None:
        self._probe()
        self._consume()
        self._compare()
        if self._missed.is_set():
            self._missed.clear()
            self._redis.delete(keys.MARKER)
            self._abandon_rebuild()
        whole = bool(self._redis.exists(keys.MARKER)) and not self._store.forgetful
        self._unanswered.look()
        self._numbers.write()
        if not whole and self._rebuild is None:
            self._condition.say(READING)
            log.info("view_is_built_again")
            metrics.REBUILDS.inc()
            mark = self._heartbeat.event()
            self._redis.set(keys.BUILDING, mark.id)
            self._revocations.apply(self._redis)
            crash_point("gateway.rebuilding")
            self._rebuild = _Rebuild(self._bus, mark, self._handle, Start(first=True))
        elif not self._caught_up and self._rebuild is None:
            self._catch_up()
        if self._rebuild is not None and self._rebuild.whole:
            self._condition.say(READING)
        elif self.trouble:
            log.info("view_is_well")
            self._condition.say("")
        elif self._old is not None:
            self._old.look()
        if self._rebuild is not None:
            self._look_after_rebuild(self._rebuild)

    def _probe(self) -> None:
        """Find out whether the view can be written: a full Redis is read without a complaint."""
        if (refused := self._refused) is not None:
            self._refused = None
            raise refused
        self._room.check(now=True)
        before = self._commits.highest
        self._commits.made(before, int(self._redis.incr(keys.COMMITS)))

    def _compare(self) -> None:
        """Find out whether Redis has gone back behind what it has shown; then the view counts as lost."""
        if not self._commits.behind.is_set():
            self._keep_number()
            return
        self._commits.behind.clear()
        highest, there = self._commits.highest, int(self._redis.get(keys.COMMITS) or 0)
        if self._redis.exists(keys.MARKER):
            log.warning("redis_is_older", changes=there, had=highest, hint="after a power cut, or a copy was put back")
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
            self._commits.keep()
        except sqlite3.OperationalError as error:
            log.warning("state_not_written", problem=str(error))

    def _catch_up(self) -> None:
        """Read the latest minutes of the log once more after a start.

        After a power cut of this machine Redis may lack its last second, and the state file what would tell.
        """
        self._revocations.apply(self._redis)
        last = min(time.time(), float(self._redis.get(keys.COMMITTED) or time.time()))
        start = Start(time=datetime.fromtimestamp(last - CATCH_UP_S, UTC))
        self._rebuild = _Rebuild(self._bus, self._heartbeat.event(), self._handle, start)

    def _look_after_rebuild(self, rebuild: _Rebuild) -> None:
        if rebuild.done.is_set() and not rebuild.whole:
            self._caught_up = True
            self._abandon_rebuild()
        elif rebuild.done.is_set():
            crash_point("gateway.rebuilt")
            # Redis may have been flushed once more while the log was read: then all begins again
            if self._redis.get(keys.BUILDING) == rebuild.mark_id.encode():
                self._redis.set(keys.MARKER, int(time.time()))
                self._store.remembered()
                self._condition.say("")
                self._caught_up = True
                log.info("view_is_whole")
            self._abandon_rebuild()
        elif rebuild.lost:
            if rebuild.whole:
                self._condition.say("the status view cannot be built again while the broker is away")
            self._abandon_rebuild()

    def _abandon_rebuild(self) -> None:
        if self._rebuild is not None:
            self._rebuild.stop()
            self._rebuild = None

    def _consume(self) -> None:
        if self._consumer is None:
            self._consumer = self._bus.consume(gateway_queue(), self._handle, on_new=self._missed.set)

    def _pause(self, error: redis.RedisError) -> None:
        """Leave events in their queue while there is nowhere to put them."""
        sentence = redisdoor.trouble_of(error)
        if not self.trouble.startswith("Redis"):
            log.warning("redis_away", problem=f"{sentence} ({error})")
        self._condition.say(sentence)
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
            self._refused = error
            raise Retry(redisdoor.trouble_of(error), timedelta(seconds=1)) from error
        try:
            self._unanswered.hear(event, live=delivery.offset is None)
            self._occasions.hear(event)
            self._numbers.note(event)
        except sqlite3.OperationalError as error:
            raise Retry(f"the state file cannot be written: {error}", timedelta(seconds=10)) from error
        metrics.FOLDED.labels(event.data.name).inc()
