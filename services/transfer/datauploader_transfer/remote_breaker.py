"""Circuit breakers of the remotes: who is away, full or refuses us rests, and then is tried with one file first."""

import threading
import time
from dataclasses import dataclass, replace

from datauploader.reliability.backoff import Backoff

LONGEST_PAUSE_S = 60.0
BACKOFF = Backoff(first_s=1.0, longest_s=LONGEST_PAUSE_S)
TRIAL_S = 15.0
"""How long one file alone is waited for that shows how a remote is: a large one takes its time."""


@dataclass(frozen=True, slots=True)
class RemotePause:
    """The open state of one remote's circuit: its pause."""

    until: float
    attempts: int
    sentence: str
    tried_until: float = 0
    """Monotonic seconds: until then a file is waited for that shows whether the remote is well again."""


class RemoteCircuitBreaker:
    """A circuit breaker for each remote: pauses, growing while a remote stays away."""

    def __init__(self) -> None:
        """Begin with all remotes well."""
        self._lock = threading.Lock()
        self._pauses: dict[str, RemotePause] = {}
        self._stored: dict[str, float] = {}

    def note_failure(
        self, remote: str, sentence: str, now: float, retry_after_s: float | None = None, pause_s: float | None = None
    ) -> RemotePause:
        """Note that the remote cannot be used now; return how long it rests: `pause_s`, or longer each time."""
        with self._lock:
            old = self._pauses.get(remote)
            wanted = now + (retry_after_s or 0)
            if old is not None and old.until > now:  # several batches fail at once: one failure of the remote
                self._pauses[remote] = replace(old, until=max(old.until, wanted))
                return self._pauses[remote]
            attempts = old.attempts + 1 if old else 1
            pause = pause_s or BACKOFF.wait_s(attempts)
            self._pauses[remote] = RemotePause(max(now + pause, wanted), attempts, sentence)
            return self._pauses[remote]

    def note_success(self, remote: str) -> None:
        """Note that the remote took something."""
        with self._lock:
            self._pauses.pop(remote, None)
            self._stored[remote] = time.monotonic()

    def stored_since(self, remote: str, moment: float) -> bool:
        """Tell whether the remote took something after a moment (monotonic seconds)."""
        with self._lock:
            return self._stored.get(remote, float("-inf")) > moment

    def admits(self, remote: str, now: float, most: int) -> int:
        """Return how many files may be sent at once: none of a remote that rests, one after its pause, else `most`."""
        with self._lock:
            hold = self._pauses.get(remote)
            if hold is None:
                return most
            return 0 if hold.until > now or hold.tried_until > time.monotonic() else 1

    def begin_trial(self, remote: str) -> bool:
        """Note that files are sent; return whether they are the one that shows how the remote is."""
        with self._lock:
            if (hold := self._pauses.get(remote)) is None:
                return False
            self._pauses[remote] = replace(hold, tried_until=time.monotonic() + TRIAL_S)
            return True

    def end_trial(self, remote: str) -> None:
        """Note that the file which was to show how the remote is has come to its end."""
        with self._lock:
            if (hold := self._pauses.get(remote)) is not None:
                self._pauses[remote] = replace(hold, tried_until=0)

    def resting(self, remote: str, now: float) -> RemotePause | None:
        """Return the remote's pause if it is not over."""
        with self._lock:
            hold = self._pauses.get(remote)
            return hold if hold and hold.until > now else None

    def cap_pauses(self, latest: float) -> None:
        """Let no pause reach beyond a moment: the clock was ahead when it began, and was put right."""
        with self._lock:
            for remote, hold in self._pauses.items():
                if hold.until > latest:
                    self._pauses[remote] = replace(hold, until=latest)

    def problem(self, remote: str) -> str:
        """Return the sentence of what is wrong with the remote, "" when nothing is."""
        with self._lock:
            hold = self._pauses.get(remote)
            return hold.sentence if hold else ""

    def problems(self) -> dict[str, str]:
        """Return the sentences of all remotes that are not well."""
        with self._lock:
            return {remote: hold.sentence for remote, hold in self._pauses.items()}

    def next_end(self, now: float) -> float | None:
        """Return when the next pause is over."""
        with self._lock:
            return min((hold.until for hold in self._pauses.values() if hold.until > now), default=None)

    def close_circuit(self, remote: str) -> None:
        """End a remote's pause: somebody asks for another try at once. A failure begins the next, longer one."""
        with self._lock:
            if (hold := self._pauses.get(remote)) is not None:
                self._pauses[remote] = replace(hold, until=0)
