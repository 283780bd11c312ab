"""Verdicts: whatever a handler does, a message ends done, delivered again, or parked with its reason."""

import json
import threading

import pytest

from datauploader.contracts.envelope import encode
from datauploader.errors import Park
from datauploader.messaging.topology import DELIVERY_LIMIT

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def parked_when(bus, queue, eventually):
    """Give a wait for the parked messages of the queue."""

    def wait(count=1):
        eventually(lambda: len(bus.parked(queue)) >= count, f"{count} parked messages")
        return bus.parked(queue)

    return wait


@pytest.mark.fault("F24")
@pytest.mark.attack("S25")
def test_what_is_no_event_is_parked_with_its_reason(engine, bus, queue, consume, recorder, parked_when):
    """The body is kept byte for byte, under a digest, and no handler sees it."""
    handler = recorder()
    consume(bus, queue, handler)
    engine.inject(queue, b"\xff not json")
    (message,) = parked_when()
    assert (message.body, message.queue) == (b"\xff not json", queue.name)
    assert message.attempts == 1, "what cannot be read is not tried again"
    assert "JSON" in message.reason
    assert len(message.id) == 32
    assert handler.deliveries == []


def test_a_message_that_is_skipped_is_done_without_being_read(
    engine, bus, queue, consume, recorder, new_event, eventually
):
    """Nobody looks whether it is an event at all; those around it are handled."""
    handler, first, last = recorder(), new_event(), new_event()
    consume(bus, queue, handler, skips=lambda body: body == b"\xff not json")
    bus.publish(first).result(60)
    engine.inject(queue, b"\xff not json")
    bus.publish(last).result(60)
    eventually(lambda: len(handler.deliveries) == 2, "the two events are handled")
    assert [delivery.event.id for delivery in handler.deliveries] == [first.id, last.id]
    assert list(bus.parked(queue)) == []


@pytest.mark.fault("F24")
def test_a_bad_message_among_those_that_are_handled_together_is_parked_alone(
    bus, queue, consume, recorder, new_event, parked_when, eventually
):
    """The others are handled in order, each once, and nothing comes again afterwards."""
    consume(bus, queue, recorder()).stop(5)
    events = [new_event() for _ in range(60)]
    for future in [bus.publish(event) for event in events]:
        future.result(60)
    bad, handled = events[30].id, []

    def alone(delivery):
        if delivery.event.id == bad:
            raise Park("not this one")
        handled.append(delivery.event.id)

    def together(deliveries):
        if any(delivery.event.id == bad for delivery in deliveries):
            raise Park("one of them")
        handled.extend(delivery.event.id for delivery in deliveries)

    consumer = consume(bus, queue, alone, together=together, prefetch=20)
    (message,) = parked_when()
    assert (message.id, message.reason) == (bad, "not this one")
    eventually(lambda: len(handled) == len(events) - 1, "all others are handled")
    consumer.stop(5)
    assert handled == [event.id for event in events if event.id != bad]
    last, again = new_event(), recorder()
    consume(bus, queue, again)
    bus.publish(last).result(60)
    again.wait_for(1)
    assert again.ids == [last.id]


@pytest.mark.fault("F24")
@pytest.mark.attack("S25")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[" * 10_000,
        b'{"a": NaN}',
        b'"text"',
        b"\x00" * 2_000_000,
        b" " * (20 * 1024**2),
        b'{"\xff": 1}',
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"id": "1", "id": "2"}',
        b'{"time": ' + b"9" * 100_000 + b"}",
    ],
    ids=[
        "empty",
        "no envelope",
        "deep",
        "not a number",
        "a string",
        "too large",
        "20 MiB",
        "no UTF-8",
        "deep objects",
        "a key twice",
        "a huge number",
    ],
)
def test_a_message_bomb_is_parked(engine, bus, queue, consume, recorder, new_event, parked_when, body):
    """The event behind it is handled as if nothing had been."""
    handler = recorder()
    consume(bus, queue, handler)
    engine.inject(queue, body)
    bus.publish(new_event()).result(60)
    handler.wait_for(1)
    assert parked_when()[0].body == body


def test_an_event_of_an_unknown_version_is_parked(engine, bus, queue, consume, recorder, new_event, parked_when):
    """The sentence says that an update will help, and the id is the event's own."""
    consume(bus, queue, recorder())
    event = new_event()
    newer = json.loads(encode(event)) | {"type": "eu.ceric.datauploader.upload.opened.v99"}
    engine.inject(queue, json.dumps(newer).encode())
    (message,) = parked_when()
    assert "v99" in message.reason
    assert "update" in message.reason


def test_a_handler_that_parks_is_taken_at_its_word(bus, queue, consume, recorder, new_event, parked_when):
    """Reason, attempts and trace stand beside the message."""
    handler = recorder(Park("the dataset is gone for good"))
    consume(bus, queue, handler)
    event = new_event()
    bus.publish(event).result(60)
    (message,) = parked_when()
    assert (message.id, message.reason) == (event.id, "the dataset is gone for good")
    assert (message.attempts, message.trace_id) == (1, event.trace_id)
    assert len(handler.deliveries) == 1


@pytest.mark.fault("F24")
def test_a_handler_that_fails_is_retried_then_its_message_parked(bus, queue, consume, recorder, new_event, parked_when):
    """The reason carries the exception's words."""
    handler = recorder(*[ValueError("cannot read this")] * DELIVERY_LIMIT)
    consume(bus, queue, handler)
    bus.publish(new_event()).result(60)
    (message,) = parked_when()
    assert "ValueError: cannot read this" in message.reason
    assert [delivery.attempt for delivery in handler.deliveries] == list(range(1, DELIVERY_LIMIT + 1))


def test_a_handler_that_recovers_ends_its_retries(bus, queue, consume, recorder, new_event):
    """Two failures and a success leave nothing behind."""
    handler = recorder(ValueError("one"), ValueError("two"))
    consume(bus, queue, handler)
    bus.publish(new_event()).result(60)
    handler.wait_for(3)
    assert not bus.parked(queue)


def test_a_handler_may_ask_for_a_message_again(bus, queue, consume, recorder, new_event, soon):
    """Attempts count up; asking often is no failure and parks nothing."""
    handler = recorder(*[soon() for _ in range(DELIVERY_LIMIT + 1)])
    consume(bus, queue, handler)
    bus.publish(new_event()).result(60)
    deliveries = handler.wait_for(DELIVERY_LIMIT + 2)
    assert [delivery.attempt for delivery in deliveries] == list(range(1, DELIVERY_LIMIT + 3))
    assert not bus.parked(queue)


def test_a_message_that_waits_holds_up_no_other(bus, queue, consume, recorder, new_event, soon):
    """What comes behind a delayed message is delivered meanwhile."""
    handler = recorder(soon())
    consume(bus, queue, handler)
    first, second = new_event(), new_event()
    for event in (first, second):
        bus.publish(event).result(60)
    handler.wait_for(3)
    assert handler.ids == [first.id, second.id, first.id]


def test_workers_run_side_by_side(bus, queue, consume, new_event):
    """Three handlers that wait for each other all arrive."""
    together = threading.Barrier(3, timeout=10)
    done = threading.Semaphore(0)

    def handler(_delivery):
        together.wait()
        done.release()

    consume(bus, queue, handler, workers=3)
    for _ in range(3):
        bus.publish(new_event()).result(60)
    assert all(done.acquire(timeout=10) for _ in range(3)), "the three handlers did not run at the same time"
