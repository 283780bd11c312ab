"""The mover service: moves batches that a transfer lends it, on the same machine or another one; it keeps nothing."""

import secrets
import socket
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

import structlog

from datauploader.contracts.moves import BeginMoves, EndMoves, Lent, Moves, RenewMoves, TakeMoves
from datauploader.errors import ConfigurationError, MessagingError, QuestionRefused
from datauploader.reliability.backoff import Backoff
from datauploader.reliability.worker import WorkerThread
from datauploader.runtime.config import load
from datauploader.runtime.service import Check, Context
from datauploader_transfer.errors import TransferError
from datauploader_transfer.leases import HERE
from datauploader_transfer.lent_batch import LentBatch
from datauploader_transfer.ports import Mover
from datauploader_transfer.roots import SourceRoots
from datauploader_transfer.service import connect
from datauploader_transfer.settings import TransferSettings

log = structlog.get_logger()

ANSWER_S = 3.0
IDLE = Backoff(first_s=0.1, longest_s=1.0)
"""Between two questions for work while there is none."""
AWAY = Backoff(first_s=1.0, longest_s=10.0)
"""Between two questions while transfer does not answer."""

A = TypeVar("A", Moves, Lent)


class MoverService:
    """Asks the transfer of its station for batches and moves them, `movers` at a time."""

    name = "mover"

    def __init__(self, context: Context, mover: Mover, settings: TransferSettings) -> None:
        """Prepare; nothing runs before `start`."""
        self._bus, self._mover, self._here = context.bus, mover, context.settings.here
        self._source_roots = SourceRoots(self._here, settings.root_maps, settings.roots)
        self._host, run = socket.gethostname(), secrets.token_hex(4)
        self._ended = threading.Event()
        self._problem = "The transfer of this station was not asked yet."
        self._trouble = ""
        """What went wrong with the last batch."""
        self._threads = [
            WorkerThread(partial(self._run, f"{run}-{number}"), name=f"mover.{number}")
            for number in range(settings.movers)
        ]

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self, deadline_s: float) -> None:
        """Stop what moves and say so; transfer has it moved by others."""
        self._ended.set()
        end = time.monotonic() + deadline_s * 0.8
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))
        self._mover.close()

    def checks(self) -> Sequence[Check]:
        """Say whether transfer gives work, and whether the last batch was moved."""
        return (Check("work", not self._problem, self._problem), Check("batch", not self._trouble, self._trouble))

    def _run(self, name: str) -> None:
        idle = failures = 0
        while not self._ended.is_set():
            sent = time.monotonic()
            try:
                moves = self._ask(TakeMoves(mover=name, host=self._host), Moves)
            except (MessagingError, TimeoutError) as error:
                failures += 1
                self._note(str(error) if isinstance(error, QuestionRefused) else self._unanswered(error))
                self._ended.wait(AWAY.wait_s(failures))
                continue
            self._note("")
            failures, idle = 0, 0 if moves.batch else idle + 1
            if moves.batch:
                batch = LentBatch(moves, sent, lambda question: self._ask(question, Lent), self._ended)
                self._trouble = batch.work(self._mover, self._source_roots)
            else:
                self._ended.wait(min(IDLE.wait_s(idle), moves.lease_s * HERE / 2))

    def _unanswered(self, error: Exception) -> str:
        return (
            f"The transfer of {self._here.key} lends no files to move: {str(error) or 'no answer came'}. "
            "Nothing is lost, they wait there. See that it runs and that both reach the broker; it is asked again."
        )

    def _note(self, problem: str) -> None:
        """Keep what hinders it, and log it once."""
        if problem and problem != self._problem:
            log.warning("transfer_lends_nothing", problem=problem)
        self._problem = problem

    def _ask(self, question: TakeMoves | BeginMoves | RenewMoves | EndMoves, answer: type[A]) -> A:
        return self._bus.ask(question, answer, station=self._here, timeout_s=ANSWER_S).result(2 * ANSWER_S)


def create(context: Context) -> MoverService:
    """Build the service from its settings; entry point `datauploader.services`.

    Raises:
        ConfigurationError: rclone is missing or too old, or a remote's definition cannot be used.
    """
    settings = load(TransferSettings)
    try:
        mover = connect(context.settings, settings)
    except TransferError as error:
        raise ConfigurationError(str(error)) from error
    return MoverService(context, mover, settings)
