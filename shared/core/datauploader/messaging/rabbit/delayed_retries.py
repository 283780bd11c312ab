"""Retries that are due back: a retry queue that keeps what it should have let go is seen by whoever waits for it."""

import hashlib
import itertools
import threading
import time
from collections.abc import Callable

_GRACE_S = 5.0
"""What the broker and this service may take beyond twice the delay."""
_FORGOTTEN_S = 3600.0
"""A retry that is so late was taken away by somebody, or came to another process that consumes the same queue."""


class DelayedRetries:
    """Delayed retries: when each message must be back; every method may be called from any thread.

    Of several processes that consume one queue another one may get it. A retry queue lets go in the order in which it
    took in: what is back tells that it does not stand, and then nothing is waited for any more that went in before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[bytes, tuple[float, str]] = {}
        """In the order of the sending: when it must be back, and the retry queue."""

    def note_sent(self, body: bytes, retry_queue: str, delay_s: float) -> None:
        """Note that a message waits in a retry queue for so many seconds."""
        with self._lock:
            key = _digest(body)
            self._due.pop(key, None)
            self._due[key] = self._clock() + 2 * delay_s + _GRACE_S, retry_queue

    def note_back(self, body: bytes) -> None:
        """Note that a message has come."""
        if self._due:  # the usual case costs no digest
            with self._lock:
                key = _digest(body)
                if key not in self._due:
                    return
                _, retry_queue = self._due[key]
                before = itertools.takewhile(lambda other: other != key, self._due)
                for other in [key, *(one for one in before if self._due[one][1] == retry_queue)]:
                    del self._due[other]

    def note_unsent(self, body: bytes) -> None:
        """Note that a message did not get into its retry queue."""
        with self._lock:
            self._due.pop(_digest(body), None)

    @property
    def problem(self) -> str:
        """Say which retry queue stands, "" while none is known to."""
        now = self._clock()
        with self._lock:
            self._due = {key: one for key, one in self._due.items() if now < one[0] + _FORGOTTEN_S}
            late = [retry_queue for due, retry_queue in self._due.values() if now > due]
        if not late:
            return ""
        return (
            f"the queue {late[0]} keeps messages ({len(late)}) beyond twice their time: one of the queues that they go "
            "back to takes none, because it is full or unavailable; see docs/operations.md"
        )


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
