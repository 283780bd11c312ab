"""Exponential back-off: waits that grow with each failed attempt, each place with numbers of its own."""

from dataclasses import dataclass

_MOST_STEPS = 64
"""Beyond so many steps every wait is the longest one, and a float would soon overflow."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off: how long to wait after failures in a row; pure, the caller counts them."""

    first_s: float
    """Seconds after the first failure."""
    longest_s: float
    """Seconds that no wait exceeds, unless somebody asks for more."""
    factor: float = 2.0
    jitter: float = 0.0
    """The part of each wait, from 0 to 1, that chance may take away, so that many do not come back at once."""

    def wait_s(self, failures: int, at_least_s: float | None = None, *, chance: float = 1.0) -> float:
        """Return the seconds to wait before the next attempt.

        Args:
            failures: failed attempts in a row, the latest included; less than one counts as one.
            at_least_s: what is asked for, as by Retry-After (RFC 9110, 10.2.3): no wait is shorter.
            chance: a random number from 0 to 1, for the jitter.
        """
        steps = min(max(failures - 1, 0), _MOST_STEPS)
        wait_s = min(self.first_s * self.factor**steps, self.longest_s)
        return max(wait_s * (1 - self.jitter * (1 - chance)), at_least_s or 0.0)
