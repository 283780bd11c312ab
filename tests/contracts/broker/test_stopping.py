"""Stopping: nothing new is taken, what runs is finished, and no deadline is overrun."""

import threading
import time

import pytest


@pytest.fixture
def busy():
    """Give a handler that runs until it is released."""

    class Busy:
        def __init__(self):
            self.running, self.release, self.finished = threading.Event(), threading.Event(), threading.Event()
            self.calls = 0

        def __call__(self, _delivery):
            self.calls += 1
            self.running.set()
            self.release.wait(20)
            self.finished.set()

    handler = Busy()
    yield handler
    handler.release.set()


def test_stopping_waits_for_the_running_handler(engine, bus, queue, consume, busy, recorder, new_event, eventually):
    """Its verdict is settled: a consumer that comes later does not see the event again, only the one behind it."""
    consumer = consume(bus, queue, busy)
    first, second = new_event(), new_event()
    for event in (first, second):
        bus.publish(event).result(60)
    assert busy.running.wait(10)
    stopper = threading.Thread(target=consumer.stop, args=(10,))
    stopper.start()
    eventually(lambda: threading.Event().wait(0.3) or stopper.is_alive(), "the stop waits")
    busy.release.set()
    stopper.join(10)
    assert not stopper.is_alive()
    assert busy.finished.is_set()
    assert busy.calls == 1, "a stopped consumer began another message"
    heir = recorder()
    consume(engine.bus("watcher y"), queue, heir)
    heir.wait_for(1)
    assert heir.ids == [second.id]


def test_a_handler_that_hangs_does_not_hold_the_stop(bus, queue, consume, busy, new_event):
    """The deadline ends the wait; the event is somebody's later."""
    consumer = consume(bus, queue, busy)
    bus.publish(new_event()).result(60)
    assert busy.running.wait(10)
    begun = time.monotonic()
    consumer.stop(0.5)
    assert time.monotonic() - begun < 3


def test_closing_ends_within_its_deadline_whatever_runs(bus, queue, consume, busy, new_event):
    """The bus as a whole is no slower than its slowest handler's deadline."""
    consume(bus, queue, busy)
    bus.publish(new_event()).result(60)
    assert busy.running.wait(10)
    begun = time.monotonic()
    bus.close(1.5)
    assert time.monotonic() - begun < 4


def test_closing_flushes_what_is_unconfirmed(engine, queue, consume, recorder, new_event):
    """Whatever was published before the close has an outcome, and here it is a good one."""
    handler = recorder()
    consume(engine.bus("harvester x"), queue, handler)
    publisher = engine.bus("watcher x")
    publisher.publish(new_event()).result(60)
    futures = [publisher.publish(new_event()) for _ in range(300)]
    publisher.close(10)
    assert all(future.done() and future.exception() is None for future in futures)
    handler.wait_for(301)


def test_closing_twice_is_closing_once(engine):
    """A second close finds nothing to do."""
    bus = engine.bus()
    bus.close(5)
    bus.close(5)
    assert not bus.health().ok
