"""RabbitMQ only: what somebody deletes, blocks or cuts off comes back by itself."""

import threading
from dataclasses import replace

import pika
import pytest

from datauploader.contracts.envelope import encode
from datauploader.contracts.questions import MayUpload, UploadRight
from datauploader.contracts.uploads import UploadSealed
from datauploader.errors import BrokerUnreachable, Park, Retry, Unroutable
from datauploader.messaging.port import Ownership, Start
from datauploader.messaging.rabbit import apply_topology
from datauploader.messaging.topology import EVENTS, LOG, asked_queue, astray_queue, catalog_queue, retry_name

from .conftest import QUICK

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def management(rabbitmq_server):
    """Give the management API."""
    return rabbitmq_server.management


@pytest.fixture
def vhost(rabbitmq_vhost):
    """Give the name of the test's virtual host."""
    return rabbitmq_vhost.vhost


@pytest.fixture
def cut(rabbitmq_server, vhost):
    """Give a cut through all connections of the test."""
    return lambda: rabbitmq_server.ctl("close_all_connections", "--vhost", vhost, "cut by a test")


@pytest.fixture
def bus(rabbit):
    """Give a service's connection."""
    return rabbit.bus()


@pytest.mark.fault("F23")
def test_a_deleted_queue_is_made_again(bus, queue, management, vhost, consume, recorder, new_event, eventually):
    """Its consumer makes it, binds it and goes on."""
    handler = recorder()
    consume(bus, queue, handler)
    management.delete_queue(vhost, queue.name)
    eventually(lambda: bus.queues([queue.name])[0].consumers, "the queue is made again")
    bus.publish(new_event()).result(60)
    handler.wait_for(1)


def test_queues_that_a_former_release_made_on_one_node_serve_until_they_are_made_anew(
    rabbit, management, vhost, recorder, eventually
):
    """Claims, questions and answers were classic queues; work goes on beside `topology apply`."""
    own = catalog_queue()
    former = {
        own.claim: {"x-max-length": 1},
        asked_queue("catalog", None): {"x-message-ttl": 60_000, "x-max-length": 10_000},
    }
    for name, arguments in former.items():
        management.put("queues", vhost, name, body={"durable": True, "arguments": arguments})
    held, tuning = threading.Event(), replace(QUICK, heal_s=0.2)
    catalog, asker = rabbit.bus("catalog x", tuning=tuning), rabbit.bus("gateway x", tuning=tuning)
    catalog.answer("catalog", lambda _: UploadRight(allowed=True))
    catalog.consume(own, recorder(), ownership=Ownership("1", held.set, lambda _: None))
    right = MayUpload(user_id="ada", investigation="20260001")
    assert held.wait(15)
    eventually(lambda: asker.ask(right, UploadRight).exception(10) is None, "the former queue is answered")
    apply_topology(rabbit.address.url, [])
    kinds = {found["name"]: found["type"] for found in management.queues(vhost)}
    assert all(kinds[name] == "quorum" for name in former)
    eventually(lambda: asker.ask(right, UploadRight).exception(10) is None, "the new queue is answered")
    eventually(lambda: _waits(management, vhost, own.claim), "the claim is said again")


def _waits(management, vhost, queue):
    path = ("queues", vhost, queue, "get")
    return management.post(*path, body={"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"})


@pytest.mark.fault("F22")
def test_a_deleted_binding_is_made_again(bus, queue, management, vhost, consume, recorder, new_event, eventually):
    """At the next turn of the consumer's own check."""
    handler = recorder()
    consume(bus, queue, handler)
    path = ("bindings", vhost, "e", EVENTS, "q", queue.name)
    management.delete(*path, management.get(*path)[0]["properties_key"])
    eventually(lambda: management.get(*path), "the binding is made again")
    bus.publish(new_event()).result(60)
    handler.wait_for(1)


@pytest.mark.fault("F22")
def test_a_required_queue_that_is_deleted_holds_its_events_back(
    rabbit, management, vhost, consume, recorder, new_event, eventually
):
    """Beyond the short while in which it is believed to be there, nothing is published into the void."""
    consumer = consume(rabbit.bus("catalog x"), catalog_queue(), recorder())
    consumer.stop(5)
    sealed = UploadSealed(upload_id="upload-0001", files=0, bytes=0, left_out=0, manifest_sha256="0" * 64)
    bus = rabbit.bus()
    bus.publish(new_event(sealed)).result(60)
    management.delete_queue(vhost, catalog_queue().name)
    eventually(lambda: isinstance(bus.publish(new_event(sealed)).exception(5), Unroutable), "publishing fails")


@pytest.mark.parametrize("name", [LOG, retry_name(0.1)], ids=["log", "retry"])
def test_what_all_share_is_made_again_with_the_next_connection(
    rabbit, name, management, vhost, queue, consume, recorder, soon, eventually
):
    """A restart of any service is enough."""
    consume(rabbit.bus(), queue, recorder())
    management.delete_queue(vhost, name)
    handler = recorder(soon())
    bus = rabbit.bus("harvester x")
    consume(bus, queue, handler)
    eventually(lambda: name in [found["name"] for found in management.queues(vhost)], "it is made again")


@pytest.mark.fault("F25")
def test_a_handler_that_outlives_three_heartbeats_is_acknowledged_once(rabbit, queue, consume, recorder, new_event):
    """The connection's owner keeps the heart beating while a handler works."""
    handler, over = recorder(), threading.Event()

    def slow(delivery):
        handler(delivery)
        if len(handler.deliveries) == 1:
            over.wait(3.5)

    bus = rabbit.bus(query="?heartbeat=1")
    consume(bus, queue, slow)
    first, second = new_event(), new_event()
    for event in (first, second):
        bus.publish(event).result(60)
    handler.wait_for(2)
    assert handler.ids == [first.id, second.id]
    assert all(delivery.attempt == 1 for delivery in handler.deliveries)


def test_a_verdict_of_an_old_connection_is_dropped(rabbit, queue, cut, consume, recorder, new_event, eventually):
    """The message comes again over the new one, whose channel the late verdict does not harm."""
    handler, release = recorder(), threading.Event()

    def held(delivery):
        handler(delivery)
        if len(handler.deliveries) == 1:
            release.wait(20)

    bus = rabbit.bus()
    consume(bus, queue, held, workers=2)
    event = new_event()
    bus.publish(event).result(60)
    handler.wait_for(1)
    cut()
    handler.wait_for(2)
    assert (handler.ids, handler.deliveries[1].attempt) == ([event.id] * 2, 2)
    release.set()
    later = new_event()
    eventually(lambda: bus.health().ok, "the bus is back")
    bus.publish(later).result(60)
    handler.wait_for(3)
    assert handler.ids == [event.id, event.id, later.id]


@pytest.mark.fault("F20")
def test_a_lost_connection_fails_what_is_unconfirmed(rabbit, cut, new_event, eventually):
    """Every future has an outcome; those that failed say that nothing is known, and the next ones succeed."""
    bus = rabbit.bus()
    bus.publish(new_event()).result(60)
    futures = []
    stop = threading.Event()

    def publish():
        while not stop.wait(0.001):
            futures.append(bus.publish(new_event()))

    publisher = threading.Thread(target=publish)
    publisher.start()
    cut()
    eventually(lambda: any(f.done() and f.exception() for f in futures) or len(futures) > 5000, "a future fails")
    stop.set()
    publisher.join()
    outcomes = [future.exception(10) for future in futures]
    assert all(error is None or isinstance(error, BrokerUnreachable) for error in outcomes)
    eventually(lambda: bus.health().ok, "the bus is back")
    bus.publish(new_event()).result(60)


def test_a_reader_of_the_log_goes_on_where_it_was(rabbit, cut, recorder, new_event, eventually):
    """After a lost connection nothing is read twice and nothing is passed over."""
    reader, bus, confirmed = recorder(), rabbit.bus(), []

    def publish() -> bool:
        event = new_event()
        taken = bus.publish(event).exception(5) is None
        confirmed.extend([event.id] if taken else [])
        return taken

    for _ in range(3):
        assert publish()
    bus.replay(Start(first=True), reader)
    reader.wait_for(3)
    cut()
    for _ in range(3):  # until the bus is back; what is not confirmed may be in the log all the same
        eventually(publish, "an event is confirmed")
    eventually(lambda: set(confirmed) <= set(reader.ids), "all are read")
    assert [one for one in reader.ids if one in confirmed] == confirmed
    assert len(set(reader.ids)) == len(reader.ids)


@pytest.mark.attack("S25")
def test_a_slow_reader_of_the_log_has_few_entries_in_memory(rabbit, queue, consume, recorder, new_event):
    """Each may have a MiB, and whoever reads the log from its start reads all of them."""
    bus, handler, go_on, reading = rabbit.bus(), recorder(), threading.Event(), threading.Event()
    consume(bus, queue, handler)
    for _ in range(40):  # one by one: the broker gives out whole what it has written at once
        bus.publish(new_event()).result(60)
    handler.wait_for(40)

    def read(_delivery):
        reading.set()
        go_on.wait(20)

    reader = rabbit.bus().replay(Start(first=True), read)
    assert reading.wait(20)
    bus.publish(new_event()).result(60)
    handler.wait_for(41)
    assert reader._pending <= 16
    go_on.set()


@pytest.mark.fault("F24")
def test_a_message_that_kills_its_consumer_each_time_is_parked_by_the_broker(
    rabbit, bus, queue, consume, recorder, new_event, eventually
):
    """No consumer of ours lives to say so; the reason tells what that looks like, and a replay gives it a chance."""
    consume(bus, queue, recorder()).stop(5)
    event = new_event()
    bus.publish(event).result(60)
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.address.url))
    channel = connection.channel()

    def died():
        method, _, _ = channel.basic_get(queue.name)
        if method:
            channel.basic_reject(method.delivery_tag, requeue=True)
        return bus.parked(queue)

    eventually(died, "the broker parks it")
    connection.close()
    (message,) = bus.parked(queue)
    assert (message.id, message.queue) == (event.id, queue.name)
    assert "its consumer crashed" in message.reason
    handler = recorder()
    consume(bus, queue, handler)
    assert bus.replay_parked(queue, [event.id]) == 1
    handler.wait_for(1)
    assert not bus.parked(queue)


@pytest.mark.fault("F23", "F63")
def test_a_retry_whose_queue_was_deleted_meanwhile_is_kept_and_given_back(
    rabbit, queue, management, vhost, consume, recorder, new_event, eventually
):
    """It lies with what went astray; a replay takes it to the queue that is there again, in whose order it came."""
    late = replace(QUICK, retry_delays_s=(5.0,))  # the queue goes before the retry comes back
    bus, handler, heir = rabbit.bus(tuning=late), recorder(Retry("not yet")), recorder()
    consumer = consume(bus, queue, handler)
    event = new_event()
    bus.publish(event).result(60)
    handler.wait_for(1)
    consumer.stop(5)
    management.delete_queue(vhost, queue.name)
    eventually(lambda: bus.parked(astray_queue()), "it went astray")
    (message,) = bus.parked(astray_queue())
    assert (message.id, message.queue) == (event.id, queue.name)
    assert "no longer exists" in message.reason
    other = rabbit.bus("harvester y", tuning=late)
    consume(other, queue, heir)
    assert other.replay_parked(astray_queue(), [event.id]) == 1
    heir.wait_for(1)
    assert (heir.ids, heir.deliveries[0].sender) == ([event.id], bus.user)
    assert not bus.parked(astray_queue())


@pytest.mark.attack("S25")
@pytest.mark.fault("F63")
def test_messages_whose_queue_does_not_exist_hold_up_no_retry_of_others(
    rabbit, queue, consume, recorder, soon, new_event, eventually
):
    """More of them than the broker moves at once (32): as when a station is removed while its messages wait."""
    bus, handler = rabbit.bus(), recorder(*[soon()] * 5)
    consume(bus, queue, handler)
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.address.url))
    channel = connection.channel()
    channel.confirm_delivery()
    for _ in range(40):
        channel.basic_publish(retry_name(0.1), "transfer.elettra.xrd1.gone", encode(new_event()), mandatory=True)
    connection.close()
    for _ in range(5):
        bus.publish(new_event()).result(60)
    handler.wait_for(10)
    eventually(lambda: len(bus.parked(astray_queue())) == 40, "all that have no queue are found")
    assert {message.queue for message in bus.parked(astray_queue())} == {"transfer.elettra.xrd1.gone"}


@pytest.mark.fault("F63")
def test_what_waits_in_the_ladder_of_a_former_release_is_handled_by_this_one(
    rabbit, queue, consume, recorder, new_event
):
    """They give to the queue by its name, through the default exchange; an update loses and parks nothing."""
    bus, handler, event = rabbit.bus(), recorder(), new_event()
    consume(bus, queue, handler)
    arguments = {
        "x-queue-type": "quorum", "x-message-ttl": 100, "x-dead-letter-exchange": "", "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once",
    }  # fmt: skip
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.address.url))
    channel = connection.channel()
    channel.exchange_declare("datauploader.retry.0.1s", "topic", durable=True)
    channel.queue_declare("datauploader.retry.0.1s", durable=True, arguments=arguments)
    channel.queue_bind("datauploader.retry.0.1s", "datauploader.retry.0.1s", "#")
    headers = {"x-said-by": "ws01", "x-attempt": 2}
    properties = pika.BasicProperties(headers=headers)
    channel.basic_publish("datauploader.retry.0.1s", queue.name, encode(event), properties)
    handler.wait_for(1)
    connection.close()
    assert (handler.ids, handler.deliveries[0].sender) == ([event.id], "ws01")


@pytest.mark.fault("F23")
def test_a_consumer_learns_that_its_queue_was_not_there(
    bus, queue, management, vhost, cut, consume, recorder, new_event, eventually
):
    """At first, and when somebody has deleted it; not when the connection alone was lost."""
    times, handler, release = [], recorder(), threading.Event()

    def held(delivery):
        handler(delivery)
        release.wait(20)

    consume(bus, queue, held, workers=2, on_new=lambda: times.append("new"))
    bus.publish(new_event()).result(60)
    handler.wait_for(1)
    cut()
    handler.wait_for(2)  # over a new connection
    assert times == ["new"]
    release.set()
    management.delete_queue(vhost, queue.name)
    eventually(lambda: len(times) > 1, "the consumer learns of it")
    bus.publish(new_event()).result(60)
    handler.wait_for(3)


@pytest.mark.fault("F23")
@pytest.mark.parametrize("what", ["retry", "parked"])
def test_the_ways_of_a_verdict_are_made_again_when_they_are_missing(
    rabbit, queue, management, vhost, consume, recorder, soon, new_event, eventually, quick, what
):
    """Somebody has deleted a retry queue, or the parked queue; nothing needs a restart for that."""
    handler = recorder(*([soon()] if what == "retry" else [Park("no")] * 2))
    bus = rabbit.bus(tuning=replace(quick, heal_s=3600))
    consume(bus, queue, handler)
    management.delete_queue(vhost, retry_name(0.1) if what == "retry" else queue.parked)
    bus.publish(new_event()).result(60)
    handler.wait_for(2)
    eventually(lambda: len(bus.parked(queue)) == (what == "parked"), "it is parked once, or not at all")


@pytest.mark.fault("F19")
def test_answers_come_to_a_queue_of_a_new_name_after_each_reconnect(rabbit, management, vhost, cut, eventually):
    """The broker may hold the last one for a connection that it still believes alive, and would refuse its name."""

    def answers():
        return {queue["name"] for queue in management.queues(vhost) if queue["name"].startswith("answers.")}

    def ask():
        return asker.ask(MayUpload(user_id="1101", investigation="1"), UploadRight, timeout_s=1).exception(5) is None

    rabbit.bus("catalog x").answer("catalog", lambda _: UploadRight(allowed=True))
    asker = rabbit.bus("gateway x")
    eventually(ask, "the question is answered")
    before = answers()
    cut()
    eventually(lambda: ask() and answers() - before, "an answer comes to another queue", 30)
