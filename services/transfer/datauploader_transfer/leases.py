"""Movers elsewhere: each is lent one batch at a time, for as long as it says that it still moves it (a lease).

The ledger stays here. A mover asks for work, says what it begins before it writes, and says what it has stored. What it
could not store is put back and tried here: whether a file, a drive or a storage has failed is judged from one place.
"""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from datauploader.contracts.moves import BeginMoves, EndMoves, Lent, Move, MoveOutcome, Moves, RenewMoves, TakeMoves
from datauploader.contracts.names import display, pack
from datauploader.contracts.stations import MoverElsewhere
from datauploader.errors import QuestionRefused
from datauploader.reliability.backoff import Backoff
from datauploader_transfer.attempt import BatchAttempt
from datauploader_transfer.failure_policy import STORED
from datauploader_transfer.ports import Begin, Item, Outcome, State

log = structlog.get_logger()

RENEW, FENCE, FORCE = 2 / 15, 6 / 15, 9 / 15
"""Parts of a lease after which a mover says that it still moves; stops, when nobody has answered; and has ended by
force what writes. What is left of the lease is for a machine that stood still."""
HERE = 3 / 15
"""A mover that has not asked for this part of a lease is given nothing new."""
RESTS = Backoff(first_s=1.0, longest_s=60.0)
"""How long a mover is given nothing that could store nothing of its last batch."""
KEPT_S = 3600.0
"""How long a mover is told of that says nothing any more."""
TOLD_S = 600.0
"""How long it is told of a mover that it was late."""
MOST_TOLD = 32
"""A report names no more processes: it must stay small."""
_MOST_KEPT = 256
"""Movers that are remembered, whoever asks under how many names."""
_LONGEST = 500
"""Characters of a trouble in a report."""

Progress = Callable[[int], None]


@dataclass(slots=True)
class _Batch:
    """A batch in the hands of a mover, or waiting for it."""

    moves: Moves
    on_begin: Callable[[BeginMoves], None]
    on_progress: Progress
    cancel: threading.Event
    until: float | None = None
    """When the lease ends (monotonic seconds); None before it was given."""
    ended: EndMoves | None = None
    begun: set[str] = field(default_factory=set)


class LeasedMover:
    """One mover elsewhere; a thread of transfer moves batches through it as if it were here."""

    def __init__(self, name: str, host: str, lease_s: float) -> None:
        """Begin to know a mover; it has just asked for work. Batches are lent to it for so many seconds at a time."""
        self.name, self.host, self._lease_s = name, host, lease_s
        self._changed = threading.Condition()
        self._asked_at = time.monotonic()
        self._batch: _Batch | None = None
        self._failures, self._rests_until = 0, 0.0
        self.problem = ""
        """Why it takes nothing, in its own words; "" where it does."""
        self._late, self._late_at = "", float("-inf")

    @property
    def silent_s(self) -> float:
        """Seconds since its last word."""
        return time.monotonic() - self._asked_at

    @property
    def trouble(self) -> str:
        """Why it takes nothing, or that a lease of its was over before it had ended the batch; "" otherwise."""
        late = self._late if time.monotonic() - self._late_at < TOLD_S else ""
        return self.problem or late

    def lent(self) -> tuple[int, int]:
        """Count the files that it has now, and their bytes."""
        with self._changed:
            batch = self._batch
        if batch is None or batch.until is None or self._is_over(batch):
            return 0, 0
        return len(batch.moves.items), sum(one.file.size for one in batch.moves.items)

    @property
    def gone(self) -> bool:
        """It has not asked for the time of a lease."""
        return time.monotonic() > self._asked_at + self._lease_s

    @property
    def ready(self) -> bool:
        """It asks for work now, and may have some."""
        now = time.monotonic()
        return now < self._asked_at + self._lease_s * HERE and now > self._rests_until

    def move(
        self, attempt: BatchAttempt, items: Sequence[Item], *, on_begin: Begin, on_progress: Progress,
        cancel: threading.Event,
    ) -> list[Outcome]:  # fmt: skip
        """Lend a batch and wait until its mover has ended it, or its lease is over; see `Mover.move`."""
        by_key = {item.key: item for item in items}

        def begin(question: BeginMoves) -> None:
            on_begin([by_key[key] for key in question.keys if key in by_key], set(question.new) & by_key.keys())

        batch = _Batch(_moves(attempt, items, self._lease_s), begin, on_progress, cancel)
        with self._changed:
            self._batch = batch
            while batch.ended is None and not self._is_over(batch):
                self._changed.wait(min(0.5, self._lease_s / 4))
            self._batch = None
        return self._outcomes(items, batch)

    def _is_over(self, batch: _Batch) -> bool:
        if batch.until is None:
            return batch.cancel.is_set() or self.gone
        return time.monotonic() > batch.until

    def _outcomes(self, items: Sequence[Item], batch: _Batch) -> list[Outcome]:
        told = {} if batch.ended is None else {one.key: one for one in batch.ended.outcomes}
        found = [_outcome(item, told.get(item.key)) for item in items]
        if batch.until is not None:
            self._note(batch, stored=any(one.state in STORED for one in found))
        return found

    def _note(self, batch: _Batch, *, stored: bool) -> None:
        """Give a mover that stored nothing a rest, longer each time."""
        declined, late = (batch.ended.declined, "") if batch.ended else ("", self._lateness(batch))
        with self._changed:
            self._failures = 0 if stored else self._failures + 1
            self._rests_until = 0.0 if stored else time.monotonic() + RESTS.wait_s(self._failures)
            self.problem = f"The mover on {self.host or 'another computer'}: {declined}" if declined else ""
            self._late, self._late_at = late, time.monotonic()
        if not stored:
            log.warning("mover_stored_nothing", mover=self.name, host=self.host, problem=declined or late)

    def _lateness(self, batch: _Batch) -> str:
        files = len(batch.moves.items)
        return (
            f"Nothing was heard of it for {self._lease_s:g} s while it moved {files} file{'s' if files != 1 else ''}, "
            "so they were given to others; nothing is lost. If that happens again, look whether its computer is "
            "overloaded, or its way to the broker is slow."
        )

    def take(self) -> Moves:
        """Give the batch that waits; the same once more where it asks again, because the answer was lost."""
        with self._changed:
            self._asked_at = time.monotonic()
            if (batch := self._batch) is None or batch.ended or self._is_over(batch):
                return Moves(lease_s=self._lease_s)
            batch.until = self._asked_at + self._lease_s
            return batch.moves

    def begin(self, question: BeginMoves) -> bool:
        """Note what is written next; False where the batch is not lent any more."""
        with self._changed:  # held while it is written down: the lease cannot end in between
            if (batch := self._renewed(question.batch)) is None:
                return False
            batch.on_begin(question)
            return True

    def renew(self, question: RenewMoves) -> bool:
        """Note that it still moves; False where it should stop."""
        with self._changed:
            batch = self._renewed(question.batch)
        if batch is None:
            return False
        batch.on_progress(question.moved)
        return not batch.cancel.is_set()

    def end(self, question: EndMoves) -> bool:
        """Note what became of the batch."""
        with self._changed:
            if (batch := self._renewed(question.batch)) is None:
                return False
            batch.ended = question
            self._changed.notify_all()
            return True

    def _renewed(self, batch_id: str) -> _Batch | None:
        batch, now = self._batch, time.monotonic()
        if batch is None or batch.moves.batch != batch_id or batch.until is None or now > batch.until:
            return None
        self._asked_at, batch.until = now, now + self._lease_s
        return batch


class MoverLeases:
    """The movers elsewhere that a transfer knows, by name, and the answers to what they ask."""

    def __init__(self, most: int, lease_s: float, employ: Callable[[LeasedMover], None]) -> None:
        """Take at most so many; `employ` is told of each new one, and begins to move through it."""
        self._most, self._lease_s, self._employ = most, lease_s, employ
        self._lock = threading.Lock()
        self._movers: dict[str, LeasedMover] = {}
        self._refused: dict[str, tuple[str, float]] = {}
        """Hosts of those who get nothing because there are enough, and when they asked last."""

    def answer(self, question: TakeMoves | BeginMoves | RenewMoves | EndMoves) -> Moves | Lent:
        """Answer a mover.

        Raises:
            QuestionRefused: no movers elsewhere are wanted here, or not so many.
        """
        if isinstance(question, TakeMoves):
            return self._mover(question).take()
        with self._lock:
            movers = list(self._movers.values())
        match question:
            case BeginMoves():
                held = any(mover.begin(question) for mover in movers)
            case RenewMoves():
                held = any(mover.renew(question) for mover in movers)
            case EndMoves():
                held = any(mover.end(question) for mover in movers)
        return Lent(held=held)

    def problems(self) -> list[str]:
        """Return the sentences of movers that take nothing."""
        with self._lock:
            return [mover.problem for mover in self._movers.values() if mover.problem and not mover.gone]

    def described(self) -> tuple[MoverElsewhere, ...]:
        """Tell of the processes that ask for work, or did of late, each of which may ask for several batches."""
        now = time.monotonic()
        with self._lock:
            self._forget()
            movers, refused = list(self._movers.values()), dict(self._refused)
        found: dict[str, MoverElsewhere] = {}

        def tell(name: str, host: str, silent_s: float, lent: tuple[int, int], trouble: str) -> None:
            process = name.rpartition("-")[0] or name
            other = found.get(process, MoverElsewhere(name=process, heard_s=silent_s, gone=True))
            found[process] = MoverElsewhere(
                name=process, host=host, files=other.files + lent[0], bytes=other.bytes + lent[1],
                heard_s=round(max(0.0, min(other.heard_s, silent_s)), 1),
                gone=other.gone and silent_s > self._lease_s, trouble=other.trouble or trouble[:_LONGEST],
            )  # fmt: skip

        for one in movers:
            tell(one.name, one.host, one.silent_s, one.lent(), one.trouble)
        for name, (host, asked_at) in refused.items():
            tell(name, host, now - asked_at, (0, 0), self._enough)
        rows = sorted(found.values(), key=lambda one: (one.gone, one.host, one.name))
        return tuple(rows[:MOST_TOLD])

    def _forget(self) -> None:
        """Keep those that were heard last; all that are lent anything are among them."""
        told = sorted((one for one in self._movers.values() if one.silent_s < KEPT_S), key=lambda one: one.silent_s)
        self._movers = {one.name: one for one in told[:_MOST_KEPT]}
        oldest = time.monotonic() - KEPT_S
        self._refused = {name: said for name, said in self._refused.items() if said[1] > oldest}

    @property
    def _enough(self) -> str:
        return f"This transfer lends batches to {self._most} movers: see movers_elsewhere in [transfer]."

    def _mover(self, question: TakeMoves) -> LeasedMover:
        with self._lock:
            self._forget()
            known = self._movers.get(question.mover)
            if known is not None and not known.gone:
                return known
            if sum(not one.gone for one in self._movers.values()) >= self._most:
                if question.mover in self._refused or len(self._refused) < _MOST_KEPT:
                    self._refused[question.mover] = question.host, time.monotonic()
                raise QuestionRefused("enough-movers", self._enough)
            self._refused.pop(question.mover, None)
            new = self._movers[question.mover] = LeasedMover(question.mover, question.host, self._lease_s)
        log.info("mover_joined", mover=new.name, host=new.host)
        self._employ(new)
        return new


def _moves(attempt: BatchAttempt, items: Sequence[Item], lease_s: float) -> Moves:
    """Write a batch as it travels."""
    upload = attempt.upload
    return Moves(
        batch=secrets.token_hex(8), lease_s=lease_s, remote=upload.remote, root=display(upload.root),
        root_b64=pack(upload.root), station=attempt.cause.station.key,
        items=tuple(
            Move(
                file=attempt.jobs[item.key].file, object=attempt.objects[item.key],
                replaces=tuple(sorted(item.replaces)), keeps=tuple(sorted(item.keeps)),
            )
            for item in items
        ),
    )  # fmt: skip


def _outcome(item: Item, told: MoveOutcome | None) -> Outcome:
    """Believe what was stored; what was not is left undone, with what may lie at its target."""
    if told is not None and told.state in STORED:
        return Outcome(
            item.key, State(told.state), told.detail, method=told.method, algorithm=told.algorithm, digest=told.digest,
            proof_ms=told.proof_ms,
        )  # fmt: skip
    detail = told.detail if told else "The mover has not said what became of it."
    return Outcome(item.key, State.STOPPED, detail, digest=told.digest if told else "", unproved=True)
