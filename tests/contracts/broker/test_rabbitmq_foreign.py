"""RabbitMQ only: a queue of ours at another system's broker, with an account that may do no more than it must."""

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from datauploader.messaging.rabbit import ForeignBinding, ForeignMessage, ForeignQueue, Tuning, check_foreign_exchange
from datauploader_testing.servers import BrokerAddress, RabbitServer
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.rabbitmq

EXCHANGE, QUEUE = "user_office_backend.fanout", "datauploader.membership"
PASSWORD = "correct-horse-7319"
OWN = QUEUE.replace(".", r"\.")
QUICK = Tuning(heal_s=0.5, backoff_first_s=0.05, backoff_most_s=0.5, patience_s=1.0, refused_s=0.5)


class Broker:
    """Another system's virtual host with its exchange, and the account that it gave us."""

    def __init__(self, server: RabbitServer, address: BrokerAddress) -> None:
        self.management, self.vhost = server.management, address.vhost
        self.management.put("exchanges", self.vhost, EXCHANGE, body={"type": "fanout", "durable": True})
        user = f"datauploader-{uuid.uuid4().hex[:8]}"
        self.management.create_user(
            self.vhost, user, PASSWORD, configure=f"^{OWN}$", write=f"^{OWN}$",
            read=rf"^({OWN}|user_office_backend\.fanout)$",
        )  # fmt: skip
        self.url = replace(address, user=user, password=PASSWORD).url
        self.heard: list[ForeignMessage] = []
        self.new = 0
        self.queues: list[ForeignQueue] = []

    def consume(self, handler: Callable[[ForeignMessage], None] | None = None, **binding: Any) -> ForeignQueue:
        """Begin to hear."""

        def note_new() -> None:
            self.new += 1

        wanted = ForeignBinding(QUEUE, EXCHANGE, **binding)
        queue = ForeignQueue(self.url, wanted, handler or self.heard.append, name="test", on_new=note_new, tuning=QUICK)
        self.queues.append(queue)
        return queue

    def say(self, body: bytes, **properties: Any) -> None:
        """Publish as the other system does."""
        self.management.publish(self.vhost, EXCHANGE, body, {"delivery_mode": 2, "type": "NEWS"} | properties)

    @property
    def bodies(self) -> list[bytes]:
        """What was heard, in order."""
        return [message.body for message in self.heard]


@pytest.fixture
def broker(rabbitmq_server: RabbitServer, rabbitmq_vhost: BrokerAddress) -> Iterator[Broker]:
    """The other system's broker, of this test alone."""
    broker = Broker(rabbitmq_server, rabbitmq_vhost)
    yield broker
    for queue in broker.queues:
        queue.stop(2)


@pytest.mark.parametrize("quorum", [True, False])
def test_an_account_with_rights_to_its_queue_alone_hears_the_exchange(broker: Broker, quorum: bool) -> None:
    """The queue is made and bound; type, time and way are told as they are."""
    queue = broker.consume(quorum=quorum)
    eventually(lambda: not queue.problem, what="it hears")
    broker.say(b"one", timestamp=1_790_000_000_123)
    broker.say(b"two", timestamp=1_790_000_001)
    broker.say(b"three")
    broker.say(b"four", timestamp=2**62)
    eventually(lambda: len(broker.heard) == 4, what="four messages are heard")
    assert broker.heard[0] == ForeignMessage("NEWS", b"one", 1_790_000_000_123, redelivered=False, exchange=EXCHANGE)
    assert [one.sent_ms for one in broker.heard[1:]] == [1_790_000_001_000, 0, 0]
    assert broker.new == 1


def test_what_comes_while_nobody_hears_waits(broker: Broker) -> None:
    """The queue is durable, and keeps the order."""
    first = broker.consume()
    eventually(lambda: not first.problem, what="it hears")
    first.stop(5)
    for number in range(5):
        broker.say(b"%d" % number)
    assert not broker.heard
    broker.consume()
    eventually(lambda: broker.bodies == [b"0", b"1", b"2", b"3", b"4"], what="all are heard in order")
    assert broker.new == 1


def test_a_message_that_was_not_acknowledged_comes_again_and_says_so(broker: Broker) -> None:
    """The connection is lost while it is handled: only what was handled is acknowledged."""
    lost = threading.Event()

    def handle(message: ForeignMessage) -> None:
        broker.heard.append(message)
        if not lost.is_set():
            lost.set()
            eventually(lambda: broker.management.close_connections(broker.vhost), what="the connection is closed")

    queue = broker.consume(handle)
    eventually(lambda: not queue.problem, what="it hears")
    broker.say(b"one")
    eventually(lambda: len(broker.heard) >= 2, what="it comes again", within_s=30)
    assert [one.redelivered for one in broker.heard[:2]] == [False, True]


def test_a_handler_that_cannot_now_gets_the_message_again_before_all_others(broker: Broker) -> None:
    """As on a full disk: nothing is dropped, nothing overtakes it, and the reason is told."""
    full = threading.Event()

    def handle(message: ForeignMessage) -> None:
        if not full.is_set():
            raise OSError("the disk is full")
        broker.heard.append(message)

    queue = broker.consume(handle)
    eventually(lambda: not queue.problem, what="it hears")
    broker.say(b"one")
    broker.say(b"two")
    eventually(lambda: "the disk is full" in queue.problem, what="the reason is told")
    full.set()
    eventually(lambda: broker.bodies == [b"one", b"two"], what="all are heard in order")
    assert not queue.problem


def test_a_queue_that_was_deleted_is_made_again_and_the_gap_is_told(broker: Broker) -> None:
    """What was published while it was not there is lost, and nobody else would say so."""
    queue = broker.consume()
    eventually(lambda: not queue.problem, what="it hears")
    broker.management.delete_queue(broker.vhost, QUEUE)
    eventually(lambda: broker.new == 2, what="the gap is told")
    eventually(lambda: not queue.problem, what="it hears")
    broker.say(b"one")
    eventually(lambda: broker.bodies == [b"one"], what="it is heard again")


def test_of_two_that_hear_the_queue_one_waits(broker: Broker) -> None:
    """Else each would hear half of it, and the order would be nobody's; it goes on when the first one is gone."""
    waiting: list[ForeignMessage] = []
    first = broker.consume()
    eventually(lambda: not first.problem, what="it hears")
    second = broker.consume(waiting.append)
    eventually(lambda: not second.problem, what="it waits")
    for number in range(10):
        broker.say(b"%d" % number)
    eventually(lambda: len(broker.heard) + len(waiting) == 10, what="all are heard")
    assert broker.bodies == [b"%d" % number for number in range(10)]
    first.stop(5)
    broker.say(b"next")
    eventually(lambda: [one.body for one in waiting] == [b"next"], what="the other one goes on")


def test_an_exchange_that_is_missing_is_told_with_what_the_account_needs(broker: Broker) -> None:
    """The other system makes it; until then nothing is heard, and that is told."""
    broker.management.delete("exchanges", broker.vhost, EXCHANGE)
    queue = broker.consume()
    eventually(lambda: "NOT_FOUND" in queue.problem, what="it hears")
    assert "read the exchange user_office_backend.fanout" in queue.problem
    assert "NOT_FOUND" in check_foreign_exchange(broker.url, EXCHANGE)
    broker.management.put("exchanges", broker.vhost, EXCHANGE, body={"type": "fanout", "durable": True})
    eventually(lambda: not queue.problem, what="it hears")
    assert check_foreign_exchange(broker.url, EXCHANGE) == ""


def test_a_wrong_password_is_told(broker: Broker) -> None:
    """By the doctor as well."""
    broker.url = broker.url.replace(PASSWORD, "wrong")
    queue = broker.consume()
    eventually(lambda: "refuses the user" in queue.problem, what="it hears")
    assert "refuses the user" in check_foreign_exchange(broker.url, EXCHANGE)
