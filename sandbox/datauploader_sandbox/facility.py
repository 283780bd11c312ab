"""A whole facility on this machine: folders, user office, storage, broker, and its services."""

import json
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self
from urllib.parse import urlsplit

import httpx
import tomli_w

from datauploader.contracts import Station
from datauploader.messaging.definitions import definitions
from datauploader_sandbox import catalogues
from datauploader_sandbox.processes import InManyProcesses, InOneProcess
from datauploader_testing.faults import FaultProxy

if TYPE_CHECKING:  # a facility on memory:// needs no servers, and starts faster without their modules
    from datauploader_sandbox.storages import Kind

SERVICES = ("watcher", "transfer", "catalog", "gateway", "nexus-harvester")
STATION = ("sandbox", "xrd1", "ws01")
BASE_DIR = "/experiments"
"""Where the catalogue says that investigations' data belong; below the remote's base."""
READY_S = 60.0

Broker = Literal["memory", "rabbitmq"]
Server = Literal["broker", "redis", "catalogue", "storage"]


class Running(Protocol):
    """Services that run somehow."""

    def start(self, service: str) -> None:
        """Start one that was ended."""

    def terminate(self, service: str) -> object:
        """Ask one to end, and wait until it has."""

    def stop(self) -> None:
        """End them."""


class Facility:
    """Everything that DataUploader needs around it; a context manager that leaves nothing behind."""

    def __init__(
        self,
        *,
        broker: Broker = "memory",
        broker_nodes: int = 1,
        watched: Path | None = None,
        folder: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        services: Sequence[str] = SERVICES,
        proxied: Sequence[Server] = (),
        storage: "Kind" = "local",
        catalogue: catalogues.System = "vuo",
        before: Mapping[str, Sequence[str]] | None = None,
        operations: bool = False,
    ) -> None:
        """Choose how to run it.

        Args:
            broker: `memory` runs all services in this process; `rabbitmq` starts a private RabbitMQ and Redis,
                and each service as a process of its own.
            broker_nodes: of how many nodes that RabbitMQ is made, each of which can be killed alone.
            watched: an existing folder that may be uploaded; None: a new one.
            folder: where all files of the facility are kept; None: a temporary one, removed at the end.
            settings: what to change in the configuration, table by table.
            services: which services run; without the watcher, stations may run elsewhere.
            proxied: what is reached through a fault proxy of its own; see `proxies`.
            storage: what the files are brought to; `local` is a folder of the facility, all others real servers.
            catalogue: which system's double is the user office.
            before: by service, what stands before it on its command line: `env A=b`, `unshare`; RabbitMQ only.
            operations: the gateway has an account for parked messages and sign-ins at the broker, RabbitMQ only.
        """
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="datauploader-facility-"))
        self.watched = watched or self.folder / "data"
        self.storage = self.folder / "storage"
        """The directory with what is stored, whatever serves it."""
        self._kind: Kind = storage
        self.broker, self._broker_nodes = broker, broker_nodes
        self.services = tuple(services)
        self.url = ""
        self.broker_address = self.redis_address = ""
        """The broker itself, whatever stands before it for the services."""
        self._token = ""
        self._changes = settings or {}
        self._servers: list[Any] = []
        self._proxied = tuple(proxied)
        self._before = before
        self._operations = operations
        self.proxies: dict[str, FaultProxy] = {}
        """What stands before the broker, Redis, the catalogue or the storage, and makes the way bad on demand."""
        self._running: Running | None = None
        self._system: catalogues.System = catalogue
        self.catalogue: catalogues.SandboxCatalogue

    def start(self) -> Self:
        """Start everything and return when the gateway answers."""
        for path in (self.watched, self.folder):
            path.mkdir(parents=True, exist_ok=True)
        self.catalogue = catalogues.start(self._system, self.folder, BASE_DIR)
        self._remote = self._start_storage()
        addresses = self._start_servers() | {"catalogue": self.catalogue.url}
        self.broker_address, self.redis_address = addresses["broker"], addresses["redis"]
        for name in self._proxied:
            if name != "storage":
                addresses[name] = self._behind_a_proxy(name, addresses[name])
        self.config = self.folder / "datauploader.toml"
        document = _merge(self._document(addresses, _free_port()), self._changes)
        plain = json.loads(json.dumps(document, default=str))  # TOML knows no paths
        self.config.write_text(tomli_w.dumps(plain), encoding="utf-8")
        self.config.chmod(0o600)
        self.url = f"http://127.0.0.1:{document['gateway']['port']}"
        self.run()
        return self

    def run(self) -> None:
        """Start the services on what is there."""
        if self.broker == "memory":
            self._running = InOneProcess(self.config, self.services)
        else:
            self._running = InManyProcesses(self.config, self.services, self.folder / "log", self._before)
        self.wait()

    @property
    def processes(self) -> "InManyProcesses":
        """The services' processes, for those who want to kill one."""
        assert isinstance(self._running, InManyProcesses)
        return self._running

    @property
    def servers(self) -> dict[str, Any]:
        """The private broker, Redis and storage, by name."""
        return {server.name: server for server in self._servers}

    @contextmanager
    def without(self, service: str) -> Iterator[None]:
        """End one service and start it again afterwards."""
        assert self._running is not None
        self._running.terminate(service)
        yield
        self._running.start(service)
        self.wait()

    def stop(self) -> None:
        """End everything that was started."""
        if self._running is not None:
            self._running.stop()
        for proxy in self.proxies.values():
            proxy.__exit__()
        for server in self._servers:
            server.close()
        self.catalogue.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Start it."""
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def _start_servers(self) -> dict[str, str]:
        if self.broker == "memory":
            here = f"memory://{secrets.token_hex(4)}"  # not what an earlier facility of this process has left
            return {"broker": here, "redis": here}
        from datauploader_testing import servers  # noqa: PLC0415 - memory:// needs none

        nodes = self._broker_nodes
        loaded = None
        if self._operations:
            loaded = self.folder / "definitions.json"
            loaded.write_text(json.dumps(definitions([Station.parse(".".join(STATION))])), encoding="utf-8")
        rabbitmq = (
            servers.RabbitServer(definitions=loaded)
            if nodes == 1
            else servers.RabbitCluster(definitions=loaded, size=nodes)
        )
        for server in (rabbitmq, servers.RedisServer(appendonly=True)):
            self._servers.append(server)
            server.start()
        broker = rabbitmq.url if isinstance(rabbitmq, servers.RabbitCluster) else rabbitmq.address.url
        return {"broker": broker, "redis": self.servers["redis"].address.url}

    def _start_storage(self) -> dict[str, Any]:
        """Start the server of the storage, if it has one; return the definition of the remote."""
        if self._kind == "local":
            self.storage.mkdir(parents=True, exist_ok=True)
            return {"type": "local", "base": self.storage}
        from datauploader_sandbox import storages  # noqa: PLC0415 - as above

        server = storages.SERVERS[self._kind]()
        self._servers.append(server)
        server.__enter__()
        address = server.address
        self.storage = address.directory
        if "storage" in self._proxied:
            address = address.through(self._proxy("storage", address.port))
        return storages.definition(address)

    def _behind_a_proxy(self, name: str, address: str) -> str:
        port = urlsplit(address).port
        assert port is not None, f"{name} at {address} is no server that a proxy can stand before"
        return address.replace(f":{port}", f":{self._proxy(name, port)}")

    def _proxy(self, name: str, port: int) -> int:
        """Put a proxy before a port; return the port to use instead."""
        self.proxies[name] = proxy = FaultProxy(port)
        proxy.__enter__()
        return proxy.port

    def _document(self, addresses: Mapping[str, str], port: int) -> dict[str, Any]:
        facility, beamline, station = STATION
        document: dict[str, Any] = {
            "facility": facility,
            "beamline": beamline,
            "station": station,
            "broker": addresses["broker"],
            "state_dir": self.folder / "state",
            "log_level": "WARNING" if self.broker == "memory" else "INFO",
            "remotes": {"store": self._remote},
            "watcher": {"roots": [self.watched.resolve()], "scan_interval_s": 10.0},
            "catalog": {"create_investigations": True},
            "gateway": {"port": port, "redis": addresses["redis"]},
        }
        if self._operations:
            document["gateway"] |= {"operations_broker": self.broker_address}
        return _merge(document, self.catalogue.tables(addresses["catalogue"]))

    def wait(self) -> None:
        """Return when every service is ready, or raise with the reason why it is not."""
        end = time.monotonic() + READY_S
        problem = "it does not answer"
        while time.monotonic() < end:
            if isinstance(self._running, InManyProcesses):
                self._running.check()
            try:
                answer = httpx.get(f"{self.url}/health/ready", timeout=5)
            except httpx.TransportError:
                pass
            else:
                here = "watcher" not in self.services or self.stations_are_there()
                if answer.status_code == httpx.codes.OK and here:
                    return
                problem = answer.text
            time.sleep(0.1)
        raise RuntimeError(f"the gateway at {self.url} was not ready within {READY_S:.0f} s: {problem}")

    def stations_are_there(self) -> bool:
        """Look for the watcher's first report, so that an upload finds its station."""
        try:
            token = self._token = self._token or self.sign_in()  # one for all looks: sign-ins are counted
        except httpx.HTTPStatusError:
            return False  # the catalog has not answered yet
        answer = httpx.get(f"{self.url}/api/v1/stations", headers={"Authorization": f"Bearer {token}"}, timeout=30)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._token = ""  # Redis has forgotten it
        return any(not station["silent"] for station in answer.json().get("items", []))

    def sign_in(self, session: str = catalogues.ANNA) -> str:
        """Return a bearer token for one of the catalogue's people."""
        credentials = self.catalogue.credentials(session)
        answer = httpx.post(f"{self.url}/api/v1/tokens", json={**credentials, "name": "demo"}, timeout=10)
        answer.raise_for_status()
        return str(answer.json()["token"])


def _merge(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
