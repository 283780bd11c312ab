"""When a file counts as finished, by a clock that nobody can set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datauploader_watcher.domain.stability import TRIES_BEFORE_RECORD, HashRequest, QuietPeriod, StabilityTracker
from datauploader_watcher.domain.versions import Digests, Stamp

A = Stamp(10, 1_000, 7)
B = Stamp(20, 2_000, 7)
DIGESTS = Digests(b"\x01" * 32, b"\x02" * 16)
PATH = b"scan/frame.tif"
QUIET = QuietPeriod.of(2.0, factor=0.25, least_s=0.25)


def settling() -> StabilityTracker:
    """Return an empty table with a quiet period of two seconds."""
    return StabilityTracker(QUIET)


def test_a_file_is_read_only_after_its_quiet_period():
    """The second look comes when the period is over, not before."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=True)
    assert table.take_due(101.9, 10) == []
    assert table.take_due(102.0, 10) == [HashRequest(PATH, A)]


def test_an_equal_look_in_between_changes_nothing():
    """The period counts from the first time that the file looked like this."""
    table = settling()
    assert table.observe_file(PATH, A, 100.0, fresh=True)
    assert not table.observe_file(PATH, A, 101.0, fresh=True)
    assert table.take_due(102.0, 10) == [HashRequest(PATH, A)]


@pytest.mark.fault("F9")
def test_a_change_begins_the_wait_anew():
    """A file that grows is not finished, and as what it is then it was first seen at its last change."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=True)
    table.observe_file(PATH, B, 101.0, fresh=True)
    assert table.take_due(102.5, 10) == []
    assert table.take_due(103.0, 10) == [HashRequest(PATH, B)]
    finished = table.finish(PATH, B, DIGESTS, 103.0)
    assert finished is not None
    assert (finished.since, finished.changed_at) == (100.0, 101.0)


def test_a_close_shortens_the_wait_and_a_later_change_undoes_it():
    """A quarter of the period is enough after the writer has closed the file."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=True)
    table.closed(PATH, 100.1)
    assert table.take_due(100.5, 10) == []
    assert table.take_due(100.6, 10) == [HashRequest(PATH, A)]
    other = settling()
    other.observe_file(PATH, A, 100.0, fresh=True)
    other.closed(PATH, 100.1)
    other.observe_file(PATH, B, 100.2, fresh=True)
    assert other.take_due(100.7, 10) == []


def test_a_close_never_lengthens_a_wait():
    """The least period after a close does not hold where the whole period is shorter."""
    assert QuietPeriod.of(0.1, factor=0.25, least_s=0.25).closed_s == 0.1
    assert QuietPeriod.of(0.0, factor=0.25, least_s=0.25).closed_s == 0.0
    assert QuietPeriod.of(60.0, factor=0.25, least_s=0.25).closed_s == 15.0


def test_a_reading_of_what_has_changed_since_does_not_finish_the_file():
    """The digests belong to the stamp that was asked for, and to no other."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=True)
    table.take_due(102.0, 10)
    table.observe_file(PATH, B, 102.1, fresh=True)
    assert table.finish(PATH, A, DIGESTS, 1e9) is None
    assert PATH in table
    assert table.take_due(104.1, 10) == [HashRequest(PATH, B)]
    assert table.finish(PATH, B, DIGESTS, 1e9) is not None
    assert PATH not in table


def test_a_file_is_not_read_twice_at_once():
    """While it is being read it is not due."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=True)
    assert len(table.take_due(102.0, 10)) == 1
    table.closed(PATH, 102.0)
    assert table.take_due(999.0, 10) == []
    assert table.reading == 1


def test_a_suspect_is_read_at_once():
    """Somebody says that its bytes are not what was announced."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=False, at_once=True)
    assert table.take_due(100.0, 10) == [HashRequest(PATH, A)]


def test_failures_wait_longer_each_time_and_are_worth_one_record():
    """A drive that does not answer is asked again, ever more seldom."""
    table = settling()
    table.observe_file(PATH, A, 0.0, fresh=True)
    now, waits, records = 2.0, [], 0
    for _ in range(TRIES_BEFORE_RECORD + 6):
        assert table.take_due(now, 10) == [HashRequest(PATH, A)]
        records += table.failed(PATH, now)
        waits.append(table.next_due - now)
        now = table.next_due
    assert waits == sorted(waits)
    assert waits[0] == 2.0
    assert waits[-1] == 300.0
    assert records == 1


def test_a_dropped_file_is_forgotten_even_while_it_is_read():
    """It is gone, or stays out."""
    table = settling()
    table.observe_file(PATH, A, 0.0, fresh=True)
    table.take_due(2.0, 10)
    table.drop(PATH)
    assert table.finish(PATH, A, DIGESTS, 1e9) is None
    assert len(table) == 0
    assert table.reading == 0


def test_a_calm_file_is_read_while_it_rests_and_looked_at_once_more_at_the_end():
    """Reading early saves time and decides nothing."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=True, calm=True)
    assert table.take_due(100.0, 10) == [HashRequest(PATH, A)]
    assert table.finish(PATH, A, DIGESTS, 100.5) is None
    assert table.take_due(101.9, 10) == []
    assert table.take_due(102.0, 10) == [HashRequest(PATH, A, DIGESTS)]
    assert table.finish(PATH, A, DIGESTS, 102.0) is not None


def test_a_file_that_nobody_has_open_rests_as_long_as_one_that_was_closed():
    """A reading that ends later than that finishes it; a longer rest after newer versions stays longer."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=True, calm=True)
    assert table.take_due(100.0, 10) == [HashRequest(PATH, A)]
    assert table.finish(PATH, A, DIGESTS, 100.1, alone=True) is None
    assert table.take_due(100.4, 10) == []
    assert table.take_due(100.5, 10) == [HashRequest(PATH, A, DIGESTS)]
    assert table.finish(PATH, A, DIGESTS, 100.5) is not None
    other = settling()
    other.observe_file(PATH, A, 100.0, fresh=True, calm=True)
    other.take_due(100.0, 10)
    assert other.finish(PATH, A, DIGESTS, 100.7, alone=True) is not None


def test_a_file_that_nobody_has_open_begins_anew_when_it_changes():
    """What was seen of its former state shortens no wait."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=True, calm=True)
    table.take_due(100.0, 10)
    table.finish(PATH, A, DIGESTS, 100.1, alone=True)
    table.observe_file(PATH, B, 100.3, fresh=True)
    assert table.take_due(102.2, 10) == []
    assert table.take_due(102.3, 10) == [HashRequest(PATH, B)]


def test_a_calm_file_that_changes_after_its_reading_begins_anew():
    """The digests of the early reading are forgotten."""
    table = settling()
    table.observe_file(PATH, A, 100.0, fresh=True, calm=True)
    table.take_due(100.0, 10)
    table.finish(PATH, A, DIGESTS, 100.5)
    assert table.take_due(102.0, 10) == [HashRequest(PATH, A, DIGESTS)]
    table.changed(PATH, B, 102.0)
    assert table.take_due(104.0, 10) == [HashRequest(PATH, B)]


@pytest.mark.fault("F9", "F17")
@given(
    looks=st.lists(
        st.tuples(st.floats(0.01, 5.0), st.sampled_from([A, B]), st.booleans(), st.booleans(), st.booleans()),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_whatever_happens_no_file_is_finished_before_two_equal_looks_a_period_apart(looks):
    """The rule, over random histories of writes, closes and early readings; only that nobody writes may shorten it."""
    table, now, since, stamp, rest = settling(), 0.0, 0.0, None, QUIET.open_s
    for step, seen, close, calm, alone in looks:
        now += step
        for wanted in table.take_due(now, 10):
            assert wanted.stamp == stamp
            rest = min(rest, QUIET.closed_s) if alone else rest
            if table.finish(wanted.path, wanted.stamp, DIGESTS, now, alone=alone) is not None:
                assert now - since >= rest - 1e-9
                stamp = None
        if stamp is None or seen != stamp:
            since, rest = now, QUIET.open_s
        stamp = seen
        table.observe_file(PATH, seen, now, fresh=True, calm=calm)
        if close:
            table.closed(PATH, now)
            rest = min(rest, now - since + QUIET.closed_s)


def appended(table: StabilityTracker, every_s: float, times: int) -> int:
    """Let a file grow so often, and look at it each second; return how many versions of it are finished."""
    versions, size = 0, 0
    for second in range(round(every_s * times)):
        now = 100.0 + second
        if second % every_s == 0:
            size += 10
            table.observe_file(PATH, Stamp(size, size, 7), now, fresh=not versions)
        for wanted in table.take_due(now, 10):
            versions += table.finish(PATH, wanted.stamp, DIGESTS, now) is not None
    return versions


@pytest.mark.fault("F9")
def test_a_file_that_grows_again_and_again_rests_longer_each_time():
    """It would be read and sent whole for every line; after half an hour it gets a new version all the same."""
    assert appended(settling(), every_s=8, times=16) <= 5
    assert appended(settling(), every_s=8, times=16 * 30) <= 12
    assert appended(settling(), every_s=8, times=16 * 30) >= 5


@pytest.mark.fault("F9")
def test_once_the_upload_is_closed_the_last_version_is_taken_at_once():
    """The long rest ends with the close; a batch, which is closed from its beginning, knows none."""
    table = settling()
    before = appended(table, every_s=8, times=16)
    now = 100.0 + 8 * 15 + 3
    assert table.take_due(now + 2, 10) == [], "it rests still"
    table.hasten(now)
    (wanted,) = table.take_due(now + 2, 10)
    assert table.finish(PATH, wanted.stamp, DIGESTS, now + 2) is not None
    assert appended(StabilityTracker(QUIET, hasty=True), every_s=8, times=16) == 16
    assert before < 6
