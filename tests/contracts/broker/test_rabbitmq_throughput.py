"""RabbitMQ only: confirms are outstanding in a window, which is what makes publishing fast."""

import threading
import time
from dataclasses import replace

import pytest
from pydantic import field_validator

from datauploader.contracts.questions import MayUpload, UploadRight

pytestmark = pytest.mark.rabbitmq

MANY, FEW = 10_000, 200


@pytest.fixture
def bus(rabbit):
    """Give a service's connection."""
    return rabbit.bus()


def _seconds(step):
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


@pytest.mark.campaign
def test_ten_thousand_events_are_confirmed_many_times_faster_than_one_by_one(bus, queue, consume, recorder, new_event):
    """Each event costs a fraction of a round trip; all arrive, in order, each once.

    How many times as fast the window is depends on the broker (`bench/p8` prints it); where other tests share the
    processors the difference shrinks to what the processor needs.
    """
    handler = recorder()
    consume(bus, queue, handler).stop(5)
    few, many = [new_event() for _ in range(FEW)], [new_event() for _ in range(MANY)]
    slow = _seconds(lambda: [bus.publish(event).result(60) for event in few]) / FEW
    fast = _seconds(lambda: [future.result(60) for future in [bus.publish(event) for event in many]]) / MANY
    assert slow / fast >= 3, f"one by one {1 / slow:.0f}/s, in a window {1 / fast:.0f}/s"
    consume(bus, queue, handler, prefetch=500)
    handler.wait_for(FEW + MANY, 60)
    assert handler.ids == [event.id for event in few + many]


def test_no_more_than_the_window_is_unconfirmed_on_the_wire(rabbit, quick, queue, consume, recorder, new_event):
    """What exceeds it waits its turn, and all of it is confirmed."""
    bus = rabbit.bus(tuning=replace(quick, window=10))
    consume(bus, queue, recorder())
    futures = [bus.publish(new_event()) for _ in range(500)]
    for future in futures:
        future.result(30)
    assert bus.health().unconfirmed == 0


def test_many_threads_may_publish_at_once(bus, queue, consume, recorder, new_event):
    """Eight threads, one bus; nothing is lost or doubled."""
    handler = recorder()
    consume(bus, queue, handler, prefetch=200)
    published, lock = [], threading.Lock()

    def publish():
        events = [new_event() for _ in range(200)]
        for future in [bus.publish(event) for event in events]:
            future.result(30)
        with lock:
            published.extend(event.id for event in events)

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    handler.wait_for(1600, 30)
    assert sorted(handler.ids) == sorted(published)


def test_an_answer_is_read_by_whoever_awaits_it(bus, rabbit, eventually):
    """A page of a thousand files would hold up what is published and delivered, which has one thread."""
    readers = []

    class Noted(UploadRight):
        @field_validator("detail")
        @classmethod
        def _note(cls, detail: str) -> str:
            readers.append(threading.current_thread())
            return detail

    bus.answer("catalog", lambda _question: UploadRight(allowed=True, detail="welcome"))
    eventually(lambda: bus.health().ok, "the answerer is attached")
    future = rabbit.bus("gateway x").ask(MayUpload(user_id="ada", investigation="20260001"), Noted)
    assert [future.result(60).detail, future.result(60).detail] == ["welcome", "welcome"]
    assert readers == [threading.current_thread()]
