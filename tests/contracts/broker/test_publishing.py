"""Publishing: what the future says is what the broker has."""

import threading

import pytest

from datauploader.contracts.envelope import encode
from datauploader.contracts.transfers import TransferProgressed
from datauploader.contracts.uploads import UploadSealed
from datauploader.errors import Unroutable
from datauploader.messaging.topology import catalog_queue, harvester_queue


@pytest.fixture
def sealed(new_event):
    """Give an event that the catalog must hear."""
    return new_event(UploadSealed(upload_id="upload-0001", files=0, bytes=0, left_out=0, manifest_sha256="0" * 64))


def test_a_published_event_arrives_as_it_was(bus, queue, consume, recorder, new_event):
    """Everything that the envelope says survives the way."""
    handler = recorder()
    consume(bus, queue, handler)
    event = new_event(correlation_id="request-1", causation_id="cause-1")
    bus.publish(event).result(60)
    assert handler.wait_for(1)[0].event == event
    assert handler.deliveries[0].attempt == 1


def test_an_event_that_no_required_queue_hears_fails_its_publisher(bus, sealed):
    """The sentence names the queue that is missing."""
    with pytest.raises(Unroutable, match=r"catalog\.work is missing"):
        bus.publish(sealed).result(60)


def test_publishing_goes_on_as_soon_as_the_required_queue_is_there(bus, consume, recorder, sealed):
    """An absence is not remembered."""
    assert isinstance(bus.publish(sealed).exception(5), Unroutable)
    handler = recorder()
    consume(bus, catalog_queue(), handler)
    bus.publish(sealed).result(60)
    handler.wait_for(1)


def test_a_lossy_event_ends_its_future_at_once_and_arrives(bus, queue, consume, recorder, new_event):
    """Nobody waits for progress, and while all is well it is delivered."""
    handler = recorder()
    consume(bus, queue, handler)
    future = bus.publish(new_event(TransferProgressed(upload_id="upload-0001", waiting=1, bytes_per_s=1.0)))
    assert future.done()
    handler.wait_for(1)


def test_each_queue_has_its_own_copy(engine, consume, recorder, new_event):
    """Two consumers with two queues both see every event."""
    handlers = [recorder(), recorder()]
    for number, handler in enumerate(handlers):
        consume(engine.bus(f"harvester-{number} x"), harvester_queue(f"h{number}", ["#"]), handler)
    events = [new_event() for _ in range(5)]
    publisher = engine.bus("watcher x")
    for event in events:
        publisher.publish(event).result(60)
    for handler in handlers:
        handler.wait_for(5)
        assert handler.ids == [event.id for event in events]


def test_two_consumers_of_one_queue_share_its_events(engine, queue, consume, recorder, new_event):
    """Running a service twice divides the work: each has one event before either has finished its first."""
    seen, together = recorder(), threading.Barrier(2, timeout=10)

    def consumer():
        first = iter([together.wait])

        def handler(delivery):
            next(first, lambda: None)()
            seen(delivery)

        return handler

    for _ in range(2):
        consume(engine.bus("harvester x"), queue, consumer(), prefetch=1)
    publisher = engine.bus("watcher x")
    events = [new_event() for _ in range(40)]
    for future in [publisher.publish(event) for event in events]:
        future.result(60)
    seen.wait_for(40)
    assert sorted(seen.ids) == sorted(event.id for event in events)


def test_an_injected_body_is_an_event_like_any_other(engine, bus, queue, consume, recorder, new_event):
    """The suite's way past the port leads to the same handler."""
    handler = recorder()
    consume(bus, queue, handler)
    event = new_event()
    engine.inject(queue, encode(event))
    assert handler.wait_for(1)[0].event.id == event.id


def test_a_closed_bus_publishes_nothing(engine, new_event):
    """The future fails; it does not stay open."""
    bus = engine.bus()
    bus.close(5)
    assert "closed" in str(bus.publish(new_event()).exception(5))
