"""RabbitMQ only: an address that names several nodes of one broker."""

import pytest

from datauploader.errors import ConfigurationError
from datauploader.messaging.rabbit import RabbitBus
from datauploader.messaging.rabbit.connection import AmqpAddress
from datauploader_testing.servers.ports import free_port

pytestmark = pytest.mark.rabbitmq


def test_of_several_nodes_whichever_answers_is_used_and_found_again_after_a_cut(
    rabbit, rabbitmq_server, quick, queue, consume, recorder, new_event, eventually
):
    """Two of three do not answer: each attempt takes the next one."""
    here = rabbit.address
    nodes = f"127.0.0.1:{free_port()},127.0.0.1:{here.port}, 127.0.0.1:{free_port()}"
    bus = RabbitBus(here.url.replace(f"127.0.0.1:{here.port}", nodes), name="watcher x", tuning=quick)
    try:
        handler = recorder()
        consume(bus, queue, handler)
        bus.publish(new_event()).result(60)
        handler.wait_for(1)
        rabbitmq_server.ctl("close_all_connections", "--vhost", here.vhost, "cut by a test")
        eventually(lambda: not bus.health().ok, "the cut is seen")
        eventually(lambda: bus.publish(new_event()).exception(10) is None, "it is connected again")
        handler.wait_for(2)
    finally:
        bus.close(5)


@pytest.mark.attack("S15")
def test_each_node_must_show_a_certificate_of_its_own_name():
    """The first one's does not do for the others, and each has its own port."""
    address = AmqpAddress("amqps://u:p@a.example:5671,b.example,[::1]:5673/vhost", "watcher x")
    nodes = [address.parameters("publisher")[0] for _ in range(3)]
    assert {(node.host, node.port) for node in nodes} == {("a.example", 5671), ("b.example", 5671), ("::1", 5673)}
    assert all(node.ssl_options.server_hostname == node.host for node in nodes)
    assert {node.virtual_host for node in nodes} == {"vhost"}
    again = [address.parameters("publisher")[0].host for _ in range(3)]
    assert again == [node.host for node in nodes], "each attempt takes the next one"


def test_an_address_of_which_one_node_cannot_be_read_is_refused_without_its_password():
    """At the start, whichever node is to come first."""
    with pytest.raises(ConfigurationError, match="a comma between several hosts") as refused:
        RabbitBus("amqp://u:secret-4711@a.example,b.example:port/", name="watcher x")
    assert "secret-4711" not in str(refused.value)
