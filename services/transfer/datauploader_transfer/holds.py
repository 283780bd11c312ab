"""Remotes that are away or full: nobody tries them again before their pause is over."""

import threading
from dataclasses import dataclass

LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Hold:
    """One remote's pause."""

    until: float
    attempts: int
    sentence: str


class Holds:
    """The pauses of all remotes, growing while a remote stays away."""

    def __init__(self) -> None:
        """Begin with all remotes well."""
        self._lock = threading.Lock()
        self._holds: dict[str, Hold] = {}

    def failed(self, remote: str, sentence: str, now: float, retry_after_s: float | None = None) -> Hold:
        """Note that the remote cannot be used now; return how long it rests."""
        with self._lock:
            old = self._holds.get(remote)
            wanted = now + (retry_after_s or 0)
            if old is not None and old.until > now:  # several batches fail at once: one failure of the remote
                self._holds[remote] = Hold(max(old.until, wanted), old.attempts, old.sentence)
                return self._holds[remote]
            attempts = old.attempts + 1 if old else 1
            pause = min(2.0 ** min(attempts - 1, 10), LONGEST_PAUSE_S)
            self._holds[remote] = Hold(max(now + pause, wanted), attempts, sentence)
            return self._holds[remote]

    def well(self, remote: str) -> None:
        """Note that the remote took something."""
        with self._lock:
            self._holds.pop(remote, None)

    def resting(self, remote: str, now: float) -> Hold | None:
        """Return the remote's pause if it is not over."""
        with self._lock:
            hold = self._holds.get(remote)
            return hold if hold and hold.until > now else None

    def put_right(self, latest: float) -> None:
        """Let no pause reach beyond a moment: the clock was ahead when it began, and was put right."""
        with self._lock:
            for remote, hold in self._holds.items():
                if hold.until > latest:
                    self._holds[remote] = Hold(latest, hold.attempts, hold.sentence)

    def trouble(self, remote: str) -> str:
        """Return the sentence of what is wrong with the remote, "" when nothing is."""
        with self._lock:
            hold = self._holds.get(remote)
            return hold.sentence if hold else ""

    def troubles(self) -> dict[str, str]:
        """Return the sentences of all remotes that are not well."""
        with self._lock:
            return {remote: hold.sentence for remote, hold in self._holds.items()}

    def next_end(self, now: float) -> float | None:
        """Return when the next pause is over."""
        with self._lock:
            return min((hold.until for hold in self._holds.values() if hold.until > now), default=None)

    def lift(self, remote: str) -> None:
        """End a remote's pause: somebody asks for another try at once. A failure begins the next, longer one."""
        with self._lock:
            if (hold := self._holds.get(remote)) is not None:
                self._holds[remote] = Hold(0, hold.attempts, hold.sentence)
