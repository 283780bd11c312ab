"""The retry queues: how long a message waits, and where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader.messaging.topology import RETRY_DELAYS_S, delay_for_attempt, retry_name


@given(attempt=st.integers(1, 100), after=st.floats(0, 600))
def test_a_retry_waits_at_least_what_was_asked_for(attempt, after):
    """And always for a delay that has a queue."""
    chosen = delay_for_attempt(attempt, after)
    assert chosen >= after
    assert chosen in RETRY_DELAYS_S


@given(after=st.floats(0, 10_000))
def test_waits_grow_with_the_attempts(after):
    """Nobody hammers what does not answer."""
    delays = [delay_for_attempt(attempt, after) for attempt in range(1, 10)]
    assert delays == sorted(delays)
    assert delays[-1] == RETRY_DELAYS_S[-1]


@pytest.mark.parametrize(("seconds", "name"), [(1, "datauploader.again.1s"), (0.5, "datauploader.again.0.5s")])
def test_a_retry_queue_is_named_for_its_delay(seconds, name):
    """A person reads it in the management page."""
    assert retry_name(seconds) == name
