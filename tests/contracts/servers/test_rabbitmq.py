"""The private RabbitMQ: it serves, keeps what it must, breaks on command, and touches nothing of the machine's."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
import pika.exceptions
import pytest

from datauploader_testing.servers import BrokerAddress, RabbitServer

pytestmark = pytest.mark.rabbitmq

QUORUM = {"x-queue-type": "quorum"}
DEFINITIONS = {
    "vhosts": [{"name": "facility"}],
    "users": [],
    "permissions": [],
    "queues": [
        {
            "name": "work",
            "vhost": "facility",
            "durable": True,
            "auto_delete": False,
            "arguments": {"x-queue-type": "quorum"},
        }
    ],
}


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """Give a second broker that these tests may kill, with a definitions file."""
    path = tmp_path_factory.mktemp("definitions") / "definitions.json"
    path.write_text(json.dumps(DEFINITIONS))
    with RabbitServer(definitions=path) as server:
        yield server


@contextmanager
def connect(address: BrokerAddress) -> Iterator[pika.BlockingConnection]:
    """Have a connection to a broker; one that the broker ended leaks its sockets unless they are cleaned up."""
    connection = pika.BlockingConnection(pika.URLParameters(address.url))
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()
        connection._cleanup()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        threading.Event().wait(0.05)


def test_a_message_goes_in_and_comes_out(rabbitmq_vhost: BrokerAddress) -> None:
    """A queue in the test's own virtual host carries a message."""
    with connect(rabbitmq_vhost) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True, arguments=QUORUM)
        channel.confirm_delivery()
        channel.basic_publish("", "q", b"hello", mandatory=True)
        _, _, body = channel.basic_get("q", auto_ack=True)
    assert body == b"hello"


def test_each_test_has_a_virtual_host_of_its_own(rabbitmq_server: RabbitServer, rabbitmq_vhost: BrokerAddress) -> None:
    """What other tests declared is not there."""
    assert rabbitmq_vhost.vhost != "/"
    assert rabbitmq_server.management.queues(rabbitmq_vhost.vhost) == []


def test_streams_and_metrics_are_there(rabbitmq_server: RabbitServer, rabbitmq_vhost: BrokerAddress) -> None:
    """A stream queue can be declared, and the Prometheus page answers."""
    with connect(rabbitmq_vhost) as connection:
        connection.channel().queue_declare("log", durable=True, arguments={"x-queue-type": "stream"})
    with socket.create_connection(("127.0.0.1", rabbitmq_vhost.prometheus_port), timeout=5) as page:
        page.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert page.recv(12) == b"HTTP/1.1 200"


@pytest.mark.campaign
def test_definitions_are_loaded_and_the_administrator_is_kept(own_broker: RabbitServer) -> None:
    """The queue of the definitions file exists, and the test's user may use it."""
    with connect(own_broker.address.in_vhost("facility")) as connection:
        connection.channel().queue_declare("work", passive=True)


@pytest.mark.campaign
def test_two_brokers_live_side_by_side(own_broker: RabbitServer, rabbitmq_server: RabbitServer) -> None:
    """They have different nodes, and each knows itself alone."""
    assert own_broker.management.get("overview")["node"] == own_broker.node
    assert rabbitmq_server.management.get("overview")["node"] == rabbitmq_server.node
    assert len(own_broker.management.get("nodes")) == 1


@pytest.mark.campaign
def test_confirmed_messages_survive_a_kill_on_the_same_ports(own_broker: RabbitServer) -> None:
    """SIGKILL: what was confirmed is there again; a queue declared in the last moment works, if empty."""
    address = own_broker.address.in_vhost("facility")
    with connect(address) as connection:
        channel = connection.channel()
        channel.queue_declare("settled", durable=True, arguments=QUORUM)
        own_broker.settle()
        channel.confirm_delivery()
        for number in range(50):
            channel.basic_publish("", "settled", str(number).encode(), mandatory=True)
        channel.queue_declare("fresh", durable=True, arguments=QUORUM)
        own_broker.kill()
        with pytest.raises((pika.exceptions.AMQPError, OSError)):
            channel.basic_publish("", "settled", b"too late", mandatory=True)
    own_broker.start()
    with connect(address) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        assert [channel.basic_get("settled", auto_ack=True)[2] for _ in range(50)] == [b"%d" % n for n in range(50)]
        channel.basic_publish("", "fresh", b"works", mandatory=True)


@pytest.mark.campaign
def test_a_disk_alarm_blocks_publishers(own_broker: RabbitServer) -> None:
    """The connection hears `blocked`, and `unblocked` afterwards."""
    heard: list[str] = []
    with connect(own_broker.address.in_vhost("facility")) as connection:
        connection.add_on_connection_blocked_callback(lambda *_: heard.append("blocked"))
        connection.add_on_connection_unblocked_callback(lambda *_: heard.append("unblocked"))
        own_broker.set_disk_alarm()
        connection.channel().basic_publish("", "work", b"x")
        wait_for(lambda: connection.process_data_events(0.05) or "blocked" in heard)
        own_broker.set_disk_alarm(on=False)
        wait_for(lambda: connection.process_data_events(0.05) or "unblocked" in heard)


def test_queues_and_connections_can_be_taken_away(rabbitmq_server: RabbitServer, rabbitmq_vhost: BrokerAddress) -> None:
    """A deleted queue is gone, and a closed connection knows why."""
    vhost = rabbitmq_vhost.vhost
    with connect(rabbitmq_vhost) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True, arguments=QUORUM)
        rabbitmq_server.management.delete_queue(vhost, "q")
        assert rabbitmq_server.management.queues(vhost) == []
        wait_for(lambda: rabbitmq_server.management.close_connections(vhost))
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="closed by a test"):
            channel.queue_declare("other")


@pytest.mark.campaign
def test_nothing_listens_beyond_loopback_and_nothing_stays() -> None:
    """Every listener of a node is on loopback, and after its end no process and no file of it is left."""
    with RabbitServer() as server:
        directory = server.directory
        processes = processes_in(directory)
        assert listening_addresses(processes) <= LOOPBACK_IN_PROC
    assert not directory.exists()
    wait_for(lambda: not processes_in(directory))


LOOPBACK_IN_PROC = {"0100007F", "00000000000000000000000001000000"}  # 127.0.0.1 and ::1
LISTENING = "0A"


def processes_in(directory: Path) -> list[Path]:
    """List the processes that work in a directory, as folders of /proc."""
    return [process for process in Path("/proc").glob("[0-9]*") if links_to(process / "cwd", str(directory))]


def links_to(link: Path, target: str) -> bool:
    """Say whether a link of /proc points to something or into it, also when that is deleted."""
    try:
        return str(link.readlink()).startswith(target)
    except OSError:
        return False


def listening_addresses(processes: list[Path]) -> set[str]:
    """Collect the local addresses on which processes listen, as /proc/net/tcp writes them."""
    mine = {str(fd.readlink()) for process in processes for fd in (process / "fd").iterdir() if links_to(fd, "socket:")}
    tables = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in tables if row[3] == LISTENING and f"socket:[{row[9]}]" in mine}
