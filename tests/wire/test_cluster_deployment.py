"""RabbitMQ of three nodes in the compose file's companion: bounded as the first one, and known to all who connect."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> dict[str, Any]:
    """Read the services of a compose file."""
    services: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["services"]
    return services


ALONE, CLUSTER = read("docker-compose.yml"), read("deploy/compose.cluster.yml")
NODES = ("rabbitmq", "rabbitmq-2", "rabbitmq-3")


def test_the_other_nodes_are_as_the_first_one_but_for_their_names_and_places():
    """The same image, bounds and files; each has a volume of its own, and nobody waits for a node to start."""
    first = ALONE["rabbitmq"]
    own = {"hostname", "volumes", "ports", "entrypoint", "healthcheck", "mem_limit", "networks", "tmpfs", "environment"}
    for name in NODES[1:]:
        node = CLUSTER[name]
        assert {key: node[key] for key in first if key not in own} == {
            key: first[key] for key in first if key not in own
        }
        assert node["mem_limit"] == first["mem_limit"]
        assert node["hostname"] == name
        places = {volume.split(":")[0]: volume for volume in node["volumes"]}
        assert f"broker-{name[-1]}" in places
        assert {volume for volume in first["volumes"] if not volume.startswith("broker:")} < set(node["volumes"])
        assert all(port.startswith("${AMQPS_BIND:-127.0.0.1}:") for port in node["ports"])
        assert "depends_on" not in node


def test_all_nodes_have_one_secret_and_name_each_other():
    """The cookie is a file of the site's folder, which RabbitMQ alone sees."""
    conf = (ROOT / "deploy" / "rabbitmq-cluster.conf").read_text(encoding="utf-8")
    assert re.findall(r"nodes\.\d = rabbit@(\S+)", conf) == list(NODES)
    assert f"target_cluster_size_hint = {len(NODES)}" in conf
    assert "cluster_partition_handling = pause_minority" in conf
    for name in NODES:
        assert "/etc/rabbitmq/site/cookie" in CLUSTER[name]["entrypoint"][-1]
        assert any("rabbitmq-cluster.conf" in volume for volume in CLUSTER[name]["volumes"])


def test_whoever_has_the_brokers_address_has_all_three():
    """With the same user and password as without a cluster."""
    for name, service in ALONE.items():
        for variable, address in service.get("environment", {}).items():
            if not variable.endswith("_BROKER"):
                continue
            plain = re.sub(r":\?[^}]*\}", "}", address)
            expected = plain.replace("@rabbitmq:5672", "@" + ",".join(f"{node}:5672" for node in NODES))
            assert CLUSTER[name]["environment"][variable] == expected


def test_a_node_asks_publishers_to_wait_before_its_container_is_full():
    """The share of memory that RabbitMQ would take is one of the whole machine's."""
    conf = (ROOT / "deploy" / "rabbitmq.conf").read_text(encoding="utf-8")
    assert "vm_memory_high_watermark.absolute = 600MiB" in conf
    assert "watermark.relative" not in conf
    assert ALONE["rabbitmq"]["mem_limit"] == "1g"
