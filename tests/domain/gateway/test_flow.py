"""The time series of a chart: bounded, exact in its sum, and the same in whatever order its parts are added."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from datauploader_gateway.projection.flow import MOST, NARROWEST_S, Flow, moved

PARTS = st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 10**12)), min_size=1, max_size=60)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@given(PARTS, st.randoms(use_true_random=False))
def test_a_series_is_bounded_and_keeps_every_byte_in_any_order(
    parts: list[tuple[int, int]], chance: random.Random
) -> None:
    """Steps grow wider until all of them fit; packing loses nothing."""
    one = other = Flow()
    for at, amount in parts:
        one = one.adding(1.7e9 + at, amount)
    chance.shuffle(parts)
    for at, amount in parts:
        other = other.adding(1.7e9 + at, amount)
    assert one == other == Flow.unpack(one.pack())
    assert sum(one.amounts) == sum(amount for _, amount in parts)
    assert len(one.amounts) <= MOST


def test_steps_are_narrow_while_that_is_enough() -> None:
    """Twenty minutes in steps of ten seconds, then of twenty."""
    flow = Flow()
    for second in range(0, 1200, 10):
        flow = flow.adding(1_700_000_000 + second, 5)
    assert (flow.width_s, len(flow.amounts), set(flow.amounts)) == (NARROWEST_S, 120, {5})
    flow = flow.adding(1_700_000_000 + 1200, 5)
    assert (flow.width_s, len(flow.amounts), sum(flow.amounts)) == (20, 61, 605)


def test_nonsense_from_a_station_harms_nothing() -> None:
    """Times outside of any calendar, and speeds beyond all wires."""
    flow = Flow().adding(1.7e9, 1).adding(1e300, 2**62).adding(-1e300, 2**62).adding(1e300, 2**62)
    assert len(flow.pack()) <= 16 + 8 * MOST
    assert moved(None, NOW, 1e308) <= 10**13


def test_a_report_speaks_of_the_time_since_the_one_before() -> None:
    """A second where there is none, and never of long silence: the transfer was down then."""
    before = (NOW - timedelta(seconds=2)).isoformat()
    assert moved(before, NOW, 100.0) == 200
    assert moved(None, NOW, 100.0) == 100
    assert moved((NOW - timedelta(hours=1)).isoformat(), NOW, 100.0) == 1000
