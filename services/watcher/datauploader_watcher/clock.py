"""The two clocks: one that nobody can set, for waiting; and the calendar's, for dates on the record."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Return seconds that only ever go on."""

    def now_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC, as the machine believes."""


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return time.time_ns()
