"""A reserve of memory in Redis for what cannot be built again: sessions, tokens, limits, the audit."""

import time

import redis
from redis.exceptions import OutOfMemoryError, ResponseError

FULL = 0.9
"""The view is not written while more of `maxmemory` than this is used."""
ENOUGH = 0.85
"""It is written again when less than this is."""
LOOK_S = 0.25
"""How often the memory is looked at while the view is written."""


class MemoryReserve:
    """Keeps the memory reserve: asks Redis how much of its memory is used."""

    def __init__(self, client: redis.Redis) -> None:
        """Ask through this client."""
        self._redis = client
        self._look_at = 0.0
        self._tight = False

    def require_room(self, *, now: bool = False) -> None:
        """Look at the memory, `now` or if that is some time ago.

        Raises:
            OutOfMemoryError: the rest is for what cannot be built again.
        """
        if now or time.monotonic() >= self._look_at:
            try:
                said = self._redis.info("memory")
            except ResponseError:  # it may not be asked: then it is full when it says so
                said = {}
            most = int(said.get("maxmemory", 0))
            used = int(said.get("used_memory", 0)) - int(said.get("mem_not_counted_for_evict", 0))
            share = used / most if most else 0.0
            self._look_at = time.monotonic() + LOOK_S
            self._tight = share > (ENOUGH if self._tight else FULL)
        if self._tight:
            raise OutOfMemoryError(f"{FULL:.0%} of maxmemory are used; the rest is kept for sign-ins")
