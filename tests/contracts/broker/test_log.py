"""The event log: a late consumer reads it from the start, from an offset, from a time."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue

import pytest

from datauploader.errors import Park
from datauploader.messaging.catch_up import CatchUp
from datauploader.messaging.port import Start
from datauploader.messaging.topology import LOG
from datauploader_testing.waiting import eventually


@pytest.fixture
def history(bus, new_event):
    """Give five events that were published before anyone read."""
    events = [new_event() for _ in range(5)]
    for event in events:
        bus.publish(event).result(60)
    return [event.id for event in events]


def test_a_late_reader_gets_everything_from_the_start(bus, history, recorder, new_event):
    """In order, with rising offsets, and on with what arrives later."""
    reader = recorder()
    bus.replay(Start(first=True), reader)
    reader.wait_for(5)
    assert reader.ids == history
    later = new_event()
    bus.publish(later).result(60)
    reader.wait_for(6)
    assert reader.ids[-1] == later.id
    offsets = [delivery.offset for delivery in reader.deliveries]
    assert offsets == sorted(set(offsets))


def test_a_reader_goes_on_from_an_offset(bus, history, recorder):
    """The entry at the offset is the first."""
    whole, rest = recorder(), recorder()
    bus.replay(Start(first=True), whole)
    offset = whole.wait_for(5)[3].offset
    bus.replay(Start(offset=offset), rest)
    rest.wait_for(2)
    assert rest.ids == history[3:]


def test_a_reader_goes_on_from_a_time(bus, history, recorder, new_event, eventually):
    """What was logged in an earlier second is left out; the broker knows seconds only."""
    second = int(datetime.now(UTC).timestamp())
    eventually(lambda: datetime.now(UTC).timestamp() > second + 1, "the next second")
    start = datetime.now(UTC).replace(microsecond=0)
    later = new_event()
    bus.publish(later).result(60)
    reader = recorder()
    bus.replay(Start(time=start), reader)
    reader.wait_for(1)
    assert reader.ids == [later.id]


@pytest.mark.fault("F54")
@pytest.mark.parametrize("ahead_s", [-7200, 0, 7200])
def test_a_reader_is_told_once_where_the_log_ended_whatever_the_clocks_say(bus, recorder, new_event, soon, ahead_s):
    """An event of a clock that is ahead is no end, and one of a clock that is behind is no reason to read on."""
    events = [new_event() for _ in range(300)]
    events[3] = replace(events[3], time=datetime.now(UTC) + timedelta(seconds=ahead_s))
    for said in [bus.publish(event) for event in events]:
        said.result(60)
    reader, ends = recorder(soon()), []
    ended = threading.Event()

    def end() -> None:
        ends.append(list(reader.ids))
        ended.set()

    bus.replay(Start(first=True), reader, at_end=end)
    assert ended.wait(20)
    later = new_event()
    bus.publish(later).result(60)
    reader.wait_for(302)
    assert ends == [[events[0].id, *(event.id for event in events)]]
    assert reader.ids[-1] == later.id


def test_a_reader_of_an_empty_log_is_told_that_it_is_at_the_end(bus, recorder):
    """Nothing need happen for that."""
    ended = threading.Event()
    bus.replay(Start(first=True), recorder(), at_end=ended.set)
    assert ended.wait(20)


@pytest.mark.rabbitmq
def test_a_log_that_is_slow_to_come_is_not_taken_for_an_empty_one(rabbit, recorder, new_event, monkeypatch):
    """A service that has lost its state would believe that it knows everything again, and has read nothing."""
    monkeypatch.setattr("datauploader.messaging.rabbit.stream_consumer._FIRST_S", 0.0)
    bus, reader, ends = rabbit.bus(), recorder(), SimpleQueue()
    events = [new_event() for _ in range(5)]
    for event in events:
        bus.publish(event).result(60)
    eventually(lambda: bus.queues([LOG])[0].waiting == 5, what="the broker counts them")
    bus.replay(Start(first=True), reader, at_end=lambda: ends.put(list(reader.ids)))
    assert ends.get(timeout=20) == [event.id for event in events]


def test_a_catch_up_hands_on_nothing_behind_its_end(bus, history, recorder, new_event):
    """What is said later comes in other ways; whoever is told that the end is reached relies on that."""
    reader, other = recorder(), recorder()
    reading = CatchUp(bus, reader)
    assert reading.done.wait(20)
    later = new_event()
    bus.publish(later).result(60)
    bus.replay(Start(first=True), other)
    other.wait_for(6)
    assert (reader.ids, other.ids) == (history, [*history, later.id])
    assert (reading.problem, reading.lost) == (None, False)
    reading.stop(5)


def test_a_catch_up_with_a_marker_ends_where_that_comes_back(bus, history, recorder, new_event):
    """Everything that the broker took before it was handled then, and `then` is called once."""
    reader, ends, marker = recorder(), SimpleQueue(), new_event()
    reading = CatchUp(bus, reader, marker=marker, then=lambda one: ends.put((one, list(reader.ids))))
    assert ends.get(timeout=20) == (reading, [*history, marker.id])
    assert reading.done.is_set()
    assert ends.empty()
    reading.stop(5)


def test_an_entry_is_repeated_until_its_handler_has_it(bus, history, recorder, soon):
    """A reader that asks for more time gets the same entry again, before the next."""
    reader = recorder(soon(), soon())
    bus.replay(Start(first=True), reader)
    reader.wait_for(7)
    assert reader.ids == [history[0]] * 2 + history
    assert [delivery.attempt for delivery in reader.deliveries[:3]] == [1, 2, 3]


def test_an_entry_that_cannot_be_handled_is_passed(bus, history, recorder):
    """The log has no parked messages; the reader goes on."""
    reader = recorder(Park("not this one"), ValueError("nor this"))
    bus.replay(Start(first=True), reader)
    reader.wait_for(5)
    assert reader.ids == history


def test_a_stopped_reader_reads_no_more(bus, history, recorder, new_event):
    """Also in the middle of a wait for another attempt."""
    reader, other = recorder(), recorder()
    consumer = bus.replay(Start(first=True), reader)
    reader.wait_for(5)
    consumer.stop(5)
    bus.replay(Start(first=True), other)
    bus.publish(new_event()).result(60)
    other.wait_for(6)
    assert len(reader.deliveries) == 5


def test_stopping_a_reader_ends_its_wait(bus, history):
    """A handler that asks for ten minutes does not hold the stop up."""
    from datetime import timedelta

    from datauploader.errors import Retry

    seen = threading.Event()

    def handler(_delivery):
        seen.set()
        raise Retry("much later", timedelta(minutes=10))

    consumer = bus.replay(Start(first=True), handler)
    assert seen.wait(10)
    consumer.stop(5)
    bus.close(5)
