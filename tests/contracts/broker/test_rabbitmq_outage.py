"""RabbitMQ only: a broker that restarts, dies, freezes or is full; on one of its own."""

import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from datauploader.errors import BrokerUnreachable
from datauploader.messaging.rabbit import RabbitBus

pytestmark = pytest.mark.rabbitmq

SETTLE = "[dets:sync(Table) || Table <- dets:all()]."
"""RabbitMQ 3.10 writes where a new quorum queue lies within 3 s; killed before that it loses the queue's messages."""
QUEUE_PROCESS = 'element(1, amqqueue:get_pid(hd([Q || Q <- rabbit_amqqueue:list(), \
element(4, amqqueue:get_name(Q)) =:= <<"{queue}">>])))'


@pytest.fixture
def server(facility_server):
    """Give the broker that these tests may hurt."""
    return facility_server


@pytest.fixture
def connect(server, quick):
    """Give a maker of buses on that broker."""
    buses = []

    def make(name="watcher elettra/xrd1/ws01", **options):
        tuning = replace(quick, **options)
        buses.append(RabbitBus(server.address.url, name=name, tuning=tuning))
        return buses[-1]

    yield make
    for bus in buses:
        bus.close(5)


@pytest.mark.campaign
@pytest.mark.fault("F19")
def test_confirmed_events_survive_the_death_of_the_broker(
    server, connect, queue, consume, recorder, new_event, eventually
):
    """SIGKILL in the middle of publishing: what was confirmed is there, and publishing resumes by itself."""
    bus = connect()
    consume(bus, queue, recorder()).stop(5)
    server.ctl("eval", SETTLE)
    confirmed, stop = [], threading.Event()

    def publish():
        while not stop.is_set():
            event = new_event()
            if bus.publish(event).exception(30) is None:
                confirmed.append(event.id)

    publisher = threading.Thread(target=publish)
    publisher.start()
    eventually(lambda: len(confirmed) > 100, "100 events are confirmed")
    server.kill()
    eventually(lambda: not bus.health().ok, "the loss is seen")
    before = len(confirmed)
    server.start()
    eventually(lambda: len(confirmed) > before + 100, "publishing goes on", seconds=30)
    stop.set()
    publisher.join(30)
    handler = recorder()
    consume(connect("harvester x"), queue, handler)
    eventually(lambda: set(confirmed) <= set(handler.ids), "every confirmed event is there", seconds=30)


@pytest.mark.fault("F20")
def test_what_the_broker_does_not_confirm_fails_and_can_be_published_again(
    server, connect, queue, consume, recorder, new_event, eventually
):
    """A quorum queue that takes messages and answers nothing, as one without a leader does; then it does."""
    bus, handler = connect(confirm_s=0.5), recorder()
    consume(bus, queue, handler)
    bus.publish(new_event()).result(60)
    leader = QUEUE_PROCESS.format(queue=queue.name)
    server.ctl("eval", f"sys:suspend({leader}).")
    event = new_event()
    problem = bus.publish(event).exception(10)
    assert isinstance(problem, BrokerUnreachable)
    assert "has not confirmed" in str(problem)
    server.ctl("eval", f"sys:resume({leader}).")
    eventually(lambda: bus.publish(event).exception(10) is None, "publishing goes on")
    eventually(lambda: event.id in handler.ids, "the event arrives")


@pytest.mark.campaign
@pytest.mark.fault("F18")
def test_a_restart_interrupts_a_consumer_only_for_a_while(
    server, connect, queue, consume, recorder, new_event, eventually
):
    """An orderly stop and start; the same bus publishes and the same consumer receives."""
    bus, handler = connect(), recorder()
    consume(bus, queue, handler, prefetch=1)
    seen = len(handler.deliveries)
    server.stop()
    assert isinstance(bus.publish(new_event()).exception(10), BrokerUnreachable)
    assert "cannot be reached" in bus.health().detail
    server.start()
    eventually(lambda: bus.health().ok, "the bus is back", seconds=30)
    event = new_event()
    bus.publish(event).result(60)
    handler.wait_for(seen + 1)
    eventually(lambda: event.id in handler.ids, "the event arrives")


@pytest.mark.fault("F21")
def test_a_disk_alarm_pauses_publishing_and_no_more(server, connect, queue, consume, recorder, new_event, eventually):
    """While it lasts the futures stay open and health says why; then all of them succeed."""
    bus, handler = connect(), recorder()
    consume(bus, queue, handler)
    bus.publish(new_event()).result(60)
    server.set_disk_alarm()
    futures = [bus.publish(new_event())]
    eventually(lambda: bus.health().blocked, "the broker blocks the publisher")
    futures += [bus.publish(new_event()) for _ in range(20)]
    assert not bus.health().ok
    assert "disk" in bus.health().detail
    assert not futures[-1].done()
    server.set_disk_alarm(False)
    for future in futures:
        future.result(60)
    eventually(lambda: bus.health().ok, "health is well again")


@pytest.mark.fault("F21")
def test_closing_while_the_broker_blocks_keeps_its_deadline(server, connect, new_event, eventually):
    """What could not be published fails with a sentence."""
    bus = connect()
    bus.publish(new_event()).result(60)
    server.set_disk_alarm()
    future = bus.publish(new_event())
    eventually(lambda: bus.health().blocked, "the broker blocks the publisher")
    last = bus.publish(new_event())
    begun = time.monotonic()
    bus.close(2)
    assert time.monotonic() - begun < 3
    assert isinstance(last.exception(1), BrokerUnreachable)
    assert future.done()
    server.set_disk_alarm(False)


def test_closing_while_the_broker_is_frozen_keeps_its_deadline(server, connect, queue, consume, recorder, new_event):
    """The other side of the connection takes nothing and says nothing."""
    bus = connect()
    consume(bus, queue, recorder())
    server.pause()
    try:
        future = bus.publish(new_event())
        begun = time.monotonic()
        bus.close(4)
        assert time.monotonic() - begun < 5
        assert isinstance(future.exception(1), BrokerUnreachable)
    finally:
        server.resume()


def test_a_close_that_runs_out_of_time_leaves_no_socket_behind(server, connect, new_event, monkeypatch):
    """The broker is frozen, and the deadline ends while its goodbye is still waited for."""
    monkeypatch.setattr("datauploader.messaging.rabbit.connection._GOODBYE_S", 30.0)
    before = open_sockets()
    bus = connect()
    bus.publish(new_event()).result(60)
    server.pause()
    try:
        bus.close(1)
        assert open_sockets() == before
    finally:
        server.resume()


def test_closing_while_the_broker_is_away_takes_no_time(quick, new_event):
    """Nobody listens at the address; a publish fails after a short wait, and close returns."""
    bus = RabbitBus("amqp://guest:guest@127.0.0.1:1/", name="watcher x", tuning=quick)
    assert isinstance(bus.publish(new_event()).exception(10), BrokerUnreachable)
    begun = time.monotonic()
    bus.close(5)
    assert time.monotonic() - begun < 2


def test_closing_while_the_broker_says_nothing_takes_no_time(quick, new_event):
    """Something listens at the address and never greets; neither a publish nor the close waits for it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bus = RabbitBus(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}/", name="watcher x", tuning=quick)
        client, _ = silent.accept()
        with client:
            assert isinstance(bus.publish(new_event()).exception(10), BrokerUnreachable)
            begun = time.monotonic()
            bus.close(5)
            assert time.monotonic() - begun < 2


def open_sockets() -> set[str]:
    """Name the sockets that this process has open."""
    return {
        name for descriptor in Path("/proc/self/fd").iterdir() if (name := _named(descriptor)).startswith("socket:")
    }


def _named(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # the one that listed them
        return ""
