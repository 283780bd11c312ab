"""A private RabbitMQ of three nodes on this machine, each of which can be killed alone.

Measured on 3.10.8 with 2 cores: see `RabbitCluster.start`.
"""

import secrets
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Self

from datauploader_testing.servers.ports import LOOPBACK, accepts_connections, free_port
from datauploader_testing.servers.programs import find_program
from datauploader_testing.servers.rabbitmq import BrokerAddress, Membership, RabbitServer
from datauploader_testing.servers.server import PrivateServer, Startable

_SMALL = "vm_memory_high_watermark.absolute = 300MB"
"""Memory of a node before it asks publishers to wait."""


class _PortMapper(PrivateServer):
    """The epmd that the nodes of a cluster share; it must outlive each of them."""

    name: ClassVar[str] = "epmd"

    def __init__(self) -> None:
        self._epmd = find_program("epmd", install="apt-get install erlang-base")
        super().__init__()
        self.port = free_port()

    def _launch(self) -> subprocess.Popen[bytes]:
        return self._spawn(self._epmd, "-port", str(self.port), "-address", LOOPBACK)

    def _answers(self) -> bool:
        return accepts_connections(self.port)


class RabbitCluster(Startable):
    """Three nodes with one cookie."""

    name: ClassVar[str] = "rabbitmq"

    def __init__(self, *, definitions: Path | None = None, size: int = 3, joining: bool = True) -> None:
        """Write the configuration of the nodes; none runs yet. Without `joining` only the first one is started."""
        self._joining = joining
        self._epmd = _PortMapper()
        cookie, word = secrets.token_hex(16), secrets.token_hex(3)
        names = tuple(f"datauploader-{word}-{letter}@localhost" for letter in "abcde"[:size])
        self.nodes = tuple(
            RabbitServer(
                definitions=definitions, settings=_SMALL, schedulers=1,
                cluster=Membership(name, names, cookie, self._epmd.port),
            )
            for name in names
        )  # fmt: skip
        """The nodes, each of which is a server of its own."""

    @property
    def address(self) -> BrokerAddress:
        """Point at the first node alone."""
        return self.nodes[0].address

    @property
    def url(self) -> str:
        """Write the address of all nodes, as the setting `broker` takes it."""
        first, *others = (node.address for node in self.nodes)
        more = "".join(f",{one.host}:{one.port}" for one in others)
        return first.url.replace(f"{first.host}:{first.port}", f"{first.host}:{first.port}{more}")

    def start(self) -> Self:
        """Start the nodes together; one of them is first, and the others join it."""
        self._epmd.start()
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(RabbitServer.start, self.nodes if self._joining else self.nodes[:1]))
        return self

    def of(self, node: str) -> RabbitServer:
        """Return the node of this name."""
        return next(one for one in self.nodes if one.node == node)

    def alive(self) -> RabbitServer:
        """Return a node that runs."""
        return next(one for one in self.nodes if one.running)

    def leader(self, queue: str, vhost: str = "/") -> RabbitServer:
        """Return the node that leads a queue or a stream."""
        found = self.alive().management.get("queues", vhost, queue)
        return self.of(found.get("leader") or found["node"])

    def close(self) -> None:
        """End the nodes and remove their directories."""
        for node in self.nodes:
            node.close()
        self._epmd.close()
