"""Parked messages: listed without being taken, given back once, dropped for good."""

import pytest

from datauploader.errors import Park


@pytest.fixture
def parked(engine, bus, queue, consume, recorder, new_event, eventually):
    """Give the handler that parked three messages, and their ids."""
    handler = recorder(Park("first"), Park("second"), Park("third"))
    consume(bus, queue, handler)
    events = [new_event() for _ in range(3)]
    for event in events:
        bus.publish(event).result(60)
        eventually(lambda ident=event.id: ident in [message.id for message in bus.parked(queue)], "it is parked")
    return handler, [event.id for event in events]


def test_looking_takes_nothing_away(bus, queue, parked):
    """Twice the same list, oldest first."""
    _, ids = parked
    for _ in range(3):
        assert [message.id for message in bus.parked(queue)] == ids
    assert [message.reason for message in bus.parked(queue)] == ["first", "second", "third"]


@pytest.mark.fault("F24")
def test_a_replayed_message_is_handled_once(bus, queue, parked, eventually, new_event):
    """It comes as if for the first time; the others stay parked."""
    handler, ids = parked
    assert bus.replay_parked(queue, [ids[1]]) == 1
    handler.wait_for(4)
    assert (handler.ids[-1], handler.deliveries[-1].attempt) == (ids[1], 1)
    assert [message.id for message in bus.parked(queue)] == [ids[0], ids[2]]
    witness = new_event()
    bus.publish(witness).result(60)
    handler.wait_for(5)
    assert handler.ids[3:] == [ids[1], witness.id]


def test_all_parked_messages_can_be_replayed(bus, queue, parked):
    """Each is handled once, and nothing stays."""
    handler, ids = parked
    assert bus.replay_parked(queue, ids) == 3
    handler.wait_for(6)
    assert sorted(handler.ids[3:]) == sorted(ids)
    assert not bus.parked(queue)


def test_a_dropped_message_is_gone(bus, queue, parked):
    """The others stay, in their order."""
    _, ids = parked
    assert bus.drop_parked(queue, [ids[0]]) == 1
    assert [message.id for message in bus.parked(queue)] == ids[1:]


def test_ids_that_are_not_parked_are_nobodys(bus, queue, parked):
    """Nothing happens, and the count says so."""
    assert bus.replay_parked(queue, ["unknown"]) == 0
    assert bus.drop_parked(queue, ["unknown"]) == 0
    assert len(bus.parked(queue)) == 3


def test_what_was_parked_as_undecodable_can_be_dropped(engine, bus, queue, consume, recorder, eventually):
    """A digest serves as its id."""
    consume(bus, queue, recorder())
    engine.inject(queue, b"garbage")
    eventually(lambda: bus.parked(queue), "the garbage is parked")
    assert bus.drop_parked(queue, [bus.parked(queue)[0].id]) == 1
    assert not bus.parked(queue)


def test_how_full_queues_are_can_be_seen(bus, queue, parked, consume, recorder, eventually, new_event):
    """Those that wait and those that are parked, who consumes, and which queue is not there."""
    names = [queue.name, queue.parked, "harvester.nobody", queue.name]

    def states():
        return {state.name: (state.there, state.waiting, state.consumers) for state in bus.queues(names)}

    expected = {queue.name: (True, 0, 1), queue.parked: (True, 3, 0), "harvester.nobody": (False, 0, 0)}
    eventually(lambda: states() == expected, lambda: f"{expected}; now {states()}")
    assert [state.name for state in bus.queues(names)] == names


def test_a_queue_that_nobody_consumes_shows_what_waits(bus, queue, consume, recorder, eventually, new_event):
    """A consumer that stops is none any more."""
    consumer = consume(bus, queue, recorder())
    consumer.stop(5)
    consumer.stop(5)
    for _ in range(2):
        bus.publish(new_event()).result(60)
    eventually(
        lambda: [(one.waiting, one.consumers) for one in bus.queues([queue.name])] == [(2, 0)],
        lambda: f"two wait for nobody: {bus.queues([queue.name])}",
    )


@pytest.mark.campaign
def test_a_long_list_is_read_whole_and_in_order_and_settled_to_the_last(
    bus, queue, consume, recorder, new_event, eventually
):
    """Messages are held in portions; those of each that are not settled keep their places."""
    number = 1100
    consume(bus, queue, recorder(*(Park(str(n)) for n in range(number))))
    for future in [bus.publish(new_event()) for _ in range(number)]:
        future.result(30)
    eventually(lambda: bus.queues([queue.parked])[0].waiting == number, "all are parked", 60)
    first = bus.parked(queue)
    assert sorted(int(message.reason) for message in first) == list(range(number))
    ids = [message.id for message in first]
    assert [message.id for message in bus.parked(queue)] == ids
    assert bus.drop_parked(queue, ids[::2]) == number // 2
    assert [message.id for message in bus.parked(queue)] == ids[1::2]
    assert bus.drop_parked(queue, ids) == number // 2
    assert not bus.parked(queue)
