"""The faults: how each is made in real processes, what the page must call it, and the alert that must tell of it."""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote, urlsplit

from datauploader.messaging.rabbit.administration import server_version
from datauploader_sandbox.browser.site import PASSWORD
from datauploader_sandbox.causes.scene import Fault, Scene, Step
from datauploader_sandbox.causes.tls_front import TlsFront
from datauploader_sandbox.facility import STATION
from datauploader_sandbox.run import Run

HERE = ".".join(STATION)
_FRONTS: list[TlsFront] = []
"""Where the gateway was led last."""


def _restart(service: str, **environment: str) -> Step:
    def run(scene: Scene) -> None:
        processes = scene.facility.processes
        if processes.runs(service):
            processes.terminate(service)
        processes.start(service, **environment)

    return run


def _wrong(user: str, *services: str) -> Step:
    """Start services again as this user with a password that the broker does not know."""

    def run(scene: Scene) -> None:
        url = urlsplit(scene.facility.broker_address)
        wrong = url._replace(netloc=f"{user}:wrong@{url.hostname}:{url.port}").geturl()
        for service in services:
            scene.facility.processes.terminate(service)
        for service in services:
            scene.facility.processes.start(service, DATAUPLOADER_BROKER=wrong)

    return run


def _right(user: str, *services: str) -> Step:
    """Start services again as always, and have this user let in once, as it would be that was given its password."""

    def run(scene: Scene) -> None:
        for service in services:
            _restart(service)(scene)
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        scene.facility.servers["rabbitmq"].management.create_user("/", user, PASSWORD, **everything)
        url = urlsplit(scene.facility.broker_address)
        server_version(url._replace(netloc=f"{user}:{quote(PASSWORD, safe='')}@{url.hostname}:{url.port}").geturl())

    return run


def _each(step: Callable[[Scene, str], object], *services: str) -> Step:
    return lambda scene: [step(scene, service) for service in services]


def _away(scene: Scene, server: str) -> None:
    scene.facility.proxies[server].refuse()
    scene.facility.proxies[server].cut()


def _storage_away(scene: Scene) -> None:
    _away(scene, "storage")
    _upload(scene)


def _upload(scene: Scene) -> None:
    """Give the station a file to bring to the storage."""
    run = Run(scene.facility, scene.facility.folder / "ledger.jsonl")
    run.request(f"run-{time.time_ns()}")
    (scene.facility.watched / f"{time.time_ns()}.dat").write_bytes(b"x" * 1000)


def _storage_full(scene: Scene) -> None:
    """Put a small disk where the storage keeps its files, and fill it."""
    if os.geteuid() != 0:
        raise PermissionError("mounting a small disk needs root: run this as root, or name other faults")
    where = scene.facility.storage
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", where], check=True)
    with suppress(OSError):  # now it is full
        (where / "ballast").write_bytes(bytes(1024 * 1024))
    _upload(scene)


def _storage_emptied(scene: Scene) -> None:
    subprocess.run(["umount", "-l", scene.facility.storage], check=False)  # it may have been refused


def _park(scene: Scene) -> None:
    broker = scene.facility.servers["rabbitmq"].management
    broker.publish("/", "amq.default", b"no event", {"delivery_mode": 2}, key="catalog.work")


def _unpark(scene: Scene) -> None:
    scene.facility.servers["rabbitmq"].ctl("purge_queue", "catalog.work.parked")


def _delete_queue(scene: Scene) -> None:
    scene.facility.servers["rabbitmq"].management.delete_queue("/", "catalog.work")


def _is_consumed(scene: Scene) -> bool:
    consumers = scene.facility.servers["rabbitmq"].management.get("consumers", "/")
    return any(one["queue"]["name"] == "catalog.work" for one in consumers)


def _gateway_away(scene: Scene) -> bool:
    return scene.causes() is None


def _behind_tls(days: int) -> Step:
    """Let the gateway reach the broker by TLS, behind a certificate that ends so soon."""

    def run(scene: Scene) -> None:
        front, address = _front(scene, days)
        _restart("gateway", DATAUPLOADER_BROKER=f"{address}?cafile={front.certificate}")(scene)
        _FRONTS[:] = [front]

    return run


def _expired(_: Scene) -> None:
    _FRONTS[0].expire()


def _untrusted(*services: str) -> Step:
    """Let services meet a certificate of the broker whose signer they do not know."""

    def run(scene: Scene) -> None:
        _, address = _front(scene, 90)
        for service in services:
            scene.facility.processes.terminate(service)
        for service in services:
            scene.facility.processes.start(service, DATAUPLOADER_BROKER=address)

    return run


def _front(scene: Scene, days: int) -> tuple[TlsFront, str]:
    """Put TLS before the broker, with a certificate that ends so soon; return it and the broker's address there."""
    url = urlsplit(scene.facility.broker_address)
    front = TlsFront(scene.facility.folder, url.port or 0, days)
    front.start()
    place = f"{url.username}:{url.password}@localhost:{front.port}"
    return front, url._replace(scheme="amqps", netloc=place).geturl()


FAULTS = (
    Fault("catalog stopped", "service:catalog:away", "ServiceDown",
          lambda s: s.facility.processes.terminate("catalog"), _restart("catalog")),
    Fault("catalog killed", "service:catalog:away", "ServiceDown",
          lambda s: s.facility.processes.kill("catalog"), _restart("catalog")),
    Fault("catalog hangs", "service:catalog:away", "ServiceDown",
          lambda s: s.facility.processes.pause("catalog"), lambda s: s.facility.processes.resume("catalog")),
    Fault("catalog: wrong password at the broker", "service:catalog:refused", "BrokerUnreachable",
          _wrong("catalog", "catalog"), _right("catalog", "catalog")),
    Fault("gateway stopped", "", "ServiceDown",
          lambda s: s.facility.processes.terminate("gateway"), _restart("gateway"), shows=_gateway_away,
          says="no page answers; an open one says that nothing is known since its last answer"),
    Fault("user office away", "catalogue:catalogue:away", "CatalogueAway",
          lambda s: _away(s, "catalogue"),
          lambda s: s.facility.proxies["catalogue"].accept()),
    Fault("broker killed", "broker:broker:away", "BrokerDown",
          lambda s: s.facility.servers["rabbitmq"].kill(), lambda s: s.facility.servers["rabbitmq"].start(),
          hold_s=40.0),
    Fault("broker's disk full", "broker:broker:blocked", "BrokerBlocksPublishers",
          lambda s: s.facility.servers["rabbitmq"].set_disk_alarm(),
          lambda s: s.facility.servers["rabbitmq"].set_disk_alarm(on=False), hold_s=40.0),
    Fault("queue deleted at the broker", "", "", _delete_queue, shows=_is_consumed, hold_s=60.0,
          says="its service has made it again, and consumes it",
          quiet="none: it is made again before anything is missed"),
    Fault("Redis killed", "redis:redis:away", "RedisAway",
          lambda s: s.facility.servers["redis"].kill(), lambda s: s.facility.servers["redis"].start()),
    Fault("station: watcher and transfer killed", f"station:{HERE}:away", "StationSilent",
          _each(lambda s, name: s.facility.processes.kill(name), "watcher", "transfer"),
          _each(lambda s, name: s.facility.processes.start(name), "watcher", "transfer"), hold_s=40.0),
    Fault("station: wrong password at the broker", f"station:{HERE}:refused", "StationSilent",
          _wrong(HERE, "watcher", "transfer"), _right(HERE, "watcher", "transfer")),
    Fault("station hangs (its network is cut, it swaps)", f"station:{HERE}:away", "StationSilent",
          _each(lambda s, name: s.facility.processes.pause(name), "watcher", "transfer"),
          _each(lambda s, name: s.facility.processes.resume(name), "watcher", "transfer")),
    Fault("station does not know who signed the broker's certificate", f"station:{HERE}:away", "StationSilent",
          _untrusted("watcher", "transfer"), _each(lambda s, name: _restart(name)(s), "watcher", "transfer")),
    Fault("transfer killed", f"station:{HERE}:transfer", "StationServiceSilent",
          lambda s: s.facility.processes.kill("transfer"), _restart("transfer"), hold_s=40.0),
    Fault("harvester stopped", "harvester:nexus:away", "HarvesterStopped",
          lambda s: s.facility.processes.terminate("nexus-harvester"), _restart("nexus-harvester")),
    Fault("harvester: wrong password at the broker", "harvester:nexus:refused", "HarvesterStopped",
          _wrong("nexus", "nexus-harvester"), _right("nexus", "nexus-harvester")),
    Fault("message that nobody can read", "service:catalog:parked-catalog.work", "MessagesParked", _park, _unpark),
    Fault("certificate of the broker ends in 6 days", "broker:broker:certificate", "CertificateExpires",
          _behind_tls(6), _restart("gateway")),
    Fault("certificate of the broker has expired", "broker:broker:away", "BrokerUnreachable",
          _expired, _restart("gateway"), prepares=_behind_tls(90), word="expired"),
    Fault("storage away", "storage:store:away", "StorageAway",
          _storage_away, lambda s: s.facility.proxies["storage"].accept(), word="reached"),
    Fault("storage full", "storage:store:away", "StorageFull", _storage_full, _storage_emptied, word="full"),
)  # fmt: skip
NOT_MADE = (
    "storage with a certificate that is not trusted: shown in transfer's words, as *storage away* is",
    "memory alarm of the broker: the same signal as its full disk",
)
