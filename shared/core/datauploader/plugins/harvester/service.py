"""The service of a harvester: hears of stored files, has them read, says what they say."""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from datauploader.contracts import (
    Event,
    EventData,
    FileStored,
    Station,
    StoredFile,
    UploadRequested,
    decode,
)
from datauploader.errors import Park, Retry
from datauploader.messaging import Bus, Consumer, Delivery, Dispatcher, UnitOfWork
from datauploader.messaging.catch_up import CatchUp
from datauploader.messaging.rights import HARVESTERS_HEAR
from datauploader.messaging.topology import harvester_queue
from datauploader.plugins.harvester import file_queue
from datauploader.plugins.harvester.extracting import Extractor, Reading, told
from datauploader.plugins.harvester.kinds import HarvesterSettings, Kind, mounts
from datauploader.reliability import Outbox, Store, inbox, outbox
from datauploader.reliability.hang_guard import HangGuard
from datauploader.reliability.heartbeat import Heartbeat
from datauploader.reliability.upkeep import StateUpkeep
from datauploader.reliability.worker import WorkerThread
from datauploader.runtime import metrics
from datauploader.runtime.service import Check, Context

log = structlog.get_logger()

LATE_S = 900.0
"""A file that waits for so long is told."""
EVERY_S = 3600.0
"""The log is read at most so often: any station can speak of an upload that nobody has asked for."""
FIRST_LOOK_S = 5.0
"""A file that takes longer is read by somebody else, so that the others need not wait for it."""
_LOOK_S = 30.0
_STUMBLE_S = 1.0


class RequestRecovery:
    """Finds in the event log what uploads were asked for while this harvester was not there.

    All but `recover_upload` is for one thread.
    """

    def __init__(self, bus: Bus, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        """Read nothing yet; `clock` counts seconds since the machine was started."""
        self._bus, self._store, self._clock = bus, store, clock
        self._missed = threading.Event()
        self._begun = float("-inf")
        self._reading: CatchUp | None = None

    def recover_upload(self) -> None:
        """Say that an upload is not known."""
        self._missed.set()

    def run_due(self) -> None:
        """Begin to read where that is needed, and end it where it is over."""
        if self._reading is not None and self._reading.done.is_set():
            self.stop(2.0)
        if self._reading is None and self._missed.is_set() and self._clock() - self._begun >= EVERY_S:
            self._begun = self._clock()
            self._missed.clear()
            log.info("request_recovery_started", hint="an upload is not known here; the log says what was asked for")
            self._reading = CatchUp(self._bus, self._hear)

    def stop(self, deadline_s: float) -> None:
        """Read no more."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.stop(deadline_s)

    def _hear(self, delivery: Delivery) -> None:
        if isinstance(delivery.event.data, UploadRequested):
            with self._store.transaction() as db:
                file_queue.ask(db, delivery.event)


class _Lane:
    """Reads one file after the other, in a process of its own: quickly, or those that need longer."""

    def __init__(self, kind: Kind, settings: HarvesterSettings, run: "Callable[[_Lane], None]", *, slow: bool) -> None:
        self.slow = slow
        self.within_s = settings.seconds if slow else min(settings.seconds, FIRST_LOOK_S)
        self.gives_up = self.within_s == settings.seconds
        """Nobody has more time for a file."""
        self.extractor = Extractor(kind, settings, within_s=self.within_s)
        self.thread = WorkerThread(lambda: run(self), name=f"{kind.service}{'-slow' if slow else ''}")
        self.problem = ""


class HarvesterService:
    """Reads files when they are stored and publishes what they say."""

    def __init__(self, context: Context, kind: Kind, settings: HarvesterSettings) -> None:
        """Open the state; nothing runs before `start`."""
        self.name = kind.service
        self._kind, self._bus = kind, context.bus
        self._mounts = mounts(context.settings, settings)
        path = context.settings.state_dir / f"harvester-{kind.name}.sqlite"
        self._store = Store(path, [inbox.SCHEMA, outbox.SCHEMA, file_queue.SCHEMA])
        self._outbox = Outbox(self._store, context.bus.publish)
        self._upkeep = StateUpkeep(self._store)
        self._dispatcher = Dispatcher(self._store, self._outbox, self.name)
        self._dispatcher.on(UploadRequested, lambda unit, event: file_queue.ask(unit.db, event))
        self._dispatcher.on(FileStored, self._stored)
        self._dispatcher.after_commit(self._wake)
        self._lanes = [_Lane(kind, settings, self._run, slow=slow) for slow in (False, True)]
        self._hang_guard = HangGuard()
        self._change = threading.Condition()
        self._stopping = False
        self._consumer: Consumer | None = None
        self._request_recovery = RequestRecovery(context.bus, self._store)
        self._heartbeat = Heartbeat(
            context.bus.publish, self._outbox, Station.of_harvester(context.settings.facility, kind.name), self.name,
            distribution="ceric-datauploader-core", interval_s=settings.report_interval_s,
            troubles=lambda: (check.detail for check in self.checks() if not check.ok),
        )  # fmt: skip

    def start(self) -> None:
        """Begin to read."""
        self._outbox.start()
        self._upkeep.start()
        for lane in self._lanes:
            lane.thread.start()
        self._heartbeat.start()
        queue = harvester_queue(self._kind.name, HARVESTERS_HEAR)
        self._consumer = self._bus.consume(queue, self._dispatcher, workers=1, prefetch=16, skips=self._kind.skips)

    def stop(self, deadline_s: float) -> None:
        """End; the file that is being read is read again at the next start."""
        end = time.monotonic() + deadline_s
        self._heartbeat.stop(deadline_s / 6)
        if self._consumer:
            self._consumer.stop(deadline_s / 3)
        with self._change:
            self._stopping = True
            self._change.notify_all()
        for lane in self._lanes:
            lane.extractor.interrupt()
        for lane in self._lanes:
            lane.thread.join(deadline_s / 6)
            lane.extractor.close()
        self._request_recovery.stop(deadline_s / 6)
        self._upkeep.stop(deadline_s / 6)
        self._outbox.stop(max(0.0, end - time.monotonic()))

    def checks(self) -> Sequence[Check]:
        """Say whether the mounts are there, whether files are read, and whether what was read can be told."""
        gone = [str(path) for path in self._mounts.values() if not self._is_there(path)]
        trouble = self._reader_trouble()
        return (
            Check("mounts", not gone, f"not readable here: {', '.join(gone)}" if gone else ""),
            Check("reader", not trouble, trouble),
            Check("outbox", not self._outbox.problem, self._outbox.problem),
        )

    def _is_there(self, path: Path) -> bool:
        try:
            return self._hang_guard.call_with_deadline(path, path.is_dir)
        except OSError:  # it does not answer either
            return False

    def _reader_trouble(self) -> str:
        if trouble := next(filter(None, (lane.thread.problem or lane.problem for lane in self._lanes)), ""):
            return trouble
        with self._store.reading() as db:
            files, since, why = file_queue.waiting(db)
        age_s = time.time() - since
        if not files or age_s < LATE_S:
            return ""
        because = f"; the reason for one of them: {why}" if why else ""
        return (
            f"{files} files are waiting to be read, the oldest for {age_s / 60:.0f} minutes{because}. It "
            f"continues automatically"
        )

    def _stored(self, unit: UnitOfWork, event: Event[FileStored]) -> None:
        files = [one for one in event.data.files if self._kind.wants(one)]
        if not files:
            return
        asked = file_queue.asked(unit.db, event)
        if asked is None:
            self._request_recovery.recover_upload()
            self._wake()
            raise Retry(f"{event.station.key} was not asked for upload {event.data.upload_id} yet")
        if why := event.data.forbidden(asked):
            raise Park(why)
        file_queue.add(unit.db, event, files)

    def _wake(self) -> None:
        with self._change:
            self._change.notify_all()

    def _run(self, lane: _Lane) -> None:
        while not self._stopping:
            try:
                self._step(lane)
            except Exception as error:  # noqa: BLE001 - the boundary of the thread, which must outlive all that it does
                self._stumble(lane, error)
            else:
                lane.problem = ""

    def _step(self, lane: _Lane) -> None:
        if not lane.slow:
            self._request_recovery.run_due()
        with self._change:
            if self._stopping:
                return
            with self._store.reading() as db:
                pause = file_queue.due_in(db, time.time(), slow=lane.slow)
            if pause > 0:
                self._change.wait(min(pause, _LOOK_S))
                return
        with self._store.transaction() as db:
            one = file_queue.begin(db, time.time(), slow=lane.slow)  # which counts the try
        if one is None:
            return
        event, stored = decode(one.cause), StoredFile.model_validate_json(one.stored)
        if one.tries > file_queue.MOST_TRIES:
            reading = Reading(
                problem=f"{self._kind.name} could not read it: the service crashed twice while reading it"
            )
        else:
            reading = lane.extractor.stored(self._mounts, event, stored)
        while not self._settled(lane, one, event, stored, reading):
            if self._stopping:
                return
        metrics.note_files("read", "failed" if reading.problem else "ok", (stored.file.size,))

    def _stumble(self, lane: _Lane, error: Exception) -> None:
        sentence = str(error) or type(error).__name__
        if isinstance(error, sqlite3.DatabaseError):
            sentence = f"the state file cannot be used ({error}): free space on its disk; it continues automatically"
        if lane.problem != sentence:
            log.error("harvester_failed", problem=sentence, exc_info=error)
        lane.problem = sentence
        with self._change:
            self._change.wait_for(lambda: self._stopping, _STUMBLE_S)

    def _settled(
        self, lane: _Lane, one: file_queue.QueuedFile, event: Event[EventData], stored: StoredFile, reading: Reading
    ) -> bool:
        """Keep what became of a file: told, to be read again, or given up; a full disk does not lose what was read."""
        silent = reading.ended and not reading.opened
        try:
            with self._store.transaction() as db:
                if reading.ended and self._stopping:
                    file_queue.take_back(db, one)
                elif reading.late and not lane.gives_up:
                    file_queue.put_behind(db, one, whole_remote=silent)
                elif (reading.passes or silent) and one.waits + 1 < file_queue.MOST_WAITS:
                    file_queue.wait(db, one, time.time(), reading.problem, whole_remote=silent)
                elif reading.ended and not silent and one.tries < file_queue.MOST_TRIES:
                    file_queue.note(db, one, reading.problem)
                else:
                    file_queue.forget(db, one)
                    if reading.pictures:  # here, because both lanes may have read files of one upload at once
                        upload_id = event.data.upload_id
                        reading = reading.with_room(file_queue.picture_room(db, upload_id))
                        file_queue.count_pictures(db, upload_id, len(reading.pictures))
                    for fact in told(self._kind, event, reading.found(stored.file)):
                        Outbox.put(db, fact)
        except sqlite3.DatabaseError as error:
            self._stumble(lane, error)
            return False
        self._outbox.wake()
        self._wake()
        return True
