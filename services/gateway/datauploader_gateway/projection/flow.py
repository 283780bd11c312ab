"""How much moved when: a time series of bounded length, whose steps grow wider as it grows longer. Pure.

It is fed by `transfer.progressed`, which says the speed since the one before. A report that is not newer than the last
one adds nothing, so a log that is read again does not count twice.
"""

import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Self

NARROWEST_S = 10
"""Seconds of a step at first: 20 minutes until they double."""
MOST = 120
"""Steps."""
STATION_STEP_S = 300
STATION_STEPS = 288
"""A day of a station, in steps of five minutes."""
LONGEST_REPORT_S = 10.0
"""A report speaks of no more seconds than that: the transfer says one a second, and none while it is down."""
_HEAD = struct.Struct("<QQ")
_LATEST = 2**34
_MOST_BYTES = 2**62


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes in each step; the first step begins at `first * width_s` seconds since 1970."""

    width_s: int = NARROWEST_S
    first: int = 0
    amounts: tuple[int, ...] = ()

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Read what `pack` wrote."""
        width, first = _HEAD.unpack_from(packed)
        return cls(width, first, struct.unpack_from(f"<{(len(packed) - _HEAD.size) // 8}Q", packed, _HEAD.size))

    def pack(self) -> bytes:
        """Write it compactly, at most 976 bytes."""
        return _HEAD.pack(self.width_s, self.first) + struct.pack(f"<{len(self.amounts)}Q", *self.amounts)

    @property
    def fastest(self) -> float:
        """Bytes per second in the step in which most moved."""
        return max(self.amounts, default=0) / self.width_s

    def adding(self, at: float, amount: int) -> "Flow":
        """Return the series with these bytes at this time, in seconds since 1970; in any order the same."""
        at = min(max(at, 0.0), _LATEST)
        step = int(at) // self.width_s
        if not self.amounts:
            return Flow(self.width_s, step, (amount,))
        first, end = min(self.first, step), max(self.first + len(self.amounts), step + 1)
        if end - first > MOST:  # two steps become one
            half = self.first // 2
            wider = [0] * ((self.first + len(self.amounts) - 1) // 2 - half + 1)
            for number, known in enumerate(self.amounts, self.first):
                wider[number // 2 - half] = min(wider[number // 2 - half] + known, _MOST_BYTES)
            return Flow(self.width_s * 2, half, tuple(wider)).adding(at, amount)
        steps = [0] * (self.first - first) + list(self.amounts) + [0] * (end - self.first - len(self.amounts))
        steps[step - first] = min(steps[step - first] + amount, _MOST_BYTES)
        return Flow(self.width_s, first, tuple(steps))


def moved(before: str | None, now: datetime, bytes_per_s: float) -> int:
    """Return how many bytes a report speaks of, from the time of the one before it."""
    seconds = 1.0 if before is None else (now - datetime.fromisoformat(before)).total_seconds()
    return int(min(bytes_per_s, 1e12) * min(max(seconds, 0.0), LONGEST_REPORT_S))
