"""Retries that are due back: when somebody is told that a rung stands."""

import pytest

from datauploader.messaging.rabbit.awaited import Awaited

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
def awaited(clock):
    """Give what one consumer waits for."""
    return Awaited(clock)


def test_a_rung_that_keeps_a_message_for_twice_its_time_is_named(awaited, clock):
    """Beyond that it takes some seconds' grace; until then all is well."""
    awaited.sent(b"one", "datauploader.again.10s", 10)
    clock.now += 20
    assert awaited.trouble == ""
    clock.now += 6
    assert "datauploader.again.10s keeps messages (1)" in awaited.trouble


def test_what_is_back_is_not_waited_for(awaited, clock):
    """Whichever of several; one that asks again waits anew, and what never got there is not waited for."""
    for body in (b"one", b"two", b"three"):
        awaited.sent(body, "datauploader.again.1s", 1)
    awaited.back(b"one")
    awaited.unsent(b"three")
    clock.now += 60
    assert "messages (1)" in awaited.trouble
    awaited.sent(b"two", "datauploader.again.60s", 60)
    assert awaited.trouble == ""


def test_a_rung_from_which_a_later_message_is_back_does_not_stand(awaited, clock):
    """An earlier one of that rung came to another process of the same queue; of other rungs that says nothing."""
    awaited.sent(b"elsewhere", "datauploader.again.1s", 1)
    awaited.sent(b"slow", "datauploader.again.10s", 10)
    awaited.sent(b"mine", "datauploader.again.1s", 1)
    awaited.back(b"mine")
    clock.now += 10
    assert awaited.trouble == ""
    clock.now += 20
    assert "datauploader.again.10s keeps messages (1)" in awaited.trouble


def test_what_somebody_took_away_is_not_waited_for_without_end(awaited, clock):
    """A person has emptied the rung, or another process of the same queue has got it."""
    awaited.sent(b"one", "datauploader.again.1s", 1)
    clock.now += 2 * 3600
    assert awaited.trouble == ""
