"""Retries that are due back: a rung that keeps what it should have let go is seen by whoever waits for it."""

import hashlib
import threading
import time
from collections.abc import Callable

_GRACE_S = 5.0
"""What the broker and this service may take beyond twice the delay."""
_FORGOTTEN_S = 3600.0
"""A retry that is so late was taken away by somebody, or came to another process that consumes the same queue."""


class Awaited:
    """What this process has asked for again, and when it must be back; every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[bytes, tuple[float, str]] = {}

    def sent(self, body: bytes, rung: str, delay_s: float) -> None:
        """Note that a message waits in a rung for so many seconds."""
        with self._lock:
            self._due[_digest(body)] = self._clock() + 2 * delay_s + _GRACE_S, rung

    def back(self, body: bytes) -> None:
        """Note that a message has come."""
        if self._due:  # the usual case costs no digest
            with self._lock:
                self._due.pop(_digest(body), None)

    @property
    def trouble(self) -> str:
        """Say which rung stands, "" while none is known to."""
        now = self._clock()
        with self._lock:
            self._due = {key: one for key, one in self._due.items() if now < one[0] + _FORGOTTEN_S}
            late = [rung for due, rung in self._due.values() if now > due]
        if not late:
            return ""
        return (
            f"the queue {late[0]} keeps messages ({len(late)}) beyond twice their time: one of the queues that they go "
            "back to takes none, because it is full or unavailable; see docs/operations.md"
        )


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
