"""An event is handled once, however often it comes."""

import pytest

from datauploader.reliability import Inbox, Store
from datauploader.reliability.inbox import SCHEMA


@pytest.fixture
def store():
    """Open an inbox in memory."""
    store = Store(None, [SCHEMA])
    yield store
    store.close()


def test_the_second_time_is_not_the_first(store) -> None:
    """Each id is new once."""
    with store.transaction() as db:
        assert [Inbox.first_time(db, each) for each in ("a", "a", "b", "a")] == [True, False, True, False]


def test_an_event_whose_handling_failed_is_new_again(store) -> None:
    """The id goes with the effect: rolled back together."""
    with pytest.raises(LookupError), store.transaction() as db:  # noqa: PT012 - the block is what fails
        assert Inbox.first_time(db, "a")
        raise LookupError
    with store.transaction() as db:
        assert Inbox.first_time(db, "a")


def test_old_ids_are_forgotten_and_young_ones_kept(store) -> None:
    """The table does not grow for ever."""
    with store.transaction() as db:
        Inbox.first_time(db, "a")
        assert Inbox.forget_old(db, older_than_s=3600) == 0
        assert Inbox.forget_old(db, older_than_s=-1) == 1
        assert Inbox.first_time(db, "a")
