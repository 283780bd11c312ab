"""Retries that are due back: when somebody is told that a retry queue stands."""

import pytest

from datauploader.messaging.rabbit.dead_letters import DelayedRetries

pytestmark = pytest.mark.fault("F63")


class Clock:
    """A clock that tests turn."""

    now = 1000.0

    def __call__(self):
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock():
    """Give the clock."""
    return Clock()


@pytest.fixture
def retries(clock):
    """Give what one consumer waits for."""
    return DelayedRetries(clock)


def test_a_rung_that_keeps_a_message_for_twice_its_time_is_named(retries, clock):
    """Beyond that it takes some seconds' grace; until then all is well."""
    retries.note_sent(b"one", "datauploader.again.10s", 10)
    clock.now += 20
    assert retries.problem == ""
    clock.now += 6
    assert "datauploader.again.10s keeps messages (1)" in retries.problem


def test_what_is_back_is_not_waited_for(retries, clock):
    """Whichever of several; one that asks again waits anew, and what never got there is not waited for."""
    for body in (b"one", b"two", b"three"):
        retries.note_sent(body, "datauploader.again.1s", 1)
    retries.note_back(b"one")
    retries.note_unsent(b"three")
    clock.now += 60
    assert "messages (1)" in retries.problem
    retries.note_sent(b"two", "datauploader.again.60s", 60)
    assert retries.problem == ""


def test_a_rung_from_which_a_later_message_is_back_does_not_stand(retries, clock):
    """An earlier one of that retry queue came to another process; of other retry queues that says nothing."""
    retries.note_sent(b"elsewhere", "datauploader.again.1s", 1)
    retries.note_sent(b"slow", "datauploader.again.10s", 10)
    retries.note_sent(b"mine", "datauploader.again.1s", 1)
    retries.note_back(b"mine")
    clock.now += 10
    assert retries.problem == ""
    clock.now += 20
    assert "datauploader.again.10s keeps messages (1)" in retries.problem


def test_what_somebody_took_away_is_not_waited_for_without_end(retries, clock):
    """A person has emptied the retry queue, or another process of the same queue has got it."""
    retries.note_sent(b"one", "datauploader.again.1s", 1)
    clock.now += 2 * 3600
    assert retries.problem == ""
