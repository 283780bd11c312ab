"""Detects stalls: notices that running work is to be stopped, or does not get on any more."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from datauploader_transfer.domain.failures import NOT_TRIED, is_about_storage

__all__ = ["StallDetector"]

_KNOCKING_S = 1.0
"""How long a storage that refuses may be tried in vain before the rest of a call is given up: each further file would
be tried ten times more."""
_DOUBT_S = 2.0
"""After how much silence, and how often then, we look for ourselves who does not answer: rclone tells of no refusal
before a file's last try, and between the tries of all files together it waits two seconds each time."""


@dataclass(slots=True)
class StallDetector:
    """Detect the stall of one call: note its progress, then ask for the `reason` to end it."""

    stall_s: float = 45.0
    cancels: tuple[Event, ...] = ()
    on_bytes: Callable[[int], None] | None = None
    probe: Callable[[], str] = lambda: ""
    """Says who does not answer: the storage's address, or the drive with the files; "" where both do."""
    reason: str = ""
    _best: tuple[int, int] = (0, 0)
    _moved_at: float = field(default_factory=time.monotonic)
    _knocked_at: float = 0.0
    _away: str = ""
    _expected: int = 0
    _allowance_s: float = 0.0

    def begin_call(self, expected: int = 0, allowance_s: float = 0.0) -> None:
        """Start to watch; once `expected` bytes have moved, `allowance_s` more may pass in silence.

        A storage that has all bytes of a large file puts it together, or hashes it, without a word.
        """
        self._best, self._moved_at = (0, 0), time.monotonic()
        self._expected, self._allowance_s = expected, allowance_s
        self._away = ""

    def note_error(self, error: str) -> None:
        """Take note of what a file has failed with, after every repetition that rclone makes by itself."""
        if is_about_storage(error):
            self._away = NOT_TRIED + error

    def note_progress(self, finished: int, moved: int) -> None:
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
        now = time.monotonic()
        silent, allowed = now - self._moved_at, self._allowance_s if self._best[1] >= self._expected else 0
        if silent > _DOUBT_S and now - self._knocked_at > _DOUBT_S:
            self._knocked_at = now
            self._away = self.probe() or self._away
        if any(cancel.is_set() for cancel in self.cancels):
            self.reason = "job stopped"
        elif self._away and silent > _KNOCKING_S:
            self.reason = self._away
        elif silent > self.stall_s + allowed:
            self.reason = f"timeout: nothing moved for {self.stall_s + allowed:.0f} s"
        return bool(self.reason)
