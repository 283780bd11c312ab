"""One batch that a mover was lent: moved under a lease, and given back."""

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence

import structlog

from datauploader.contracts import Station
from datauploader.contracts.moves import BeginMoves, EndMoves, Lent, MoveOutcome, Moves, RenewMoves
from datauploader.contracts.names import unescape, unpack
from datauploader.errors import MessagingError
from datauploader.reliability.worker import WorkerThread
from datauploader_transfer.failure_policy import STORED
from datauploader_transfer.leases import FENCE, FORCE, RENEW
from datauploader_transfer.ports import Item, Mover, Outcome
from datauploader_transfer.roots import SourceRoots, Unmapped, paths_below

log = structlog.get_logger()

Ask = Callable[[BeginMoves | RenewMoves | EndMoves], Lent]


_LOST = (
    "Transfer gave the files of a batch to others, because it did not hear from this mover in time or wanted to stop. "
    "Nothing is lost. If this happens again, look whether this computer is overloaded, or its way to the broker slow."
)


class LeaseLost(Exception):
    """Transfer does not lend the batch any more."""


class LentBatch:
    """Moves a batch and keeps its lease; without one nothing more is written."""

    def __init__(self, moves: Moves, sent: float, ask: Ask, ended: threading.Event) -> None:
        """Take a batch whose question was sent then (monotonic seconds); `ended` says that the service stops."""
        assert moves.batch is not None
        self._moves, self._id, self._ask, self._service_ended = moves, moves.batch, ask, ended
        self._renew_s = moves.lease_s * RENEW
        self._until = sent + moves.lease_s * FENCE
        self._moved = 0
        self._cancel, self._over = threading.Event(), threading.Event()

    def work(self, mover: Mover, roots: SourceRoots) -> str:
        """Move everything and say what became of it; a batch whose lease is lost is left as it is.

        Return a sentence for a person where nothing came of it, "" otherwise.
        """
        items: list[Item] = []
        try:
            items += _items(self._moves, roots)
        except Unmapped as error:
            log.warning("batch_declined", problem=str(error))
            self._end(EndMoves(batch=self._id, declined=str(error)))
            return str(error)
        renewer = WorkerThread(lambda: self._keep(mover), name="lease")
        renewer.start()
        try:
            found = mover.move(
                self._moves.remote, items, on_begin=self._begin, on_progress=self._progress, cancel=self._cancel
            )  # fmt: skip
        except LeaseLost:
            log.warning("lease_lost", batch=self._id, problem=_LOST)
            return _LOST
        finally:
            self._over.set()
            renewer.join()
        log.info("batch_moved", batch=self._id, files=len(found), stored=sum(one.state in STORED for one in found))
        return self._end(EndMoves(batch=self._id, outcomes=tuple(_told(one) for one in found)))

    def _begin(self, items: Sequence[Item], new: Collection[str]) -> None:
        """Ask before the first byte is written; what is raised ends the move."""
        question = BeginMoves(batch=self._id, keys=tuple(item.key for item in items), new=tuple(new))
        if self._cancel.is_set() or not self._renewed(question):
            raise LeaseLost

    def _progress(self, moved: int) -> None:
        self._moved = moved

    def _keep(self, mover: Mover) -> None:
        """Renew the lease for as long as files move; where that fails, stop them, and in the end by force."""
        while not self._over.wait(self._renew_s):
            if self._service_ended.is_set() or not self._renewed(RenewMoves(batch=self._id, moved=self._moved)):
                break
        self._cancel.set()
        if not self._over.wait(self._moves.lease_s * (FORCE - FENCE)):
            log.error("move_ended_by_force", batch=self._id)
            mover.interrupt()

    def _renewed(self, question: BeginMoves | RenewMoves) -> bool:
        """Ask until transfer answers or the fence is reached; False: the batch is not ours any more."""
        while True:
            sent = time.monotonic()
            try:
                held = self._ask(question).held
            except (MessagingError, TimeoutError) as error:
                log.debug("lease_not_renewed", problem=str(error))
                if time.monotonic() + self._renew_s / 4 > self._until or self._over.wait(self._renew_s / 4):
                    return False
                continue
            if held:
                self._until = max(self._until, sent + self._moves.lease_s * FENCE)
            return held

    def _end(self, question: EndMoves) -> str:
        """Say what became of the batch, until that was heard or nobody wants to know any more."""
        while True:
            try:
                held = self._ask(question).held
            except (MessagingError, TimeoutError) as error:
                if time.monotonic() < self._until and not self._service_ended.wait(self._renew_s / 4):
                    continue
                log.warning("outcome_not_told", batch=self._id, problem=str(error))
                held = False
            return "" if held else _LOST


def _items(moves: Moves, roots: SourceRoots) -> list[Item]:
    """Read a batch; its files lie where this machine has them.

    Raises:
        Unmapped: the station's folder is not known, or not there, on this machine.
    """
    root, station = unpack(moves.root, moves.root_b64), Station.parse(moves.station)
    folder = roots.folder_of(root, station)
    if not folder.is_dir():
        raise Unmapped(f"{folder} is not there on this machine: mount it, or add it to root_maps in [transfer]")
    sources = paths_below(folder, [one.file.raw for one in moves.items])
    return [
        Item(
            one.file.key, source, os.fsdecode(unescape(one.object)), one.file.size,
            one.file.mtime_ns, one.file.digests, frozenset(one.replaces), frozenset(one.keeps), one.file.as_is,
        )
        for one, source in zip(moves.items, sources, strict=True)
    ]  # fmt: skip


def _told(outcome: Outcome) -> MoveOutcome:
    return MoveOutcome(
        key=outcome.key, state=outcome.state.value, detail=outcome.detail[:2000], method=outcome.method,
        algorithm=outcome.algorithm, digest=outcome.digest, unproved=outcome.unproved,
        proof_ms=outcome.proof_ms,
    )  # fmt: skip
