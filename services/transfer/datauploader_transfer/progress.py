"""Says once a second how far each upload is, and now and then that this service is alive."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence

from datauploader.contracts import Station, TransferProgressed, decode
from datauploader.contracts.stations import MoverElsewhere, Storage
from datauploader.messaging import Bus
from datauploader.messaging.claim import StationClaim
from datauploader.reliability import Outbox, Store, worker
from datauploader.reliability.heartbeat import Details, Heartbeat
from datauploader.reliability.worker import PeriodicTask
from datauploader_transfer.ledger import JobTable, UploadRoutes
from datauploader_transfer.worker import TransferWorker

INTERVAL_S = 1.0
_MOST_STORAGES = 50
"""A report names no more: it must stay small."""


class ProgressReporter(PeriodicTask):
    """Reports progress and the heartbeat, a thread for `transfer.progressed` and `station.reported`."""

    def __init__(
        self, store: Store, worker: TransferWorker, outbox: Outbox, bus: Bus, here: Station, report_interval_s: float,
        claims: Sequence[StationClaim] = (), remotes: Collection[str] = (),
        movers: Callable[[], tuple[MoverElsewhere, ...]] = tuple,
    ) -> None:  # fmt: skip
        """Prepare; nothing runs before `start`. `remotes` are the storages that are configured."""
        super().__init__("progress", INTERVAL_S)
        self._store, self._worker, self._outbox, self._bus = store, worker, outbox, bus
        self._claims, self._remotes, self._movers = claims, remotes, movers
        self._began_at = time.monotonic()
        self._heartbeat = Heartbeat(
            bus.publish, outbox, here, "transfer", distribution="ceric-datauploader-transfer",
            interval_s=report_interval_s, troubles=self._troubles, details=self._details,
        )  # fmt: skip
        self._waiting = 0
        self._last: dict[str, tuple[float, int]] = {}
        self._active: set[str] = set()

    def take_turn(self) -> float:
        """Report what has moved since the turn before."""
        with self._store.reading() as db:
            backlog = JobTable(db).backlog()
        moved, now = self._worker.moved_bytes(), time.monotonic()
        moving = self._worker.moving()
        active = set(backlog) | set(moving)
        for upload_id in active | self._active:  # once more when it has just ended
            waiting, state = backlog.get(upload_id, (0, "open"))
            waiting += moving.get(upload_id, 0)
            with self._store.reading() as db:
                upload = UploadRoutes(db).find_route(upload_id)
            before, had = self._last.get(upload_id, (now - INTERVAL_S, 0))
            self._last[upload_id] = (now, moved.get(upload_id, 0))
            fact = TransferProgressed(
                upload_id=upload_id,
                waiting=waiting,
                bytes_per_s=max(0.0, (moved.get(upload_id, 0) - had) / max(now - before, 0.001)),
                paused=state == "paused",
                trouble=self._worker.breaker.problem(upload.remote) if waiting else "",
            )
            self._bus.publish(self._outbox.numbered(decode(upload.cause).follow(fact, service="transfer")))
        self._active = active
        self._waiting = sum(count for count, _ in backlog.values()) + sum(self._worker.moving().values())
        self._heartbeat.tick(on_change=True)
        return INTERVAL_S

    def _details(self) -> Details:
        troubles = self._worker.breaker.problems()
        storages = (
            Storage(remote=name, trouble=troubles.get(name, "")) for name in sorted({*self._remotes, *troubles})
        )
        return Details(
            backlog_files=self._waiting, storages=tuple(storages)[:_MOST_STORAGES], movers=self._movers()
        )  # fmt: skip

    def _troubles(self) -> Iterator[str]:
        yield from (claim.problem for claim in self._claims)
        yield from self._worker.breaker.problems().values()
        yield self._outbox.problem
        yield from worker.problems(self._began_at)
