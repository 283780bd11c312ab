"""Which folders are looked at again soon after they were found: those on which the watch may have come too late."""

import pytest

from datauploader_watcher.uploads.rescan_queue import LOOK_AGAIN_S, RescanQueue

BEGUN_NS = 1_000 * 10**9
EARLIER_NS = BEGUN_NS - 60 * 10**9


class At:
    """A clock that stands still."""

    def monotonic(self) -> float:
        """Return the moment."""
        return 100.0

    def now_ns(self) -> int:
        """Return the moment of the calendar."""
        return BEGUN_NS


@pytest.fixture
def queue():
    """Give a queue whose folders have been watched since a moment."""
    made = RescanQueue(((b"", None),), At())
    made.watched, made.watched_since_ns = True, BEGUN_NS
    return made


def test_a_folder_that_was_there_before_the_watches_is_not_looked_at_again(queue):
    """It was watched before anybody looked, so events tell of what comes; its files may be a million."""
    queue.enter(b"scan", known=False, changed_ns=EARLIER_NS)
    queue.enter(b"scan/part", known=False, changed_ns=EARLIER_NS)
    assert queue.next_due is None


@pytest.mark.parametrize("changed_ns", [0, BEGUN_NS - 1, BEGUN_NS + 1])
def test_a_folder_that_may_have_come_since_is_looked_at_again(queue, changed_ns):
    """Also where the disk does not say when it was changed, or the clocks may differ."""
    queue.enter(b"scan", known=False, changed_ns=changed_ns)
    assert queue.next_due == 100.0 + LOOK_AGAIN_S[0]


def test_an_old_folder_in_one_that_may_have_come_since_is_looked_at_again(queue):
    """Whoever moves a folder changes it, and nothing in it."""
    queue.enter(b"moved", known=False, changed_ns=BEGUN_NS)
    queue.ripen(1_000.0)
    queue.drain_due()
    queue.enter(b"moved/part", known=False, changed_ns=EARLIER_NS)
    queue.ripen(1_000.0)
    assert {folder for folder, _ in queue.drain_due()} == {b"moved", b"moved/part"}
