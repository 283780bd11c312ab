"""The failure policy: a failure is the file's own, which has an end, or its storage's, which rests and goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

from datauploader_transfer.domain.outcomes import given_up
from datauploader_transfer.ledger import Job
from datauploader_transfer.ports import Mover, Outcome, State, Whose, asks_for_pause
from datauploader_transfer.remote_breaker import BACKOFF, LONGEST_PAUSE_S, RemoteCircuitBreaker
from datauploader_transfer.settings import TransferSettings

MOST_MISMATCHES = 5
"""Times that a file may arrive damaged before a person must look."""
STORED = (State.VERIFIED, State.UNVERIFIED)


@dataclass(frozen=True, slots=True)
class FailureDecision:
    """The decision about one failure: what is written down and told of it."""

    outcome: Outcome
    due: float | None
    """When the file is tried again, seconds since 1970; None: a person is needed, or a new version of the file."""
    own: bool = False
    """It was the file's alone."""


class FailurePolicy:
    """The policy for failures: tells those of files from those of their storage."""

    def __init__(self, breaker: RemoteCircuitBreaker, mover: Mover, settings: TransferSettings) -> None:
        """Take the remotes' pauses, who can ask a remote how it is, and how often a file is tried."""
        self._breaker, self._mover, self._settings = breaker, mover, settings

    @property
    def longest_pause_s(self) -> float:
        """The longest pause that no storage asked for."""
        return max(LONGEST_PAUSE_S, self._settings.by_hand_pause_s)

    def takes_others(self, remote: str, outcomes: Sequence[Outcome], began: float) -> bool:
        """Find out whether a storage that failed in an attempt takes other files; False where nothing depends on it.

        What it stored since the attempt began (monotonic seconds) shows it, else whether it takes a small one of ours.
        """
        if not any(outcome.whose is Whose.EITHER for outcome in outcomes):
            return False
        if any(outcome.whose is Whose.REMOTE for outcome in outcomes):
            return False
        if any(outcome.state in STORED for outcome in outcomes) or self._breaker.stored_since(remote, began):
            return True
        return self._mover.probe_remote(remote).writable

    def note_asked_pause(self, remote: str, outcomes: Sequence[Outcome], now: float) -> None:
        """Let a storage rest that has asked for it, before it is decided what becomes of its files."""
        for outcome in outcomes:
            if asks_for_pause(outcome):
                sentence = f"Storage {remote}: {outcome.detail} {outcome.hint}"
                self._breaker.note_failure(remote, sentence, now, outcome.retry_after_s)
                return

    def decide(self, remote: str, job: Job, outcome: Outcome, now: float, *, takes_others: bool) -> FailureDecision:
        """Decide about one failure; a storage that failed as a whole rests from here on."""
        if not outcome.retryable:
            return FailureDecision(outcome, None)
        if outcome.whose is Whose.REMOTE or (outcome.whose is Whose.EITHER and not takes_others):
            sentence = f"Storage {remote}: {outcome.detail} {outcome.hint}"
            pause_s = self._settings.by_hand_pause_s if outcome.by_hand else None
            pause = self._breaker.note_failure(remote, sentence, now, outcome.retry_after_s, pause_s)
            return FailureDecision(outcome, pause.until)
        if outcome.whose is Whose.NEITHER or outcome.endless:
            return FailureDecision(outcome, now + BACKOFF.wait_s(job.attempts + 1, outcome.retry_after_s))
        tries = MOST_MISMATCHES if outcome.state is State.MISMATCH else self._settings.file_tries
        if job.refused + 1 >= tries:
            return FailureDecision(
                outcome if outcome.state is State.MISMATCH else given_up(outcome, tries), None, own=True
            )
        return FailureDecision(outcome, now + BACKOFF.wait_s(job.refused + 1, outcome.retry_after_s), own=True)
