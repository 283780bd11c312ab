"""RabbitMQ only: three nodes, and what each queue has on them."""

import json
import time

import pytest

from datauploader.contracts.uploads import UploadOpened
from datauploader.messaging.definitions import definitions
from datauploader.messaging.rabbit import RabbitBus, apply_topology
from datauploader.messaging.topology import LOG
from datauploader_testing.servers import RabbitCluster

from .conftest import STATIONS

pytestmark = [pytest.mark.rabbitmq, pytest.mark.campaign]

NODES_OF = """
Count = fun(Q) -> length(maps:get(nodes, amqqueue:get_type_state(Q), [one])) end,
Ours = [Q || Q <- rabbit_amqqueue:list(), amqqueue:get_exclusive_owner(Q) =:= none],
rabbit_json:encode(maps:from_list([{element(4, amqqueue:get_name(Q)), Count(Q)} || Q <- Ours])).
"""
COORDINATORS = "{ok, Members, _} = ra:members({rabbit_stream_coordinator, node()}), length(Members)."


def members(cluster) -> dict[str, int]:
    """Count the nodes on which each queue has a member."""
    said = cluster.alive().ctl("eval", NODES_OF).strip().removeprefix("<<").removesuffix(">>")
    found: dict[str, int] = json.loads(json.loads(said))
    return found


@pytest.mark.fault("F19")
def test_every_queue_of_the_definitions_is_on_each_node_and_events_do_not_wait_for_the_logs_leader(
    tmp_path, new_event, eventually
):
    """The broker makes them when all nodes are there; the log's leader dies, and publishers are confirmed."""
    written = tmp_path / "definitions.json"
    written.write_text(json.dumps(definitions(STATIONS)))
    with RabbitCluster(definitions=written) as cluster:
        found = members(cluster)
        assert LOG in found
        assert set(found.values()) == {3}, {name: count for name, count in found.items() if count != 3}
        bus = RabbitBus(cluster.url, name="gateway x")
        try:
            bus.publish(new_event(UploadOpened(upload_id="upload-0001"))).result(60)
            cluster.leader(LOG).kill()
            killed = time.monotonic()
            eventually(lambda: bus.publish(new_event()).exception(30) is None, "an event is confirmed")
            later = [bus.publish(new_event()) for _ in range(50)]
            assert all(one.exception(10) is None for one in later)
            assert time.monotonic() - killed < 10
        finally:
            bus.close(5)


@pytest.mark.fault("F19")
def test_a_broker_of_one_node_becomes_three_of_which_the_first_may_die(new_event, eventually):
    """What docs/scaling.md says to run gives every queue its missing members; then the one that had them all is killed.

    Who leads the log is decided by members that RabbitMQ adds by itself, one every 30 s.
    """
    with RabbitCluster(joining=False) as cluster:
        first, *others = cluster.nodes
        bus = RabbitBus(cluster.url, name="gateway x")
        try:
            apply_topology(first.address.url, STATIONS)
            eventually(lambda: bus.publish(new_event()).exception(30) is None, "the one node is used")
            assert set(members(cluster).values()) == {1}
            for node in others:
                node.start()
            for node in others:
                first.tool("rabbitmq-queues", "grow", node.node, "all")
                first.tool("rabbitmq-streams", "add_replica", LOG, node.node)
            assert set(members(cluster).values()) == {3}
            eventually(lambda: bus.publish(new_event()).exception(30) is None, "events are still taken")
            eventually(lambda: first.ctl("eval", COORDINATORS).strip() == "3", "all may decide who leads the log", 150)
            first.kill()
            eventually(lambda: bus.publish(new_event()).exception(30) is None, "events are taken without it", 60)
        finally:
            bus.close(5)
