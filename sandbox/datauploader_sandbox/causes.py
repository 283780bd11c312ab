"""How soon the operations page names the cause of a fault, and whether it is one; faults in real processes.

`./dev causes` writes docs/causes.md with it.
"""

import asyncio
import re
import shutil
import ssl
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from datauploader.messaging.rabbit.administration import server_version
from datauploader_sandbox.browser.site import PASSWORD, Site
from datauploader_sandbox.facility import STATION, Facility
from datauploader_sandbox.run import Run
from datauploader_testing.waiting import eventually

LOOK_S = 0.5
NAMED_S = 15.0
"""Within which the page must name a cause."""
HOLD_S = 10.0
"""How long it is watched afterwards whether it stays one cause."""
WELL_S = 150.0
HERE = ".".join(STATION)
Named = dict[str, str]
"""What is called wrong, by its key."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is broken, what the page must call it, and how it is put right."""

    name: str
    key: str
    breaks: Callable[["Scene"], object]
    mends: Callable[["Scene"], object]
    within_s: float = NAMED_S
    hold_s: float = HOLD_S


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen of one fault."""

    fault: str
    seconds: float
    what: str
    causes: int
    """The most causes that stood there at once, from the naming on."""


class Scene:
    """A running facility with an operator who looks."""

    def __init__(self, facility: Facility) -> None:
        """Sign the operator in."""
        self.facility = facility
        self._client = httpx.Client(base_url=facility.url, timeout=20)
        self.sign_in()

    def sign_in(self) -> None:
        """Get a token, anew where Redis has lost the last one."""
        asked = {"method": "local", "username": "otto", "password": PASSWORD, "name": "causes"}
        answer = self._client.post("/api/v1/tokens", json=asked, headers={"Origin": self.facility.url})
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def _signed_in(self) -> bool:
        try:
            self.sign_in()
        except httpx.HTTPError:
            return False
        return True

    def causes(self) -> Named | None:
        """Return what the page calls wrong; None while nobody answers."""
        try:
            answer = self._client.get("/api/v1/operations")
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                return self._without_redis()
            answer.raise_for_status()
        except httpx.HTTPError:
            return None
        return {cause["key"]: cause["what"] for cause in answer.json()["causes"]}

    def _without_redis(self) -> Named | None:
        page = httpx.get(f"{self.facility.url}/operations/direct", auth=("otto", PASSWORD), timeout=20)
        found = re.findall(r'<li class="" data-cause="([^"]*)"><strong>(.*?)</strong>', page.text)
        return dict(found) if page.status_code == httpx.codes.OK else None

    def _calls(self, fault: Fault) -> Named:
        """Return what is called wrong, if this fault is among it."""
        seen = self.causes() or {}
        return seen if fault.key in seen else {}

    def _until_well(self, fault: Fault) -> None:
        end, seen = time.monotonic() + WELL_S, self.causes()
        while seen != {}:
            if time.monotonic() > end:
                raise RuntimeError(f"{fault.name} cannot be tried, because of {seen}")
            time.sleep(LOOK_S)
            seen = self.causes()

    def measure(self, fault: Fault) -> Measured:
        """Break something on a facility that is well, see what it is called, and put it right."""
        self._until_well(fault)
        began = time.monotonic()
        fault.breaks(self)
        what = f"{fault.name} is called {fault.key}"
        named = eventually(
            lambda: self._calls(fault), within_s=max(60.0, 2 * fault.within_s), every_s=LOOK_S, what=what
        )
        seconds, most, end = time.monotonic() - began, named, time.monotonic() + fault.hold_s
        while time.monotonic() < end:
            seen = self.causes()
            if seen and len(seen) > len(most):
                most = seen
            time.sleep(LOOK_S)
        fault.mends(self)
        if fault.key.startswith("redis"):
            eventually(self._signed_in, within_s=60, every_s=1, what="Redis keeps sessions again")
        if len(most) > 1:
            print(f"{fault.name}: {most}", flush=True)
        return Measured(fault.name, seconds, named[fault.key], len(most))


def _restart(service: str, **environment: str) -> Callable[[Scene], object]:
    def run(scene: Scene) -> None:
        processes = scene.facility.processes
        if processes.runs(service):
            processes.terminate(service)
        processes.start(service, **environment)

    return run


def _wrong(user: str, *services: str) -> Callable[[Scene], object]:
    """Start services again as this user with a password that the broker does not know."""

    def run(scene: Scene) -> None:
        url = urlsplit(scene.facility.broker_address)
        wrong = url._replace(netloc=f"{user}:wrong@{url.hostname}:{url.port}").geturl()
        for service in services:
            scene.facility.processes.terminate(service)
        for service in services:
            scene.facility.processes.start(service, DATAUPLOADER_BROKER=wrong)

    return run


def _right(user: str, *services: str) -> Callable[[Scene], object]:
    """Start services again as always, and have this user let in once, as it would be that was given its password."""

    def run(scene: Scene) -> None:
        for service in services:
            _restart(service)(scene)
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        scene.facility.servers["rabbitmq"].management.create_user("/", user, PASSWORD, **everything)
        url = urlsplit(scene.facility.broker_address)
        server_version(url._replace(netloc=f"{user}:{quote(PASSWORD, safe='')}@{url.hostname}:{url.port}").geturl())

    return run


def _each(step: Callable[[Scene, str], object], *services: str) -> Callable[[Scene], object]:
    return lambda scene: [step(scene, service) for service in services]


def _away(scene: Scene, server: str) -> None:
    scene.facility.proxies[server].refuse()
    scene.facility.proxies[server].cut()


def _storage_away(scene: Scene) -> None:
    _away(scene, "storage")
    run = Run(scene.facility, scene.facility.folder / "ledger.jsonl")
    run.request(f"run-{time.time_ns()}")
    (scene.facility.watched / f"{time.time_ns()}.dat").write_bytes(b"x" * 1000)


def _park(scene: Scene) -> None:
    broker = scene.facility.servers["rabbitmq"].management
    broker.publish("/", "amq.default", b"no event", {"delivery_mode": 2}, key="catalog.work")


def _unpark(scene: Scene) -> None:
    scene.facility.servers["rabbitmq"].ctl("purge_queue", "catalog.work.parked")


def _certificate(days: int) -> Callable[[Scene], object]:
    """Let the gateway reach the broker by TLS, behind a certificate that ends so soon."""

    def run(scene: Scene) -> None:
        front, address = _front(scene, days)
        _restart("gateway", DATAUPLOADER_BROKER=f"{address}?cafile={front.certificate}")(scene)

    return run


def _untrusted(*services: str) -> Callable[[Scene], object]:
    """Let services meet a certificate of the broker whose signer they do not know."""

    def run(scene: Scene) -> None:
        _, address = _front(scene, 90)
        for service in services:
            scene.facility.processes.terminate(service)
        for service in services:
            scene.facility.processes.start(service, DATAUPLOADER_BROKER=address)

    return run


def _front(scene: Scene, days: int) -> tuple["TlsFront", str]:
    """Put TLS before the broker, with a certificate that ends so soon; return it and the broker's address there."""
    url = urlsplit(scene.facility.broker_address)
    front = TlsFront(scene.facility.folder, url.port or 0, days)
    front.start()
    place = f"{url.username}:{url.password}@localhost:{front.port}"
    return front, url._replace(scheme="amqps", netloc=place).geturl()


class TlsFront(threading.Thread):
    """Speaks TLS before a port of this machine, with a certificate of its own."""

    def __init__(self, folder: Path, port: int, days: int) -> None:
        """Make a certificate that is valid for so many days."""
        super().__init__(daemon=True)
        self.certificate, key = folder / "front.crt", folder / "front.key"
        _write_certificate(self.certificate, key, days)
        self._behind = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(self.certificate, key)
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        )
        self.port = int(self._server.sockets[0].getsockname()[1])

    def run(self) -> None:
        """Serve until the program ends."""
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", self._behind)

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            except OSError:
                pass
            finally:
                target.close()

        await asyncio.gather(carry(reader, outer), carry(inner, writer))


def _write_certificate(certificate: Path, key_file: Path, days: int) -> None:
    """Sign a certificate for localhost with its own key."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    end = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )


FAULTS = (
    Fault("catalog stopped", "service:catalog:away",
          lambda s: s.facility.processes.terminate("catalog"), _restart("catalog")),
    Fault("catalog killed", "service:catalog:away",
          lambda s: s.facility.processes.kill("catalog"), _restart("catalog")),
    Fault("catalog hangs", "service:catalog:away",
          lambda s: s.facility.processes.pause("catalog"), lambda s: s.facility.processes.resume("catalog")),
    Fault("catalog: wrong password at the broker", "service:catalog:refused",
          _wrong("catalog", "catalog"), _right("catalog", "catalog")),
    Fault("user office away", "catalogue:catalogue:away",
          lambda s: _away(s, "catalogue"),
          lambda s: s.facility.proxies["catalogue"].accept()),
    Fault("broker killed", "broker:broker:away",
          lambda s: s.facility.servers["rabbitmq"].kill(), lambda s: s.facility.servers["rabbitmq"].start(),
          hold_s=40.0),
    Fault("broker's disk full", "broker:broker:blocked",
          lambda s: s.facility.servers["rabbitmq"].set_disk_alarm(),
          lambda s: s.facility.servers["rabbitmq"].set_disk_alarm(on=False), hold_s=40.0),
    Fault("Redis killed", "redis:redis:away",
          lambda s: s.facility.servers["redis"].kill(), lambda s: s.facility.servers["redis"].start()),
    Fault("station: watcher and transfer killed", f"station:{HERE}:away",
          _each(lambda s, name: s.facility.processes.kill(name), "watcher", "transfer"),
          _each(lambda s, name: s.facility.processes.start(name), "watcher", "transfer"), hold_s=40.0),
    Fault("station: wrong password at the broker", f"station:{HERE}:refused", _wrong(HERE, "watcher", "transfer"),
          _right(HERE, "watcher", "transfer")),
    Fault("station hangs (its network is cut, it swaps)", f"station:{HERE}:away",
          _each(lambda s, name: s.facility.processes.pause(name), "watcher", "transfer"),
          _each(lambda s, name: s.facility.processes.resume(name), "watcher", "transfer")),
    Fault("station does not know who signed the broker's certificate", f"station:{HERE}:away",
          _untrusted("watcher", "transfer"), _each(lambda s, name: _restart(name)(s), "watcher", "transfer")),
    Fault("transfer killed", f"station:{HERE}:transfer",
          lambda s: s.facility.processes.kill("transfer"), _restart("transfer"), hold_s=40.0),
    Fault("harvester stopped", "harvester:nexus:away",
          lambda s: s.facility.processes.terminate("nexus-harvester"), _restart("nexus-harvester")),
    Fault("harvester: wrong password at the broker", "harvester:nexus:refused",
          _wrong("nexus", "nexus-harvester"), _right("nexus", "nexus-harvester")),
    Fault("message that nobody can read", "service:catalog:parked-catalog.work", _park, _unpark),
    Fault("certificate of the broker ends in 6 days", "broker:broker:certificate",
          _certificate(6), _restart("gateway")),
    Fault("certificate of the broker has expired", "broker:broker:away", _certificate(-1), _restart("gateway"),
          within_s=25.0),  # the gateway, which tells of it, starts again meanwhile
    Fault("storage away", "storage:store:away", _storage_away, lambda s: s.facility.proxies["storage"].accept()),
)  # fmt: skip
NOT_MADE = (
    "gateway stopped: no page answers; an open one says that nothing is known since its last answer",
    "storage full, storage with a certificate that is not trusted: shown in transfer's words, as *storage away* is",
    "memory alarm of the broker: the same signal as its full disk",
    "queue deleted: its service makes it again within a second",
)


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Run a facility whose services, servers and storage can be broken."""
    how: dict[str, Any] = {
        "broker": "rabbitmq",
        "storage": "webdav",
        "proxied": ("catalogue", "storage"),
        "operations": True,
    }
    with Site(folder, settings={"gateway": {"harvesters": ["nexus"]}}, **how) as site:
        yield Scene(site.facility)


def measure(faults: Sequence[Fault], folder: Path) -> list[Measured]:
    """Make one fault after the other in one facility."""
    found = []
    with scene(folder) as here:
        for fault in faults:
            found.append(here.measure(fault))
            print(f"{fault.name}: {found[-1].seconds:.1f} s, {found[-1].causes} cause(s)", flush=True)
    return found


def rows(page: str) -> dict[str, str]:
    """Return the lines of a table that was written before, by their faults."""
    known = {fault.name for fault in FAULTS}
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return {name: line for line in lines if (name := line.split(" | ")[0].removeprefix("| ")) in known}


def table(found: Sequence[Measured], now: datetime, before: Mapping[str, str]) -> str:
    """Write the page; what was not made this time stays as it was before."""
    when = f"{now:%Y-%m-%d %H:%M}"
    made = {one.fault: f"| {one.fault} | {one.seconds:.1f} | {one.what} | {one.causes} | {when} |" for one in found}
    known = {**before, **made}
    lines = [
        "# Seconds until the page names the cause",
        "",
        "Made by `./dev causes`: each fault in a facility of real processes, watched over `GET /api/v1/operations`,",
        "without Redis over `/operations/direct`. *Seconds* is from before the fault, the end of a process included,",
        "until the cause is named; *causes* is how many stood on the page at once from then on, what follows from them",
        "not counted.",
        "",
        "| Fault | Seconds | What the page says | Causes | Run (UTC) |",
        "|---|---|---|---|---|",
        *(known[fault.name] for fault in FAULTS if fault.name in known),
        "",
        "A station that hangs, or whose network is cut, keeps its connection at the broker for a minute; it is missed",
        "when all its services are late with their reports, which come every 10 seconds.",
        "",
        "Not made here:",
        "",
        *(f"- {text}" for text in NOT_MADE),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure the faults whose names hold a word, or all, and write the page."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults whose names hold one of these")
    parser.add_argument("--write", type=Path, help="write this page; rows of faults that were not made stay")
    options = parser.parse_args()
    chosen = [one for one in FAULTS if not options.words or any(word in one.name for word in options.words)]
    folder = Path(tempfile.mkdtemp(prefix="causes-"))
    try:
        found = measure(chosen, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.write:
        before = rows(options.write.read_text(encoding="utf-8")) if options.write.exists() else {}
        options.write.write_text(table(found, datetime.now(UTC), before), encoding="utf-8")
    late = [one for fault, one in zip(chosen, found, strict=True) if one.seconds > fault.within_s or one.causes != 1]
    for one in late:
        print(f"too late, or not one cause: {one}", flush=True)
    return 1 if late else 0


if __name__ == "__main__":
    raise SystemExit(main())
