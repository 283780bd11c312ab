"""The station's heartbeat: what it says about itself each time, and what the health page shows of it."""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from datauploader.contracts.envelope import Event
from datauploader.contracts.model import EventData
from datauploader.contracts.stations import Disk, Root
from datauploader.reliability import Outbox, worker
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard
from datauploader.reliability.heartbeat import Details, Heartbeat
from datauploader.runtime.crash_points import crash_point
from datauploader.runtime.service import Check
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.ledger.files import FileTable, Tally
from datauploader_watcher.loop import LoopStatus
from datauploader_watcher.outgoing.publishing import SERVICE

log = structlog.get_logger()

PENDING = ("ready", "announced", "suspect", "stored")
STUCK_S = 30.0
"""A turn of the loop that takes longer waits for a disk that does not answer."""
LEAST_FREE = 64 * 1024 * 1024
"""Bytes that the state's disk must have left."""
_NONE = Tally()


class StationHeartbeat:
    """Looks at the watcher for its heartbeat and its health."""

    def __init__(
        self,
        context: WatcherContext,
        publish: Callable[[Event[EventData]], "Future[None]"],
        status: Callable[[], LoopStatus],
    ) -> None:
        """Take what is reported on and how it is sent."""
        self._claim = context.claim
        self._store, self._outbox, self._here = context.store, context.outbox, context.here
        self._settings, self._clock = context.settings, context.clock
        self._status = status
        self._hang_guard, self._began_at = HangGuard(), time.monotonic()
        self._heartbeat = Heartbeat(
            publish, context.outbox, context.here, SERVICE, distribution="ceric-datauploader-watcher",
            interval_s=context.settings.report_interval_s, troubles=self._troubles, details=self._details,
        )  # fmt: skip

    def start(self) -> None:
        """Begin with a report, and repeat it."""
        self._heartbeat.start("starting")

    def stop(self, deadline_s: float) -> None:
        """Say that the station stops."""
        self._heartbeat.stop(deadline_s)

    def checks(self) -> list[Check]:
        """Say how everything is that the watcher depends on."""
        away = [root.path for root in self._roots() if not root.present]
        roots = f"missing: {', '.join(away)}; connect or mount the drive, or correct `roots`" if away else ""
        if not self._settings.roots:
            roots = "no folders are allowed for uploads yet; list them in `roots` of [watcher]"
        troubles = [
            sentence for sentence in self._troubles() if sentence not in (self._outbox.problem, self._claim.problem)
        ]
        disk = self._state_disk()
        free = disk.free_bytes if disk else LEAST_FREE
        full = f"the disk of the state file has {free} bytes left; free more space" if free < LEAST_FREE else ""
        return [
            Check("name", not self._claim.problem, self._claim.problem),
            Check("roots", not roots, roots),
            Check("folders", not troubles, " ".join(troubles)),
            Check("outbox", not self._outbox.problem, self._outbox.problem),
            Check("state-disk", not full, full),
        ]

    def announce_recovery(self) -> None:
        """Say once, as surely as anything is said here, that the state is new: requests must be said again."""
        report = self._heartbeat.report("starting").model_copy(update={"forgetful": True})
        with self._store.transaction() as db:
            Outbox.put(db, Event(data=report, station=self._here, service=SERVICE))
            self._store.mark_recovered()
        crash_point("watcher.forgot")
        log.info("requests_requested_again")

    def _details(self) -> Details:
        status = self._status()
        with self._store.reading() as db:
            tallies, oldest = FileTable(db).tallies(), FileTable(db).oldest_announced()
        pending = [tallies.get(state, _NONE) for state in PENDING]
        return Details(
            roots=self._roots(),
            state_disk=self._state_disk(),
            backlog_files=sum(one.files for one in pending),
            backlog_bytes=sum(one.bytes for one in pending),
            oldest_pending_s=max(0.0, self._clock.now_ns() / 1e9 - oldest) if oldest is not None else 0.0,
            uploads_open=status.uploads,
            scanned_entries=status.entries,
            overflows=status.overflows,
        )

    def _state_disk(self) -> Disk | None:
        return _disk(self._store.path.parent) if self._store.path else None

    def _roots(self) -> tuple[Root, ...]:
        return tuple(self._root(str(root)) for root in self._settings.roots)

    def _root(self, path: str) -> Root:
        try:
            return self._hang_guard.call_with_deadline(path, lambda: _root(path))
        except DriveTimeout:
            return Root(path=path, present=False)

    def _troubles(self) -> tuple[str, ...]:
        status = self._status()
        stuck = self._clock.monotonic() - status.at
        sentences = list(status.troubles)
        if stuck > STUCK_S:
            sentences.append(f"A disk has not answered for {stuck:.0f} s; check the network drives of this station.")
        if self._claim.problem:
            sentences.insert(0, self._claim.problem)
        sentences += worker.problems(self._began_at)
        if self._outbox.problem and self._outbox.problem not in sentences:
            sentences.append(self._outbox.problem)
        return tuple(sentences)


def _root(path: str) -> Root:
    disk = _disk(path)
    free, total = (disk.free_bytes, disk.total_bytes) if disk else (None, None)
    return Root(path=path, present=os.path.isdir(path), free_bytes=free, total_bytes=total)  # noqa: PTH112 - as configured


def _disk(path: str | os.PathLike[str]) -> Disk | None:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return Disk(free_bytes=usage.free, total_bytes=usage.total)
