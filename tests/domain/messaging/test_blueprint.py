"""The blueprint: whatever is named in one part of the topology exists in another."""

import pytest

from datauploader.contracts.address import Station
from datauploader.messaging.blueprint import EXCHANGE_ARGUMENTS, consumed, event_log, facility, shared_topology
from datauploader.messaging.topology import (
    ASTRAY,
    BACK,
    DELIVERY_LIMIT,
    EVENTS,
    LOG,
    PARKED,
    RETRY_DELAYS_S,
    astray_queue,
    facility_queues,
    retry_name,
)

STATIONS = [Station.parse("elettra.xrd1.ws01"), Station.parse("elettra.xrd1.ws02")]


@pytest.fixture
def whole():
    """Give the blueprint of a facility with two stations."""
    return facility(STATIONS)


def test_no_name_is_used_twice(whole):
    """One exchange, one queue for each name."""
    names = [queue.name for queue in whole.queues]
    assert len(set(names)) == len(names)
    assert len(set(whole.exchanges)) == len(whole.exchanges)


def test_bindings_join_what_exists(whole):
    """Both ends of each."""
    names = {queue.name for queue in whole.queues}
    assert all(binding.exchange in whole.exchanges and binding.queue in names for binding in whole.bindings)


@pytest.mark.parametrize("queue", facility_queues(STATIONS), ids=lambda queue: queue.name)
def test_every_queue_has_a_way_to_its_parked_queue(whole, queue):
    """The dead-letter exchange and key of the queue lead to a binding of its parked queue."""
    shapes = {shape.name: shape.arguments for shape in whole.queues}
    arguments = shapes[queue.name]
    way = (arguments["x-dead-letter-exchange"], arguments["x-dead-letter-routing-key"])
    assert [b.queue for b in whole.bindings if (b.exchange, b.key) == way] == [queue.parked]
    assert "x-dead-letter-exchange" not in shapes[queue.parked]


def test_the_brokers_limit_leaves_ours_room(whole):
    """Errors are counted by us and parked with their words long before the broker gives a message up."""
    limits = [q.arguments["x-delivery-limit"] for q in consumed(facility_queues(STATIONS)[0]).queues]
    assert all(int(limit) > 2 * DELIVERY_LIMIT for limit in limits)


def test_each_retry_delay_has_a_queue_that_returns_messages_by_their_key(whole):
    """No dead-letter key: the message keeps the name of the queue that it came from."""
    shapes = {shape.name: shape.arguments for shape in whole.queues}
    for seconds in RETRY_DELAYS_S:
        arguments = shapes[retry_name(seconds)]
        assert arguments["x-message-ttl"] == seconds * 1000
        assert arguments["x-dead-letter-exchange"] == BACK
        assert "x-dead-letter-routing-key" not in arguments
    back = {(binding.key, binding.queue) for binding in whole.bindings if binding.exchange == BACK}
    assert back == {(queue.name, queue.name) for queue in facility_queues(STATIONS)}


def test_what_has_no_queue_to_go_back_to_lies_where_somebody_finds_it(whole):
    """A retry queue would wait for a queue that takes its message, and the other messages with it."""
    assert EXCHANGE_ARGUMENTS[BACK] == {"alternate-exchange": ASTRAY}
    parked = astray_queue().parked
    assert [(binding.queue, binding.key) for binding in whole.bindings if binding.exchange == ASTRAY] == [(parked, "#")]
    assert "x-dead-letter-exchange" not in next(q for q in whole.queues if q.name == parked).arguments


def test_dead_letters_are_moved_safely(whole):
    """At-least-once works only together with reject-publish."""
    for shape in whole.queues:
        if "x-dead-letter-exchange" in shape.arguments:
            assert shape.arguments["x-dead-letter-strategy"] == "at-least-once"
            assert shape.arguments["x-overflow"] == "reject-publish"


def test_the_log_hears_everything_and_is_bounded():
    """By age and by size, so that it cannot fill the broker's disk."""
    (log,) = event_log().queues
    assert event_log().bindings[0].exchange == EVENTS
    assert (log.name, log.arguments["x-queue-type"]) == (LOG, "stream")
    assert {"x-max-age", "x-max-length-bytes"} <= set(log.arguments)


def test_the_ground_does_not_depend_on_the_log():
    """A log that is down must not keep a service from working."""
    assert LOG not in [queue.name for queue in shared_topology().queues]
    assert PARKED in shared_topology().exchanges
