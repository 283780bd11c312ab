"""Notice that running work is to be stopped, or does not get on any more."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from datauploader_transfer.domain.failures import asks_for_pause

__all__ = ["Watch"]

_KNOCKING_S = 1.0


@dataclass(slots=True)
class Watch:
    """Follow one call: `saw` its counters, then ask for the `reason` to end it."""

    stall_s: float = 45.0
    cancels: tuple[Event, ...] = ()
    on_bytes: Callable[[int], None] | None = None
    reason: str = ""
    _best: tuple[int, int] = (0, 0)
    _moved_at: float = field(default_factory=time.monotonic)
    _busy: str = ""
    _expected: int = 0
    _allowance_s: float = 0.0

    def begin(self, expected: int = 0, allowance_s: float = 0.0) -> None:
        """Start to watch; once `expected` bytes have moved, `allowance_s` more may pass in silence.

        A storage that has all bytes of a large file puts it together, or hashes it, without a word.
        """
        self._best, self._moved_at = (0, 0), time.monotonic()
        self._expected, self._allowance_s = expected, allowance_s
        self._busy = ""

    def heard(self, error: str) -> None:
        """Take note of what the storage has refused with, after every repetition that rclone makes by itself."""
        if asks_for_pause(error):
            self._busy = error

    def saw(self, finished: int, moved: int) -> None:
        """Take note of how many files are finished and how many bytes have moved.

        A retry begins from zero again, so only a new best counts as progress.
        """
        files, size = self._best
        if finished > files or moved > size:
            self._best = (max(finished, files), max(moved, size))
            self._moved_at = time.monotonic()
        if self.on_bytes:
            self.on_bytes(moved)

    def must_end(self) -> bool:
        """Tell whether the work is to be ended now, and keep the reason."""
        if any(cancel.is_set() for cancel in self.cancels):
            self.reason = "job stopped"
        elif self._busy and time.monotonic() - self._moved_at > _KNOCKING_S:
            self.reason = self._busy  # every further file would knock ten times more
        elif time.monotonic() - self._moved_at > self._patience():
            self.reason = f"timeout: nothing moved for {self._patience():.0f} s"
        return bool(self.reason)

    def _patience(self) -> float:
        return self.stall_s + (self._allowance_s if self._best[1] >= self._expected else 0)
