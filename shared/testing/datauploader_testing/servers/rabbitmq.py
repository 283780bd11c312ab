"""A private RabbitMQ node: own name, ports, epmd, cookie and data, for RabbitMQ 3.10 and 4.x.

Measured on 3.10.8 with Erlang 25 and 2 cores: ready in 3.3 s, of which 1.3 s is Erlang loading every module
of every plugin; idle it takes 0.5% of a core. Naming the node on Erlang's command line saves 0.7 s, because
the broker then starts no second virtual machine to look for epmd. Fewer schedulers and a classic
configuration file made no difference to the start; management and prometheus cost 0.5 s and make a graceful
stop last 6 s instead of 1.
"""

import json
import secrets
import socket
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import quote

import structlog

from datauploader_testing.servers.ports import LOOPBACK, accepts_connections, free_port
from datauploader_testing.servers.programs import find_program, find_rabbitmq_scripts
from datauploader_testing.servers.rabbitmq_definitions import with_administrator
from datauploader_testing.servers.rabbitmq_management import Management
from datauploader_testing.servers.server import PrivateServer, environment, run_tool

log = structlog.get_logger(__name__)

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD_FRAME = b"\x01"
PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_event_exchange")
# Where a quorum queue's log lies is written to disk up to 3 s after its declaration (dets' delayed write). RabbitMQ
# 3.10, killed before that, brings the queue back empty, confirmed messages lost, as a follower that never calls an
# election and answers nothing for ever. `settle` makes it written now; ELECT_LEADERS wakes such queues up.
SETTLE = "[dets:sync(Table) || Table <- dets:all()]."
ELECT_LEADERS = """
Names = [element(1, amqqueue:get_pid(Q)) || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue],
Leads = fun(N) -> lists:any(fun(State) -> element(2, State) =:= leader end, ets:lookup(ra_state, N)) end,
Lost = [N || N <- Names, not Leads(N)],
[ra:trigger_election({N, node()}) || N <- Lost], length(Lost).
"""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Say where a broker is and how one signs in."""

    port: int
    management_port: int
    prometheus_port: int
    user: str
    password: str
    vhost: str = "/"
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        """Write the address as an AMQP URL."""
        return f"amqp://{self.user}:{self.password}@{self.host}:{self.port}/{quote(self.vhost, safe='')}"

    @property
    def management_url(self) -> str:
        """Write the address of the management page and API."""
        return f"http://{self.host}:{self.management_port}"

    def in_vhost(self, vhost: str) -> "BrokerAddress":
        """Point at another virtual host of the same broker."""
        return replace(self, vhost=vhost)

    def through(self, port: int) -> "BrokerAddress":
        """Point at the same broker behind another port, such as a fault proxy's."""
        return replace(self, port=port)


@dataclass(frozen=True, slots=True)
class Membership:
    """Say which node of which cluster a server is."""

    node: str
    nodes: tuple[str, ...]
    cookie: str
    """Also the administrator's password, which the nodes have in common."""
    epmd_port: int

    def settings(self) -> list[str]:
        """Write what finds the other nodes, and what a node does that sees few of them."""
        peers = [
            f"cluster_formation.classic_config.nodes.{number} = {node}" for number, node in enumerate(self.nodes, 1)
        ]
        return [
            "cluster_formation.peer_discovery_backend = classic_config", *peers,
            f"cluster_formation.target_cluster_size_hint = {len(self.nodes)}",
            "cluster_partition_handling = pause_minority",
        ]  # fmt: skip


class RabbitServer(PrivateServer):
    """A private RabbitMQ node with management, prometheus and streams."""

    name: ClassVar[str] = "rabbitmq"
    start_seconds: ClassVar[float] = 120.0

    def __init__(
        self,
        *,
        definitions: Path | None = None,
        plugins: tuple[str, ...] = PLUGINS,
        settings: str = "",
        schedulers: int = 2,
        cluster: "Membership | None" = None,
    ) -> None:
        self._scripts = find_rabbitmq_scripts()
        self._epmd = find_program("epmd", install="apt-get install erlang-base")
        super().__init__()
        self.address = BrokerAddress(
            port=free_port(),
            management_port=free_port(),
            prometheus_port=free_port(),
            user="test",
            password=cluster.cookie if cluster else secrets.token_hex(12),
        )
        self.node = cluster.node if cluster else f"datauploader-{secrets.token_hex(4)}@localhost"
        self._cluster, self._distribution_port = cluster, free_port()
        self._epmd_port = cluster.epmd_port if cluster else free_port()
        self._plugins, self._schedulers, self._killed = plugins, schedulers, False
        self._write_configuration(definitions, settings)

    def start(self) -> Self:
        """Start the node, and when it was killed before, make every quorum queue find its leader.

        In a cluster the other members have elected one.
        """
        super().start()
        killed, self._killed = self._killed, False
        if killed and self._cluster is None:
            self._elect_leaders()
        return self

    def kill(self) -> None:
        """End the node at once (SIGKILL); the data directory, the ports and the name stay."""
        self._killed = True
        super().kill()

    def settle(self) -> None:
        """Write to disk where the declared quorum queues keep their messages, as the node does within 3 s."""
        self.ctl("eval", SETTLE)

    @property
    def management(self) -> Management:
        """Open the management API as the administrator."""
        return Management(self.address.management_url, self.address.user, self.address.password)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl against this node and return what it printed."""
        return self.tool("rabbitmqctl", *arguments)

    def tool(self, name: str, *arguments: str) -> str:
        """Run one of the node's tools, such as rabbitmq-queues, and return what it printed."""
        return run_tool([self._scripts / name, "--quiet", *arguments], env=self._environment())

    def set_disk_alarm(self, on: bool = True) -> None:
        """Make the node believe that its disk is nearly full and block publishers; or let it recover."""
        self.ctl("set_disk_free_limit", "999999GB" if on else "1MB")

    def set_memory_alarm(self, on: bool = True) -> None:
        """Make the node believe that its memory is full and block publishers; or let it recover."""
        self.ctl("set_vm_memory_high_watermark", *(("absolute", "1MB") if on else ("0.4",)))

    def _launch(self) -> subprocess.Popen[bytes]:
        env = self._environment()
        if self._cluster is None:
            self._spawn(self._epmd, "-port", str(self._epmd_port), "-address", LOOPBACK, env=env)
        self._wait_for(lambda: accepts_connections(self._epmd_port), time.monotonic() + 60)
        return self._spawn(self._scripts / "rabbitmq-server", env=env)

    def _answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.address.port), timeout=5) as connection:
            connection.sendall(PROTOCOL_HEADER)
            if connection.recv(1) != METHOD_FRAME:
                return False
        return "rabbitmq_management" not in self._plugins or self.management.answers()

    def _elect_leaders(self) -> None:
        lost = self.ctl("eval", ELECT_LEADERS).strip()
        if lost != "0":
            log.info("queue_elections_forced", server=self.name, queues=lost)

    def _write_configuration(self, definitions: Path | None, settings: str) -> None:
        self._write(".erlang.cookie", self._cluster.cookie if self._cluster else secrets.token_hex(16), mode=0o400)
        self._write("environment", "")
        self._write("enabled_plugins", f"[{','.join(self._plugins)}].")
        (self.directory / "conf.d").mkdir()
        lines = self._settings()
        if definitions is not None:
            wanted = with_administrator(json.loads(definitions.read_text()), self.address.user, self.address.password)
            lines.append(f"load_definitions = {self._write('definitions.json', json.dumps(wanted))}")
        self._write("rabbitmq.conf", "\n".join([*lines, settings, ""]))

    def _settings(self) -> list[str]:
        address = self.address
        return [
            f"listeners.tcp.1 = {LOOPBACK}:{address.port}",
            f"management.tcp.ip = {LOOPBACK}",
            f"management.tcp.port = {address.management_port}",
            f"prometheus.tcp.ip = {LOOPBACK}",
            f"prometheus.tcp.port = {address.prometheus_port}",
            *(self._cluster.settings() if self._cluster else ()),
            f"default_user = {address.user}",
            f"default_pass = {address.password}",
            "disk_free_limit.absolute = 1MB",
            "log.console = false",
            f"motd_file = {self.directory / 'motd'}",
        ]

    def _write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def _environment(self) -> dict[str, str]:
        at = self.directory
        files = {
            "HOME": at,
            "RABBITMQ_CONF_ENV_FILE": at / "environment",
            "RABBITMQ_CONFIG_FILE": at / "rabbitmq.conf",
            "RABBITMQ_CONFIG_FILES": at / "conf.d" / "*.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": at / "advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": at / "enabled_plugins",
            "RABBITMQ_MNESIA_BASE": at / "data",
            "RABBITMQ_LOG_BASE": at / "log",
            "RABBITMQ_LOGS": at / "log" / "rabbit.log",
            "RABBITMQ_PLUGINS_EXPAND_DIR": at / "plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": at / "config",
            "RABBITMQ_PID_FILE": at / "pid",
        }
        return environment() | {name: str(path) for name, path in files.items()} | self._erlang_environment()

    def _erlang_environment(self) -> dict[str, str]:
        port = str(self._distribution_port)
        arguments = (
            f"+S {self._schedulers}:{self._schedulers} +sbwt none +sbwtdcpu none +sbwtdio none "
            f"-sname {self.node} -start_epmd false -kernel inet_dist_use_interface {{127,0,0,1}} "
            f"-kernel inet_dist_listen_min {port} -kernel inet_dist_listen_max {port}"
        )
        return {
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": port,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": arguments,
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the virtual machine; no shell stays around it
        }
