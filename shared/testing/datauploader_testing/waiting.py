"""Waiting for a condition with a deadline, so that no test sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, within_s: float = 60.0, what: str = "", every_s: float = 0.01) -> T:
    """Call `condition` every so many seconds until what it returns is true, and return that.

    Raises:
        AssertionError: it was not true within the deadline; says `what` was waited for, and the last value.
    """
    end = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {within_s:g} s: {what or condition}; at last {value!r}"
        time.sleep(every_s)
    return value
