"""A gateway as it runs: real HTTP on a free port, the in-process broker, Redis' stand-in, an answering catalogue."""

import json
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from datauploader.contracts import (
    CataloguedFile,
    DatasetCompleted,
    Destination,
    Event,
    EventData,
    FileCatalogued,
    FileReady,
    FileStored,
    FileVersion,
    Station,
    StationReported,
    StoredFile,
    UploadOpened,
    UploadSealed,
)
from datauploader.contracts.model import Question
from datauploader.contracts.questions import (
    CatalogCondition,
    CreateInvestigation,
    DatasetState,
    Folder,
    FolderEntry,
    HowIsTheCatalog,
    Identity,
    Investigations,
    InvestigationSummary,
    ListFolder,
    ListInvestigations,
    LookAtDataset,
    MayUpload,
    SignInAtCatalogue,
    UploadRight,
    WhoIs,
)
from datauploader.errors import QuestionRefused
from datauploader.messaging.memory.bus import MemoryBroker
from datauploader.messaging.topology import catalog_queue, transfer_queue, watcher_queue
from datauploader.runtime.config import Settings
from datauploader.runtime.service import Context
from datauploader_gateway import redis_client
from datauploader_gateway.projection import keys
from datauploader_gateway.service import GatewayService
from datauploader_gateway.settings import GatewaySettings
from datauploader_sandbox.provider import Browser, IdentityProvider
from datauploader_sandbox.provider.server import AUDIENCE, CLIENT, SECRET
from datauploader_testing.servers import MissingProgramError
from datauploader_testing.servers.ports import free_port
from datauploader_testing.waiting import eventually

STATION = Station(facility="elettra", beamline="xrd1", station="ws01")
OTHER = Station(facility="elettra", beamline="xrd2", station="ws01")
PASSWORD = "correct horse"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""Cheap, because many tests sign in."""
ACCOUNTS = f"""
[[account]]
name = "anna"
user_id = "7"
password = "{HASH}"
full_name = "Anna Rossi"

[[account]]
name = "bruno"
user_id = "8"
password = "{HASH}"

[[account]]
name = "stella"
user_id = "20"
password = "{HASH}"
role = "staff"
beamlines = ["elettra.xrd1"]

[[account]]
name = "otto"
user_id = "30"
password = "{HASH}"
role = "operator"
"""


RULES = (
    {"value": "operators", "role": "operator"},
    {"value": "xrd1-staff", "role": "staff", "beamlines": ("elettra.xrd1",)},
    {"value": "users", "role": "user"},
)
"""What the groups at the identity provider mean here."""


class Catalogue:
    """Answers the catalogue's questions on the bus; what it says can be changed."""

    def __init__(self) -> None:
        self.base_dir = ""
        self.investigations = Investigations(items=(InvestigationSummary(id="100", title="Thin films"),))
        self.refusal: QuestionRefused | None = None
        """Why no investigation can be made."""

        self.patience: int | None = None
        """How often somebody still may upload; None: always."""
        self.condition = CatalogCondition()
        self.asked: list[Question] = []
        self.datasets: dict[str, DatasetState] = {}
        """Those that are not free."""

    def __call__(self, question: Question) -> Any:
        """Answer."""
        self.asked.append(question)
        if isinstance(question, SignInAtCatalogue):
            raise QuestionRefused("not-signed-in", "The catalogue does not accept this name and password.")
        if isinstance(question, WhoIs):
            if question.session != "good-session":
                raise QuestionRefused("not-signed-in", "the VUO does not know this session")
            return Identity(user_id="7", name="rossi", unix_user="rossi")
        if isinstance(question, HowIsTheCatalog):
            return self.condition
        if isinstance(question, MayUpload):
            allowed = question.investigation in ("100", "200") and self.patience != 0
            if self.patience:
                self.patience -= 1
            detail = "" if allowed else f"user {question.user_id} is not on proposal {question.investigation}"
            return UploadRight(allowed=allowed, detail=detail, base_dir=self.base_dir)
        if isinstance(question, LookAtDataset):
            return self.datasets.get(question.dataset, DatasetState(free=True))
        if isinstance(question, CreateInvestigation):
            if self.refusal:
                raise self.refusal
            said = question.model_dump(include={"title", "visit", "beamline", "start", "end"})
            return InvestigationSummary(id=f"made-{question.investigation}", name=question.investigation, **said)
        assert isinstance(question, ListInvestigations)
        return self.investigations


def list_folder(question: Question) -> Folder:
    """Answer for the station."""
    assert isinstance(question, ListFolder)
    if question.path not in ("", "/data"):
        raise QuestionRefused("not-allowed", f"{question.path} is not below a root of this station")
    entries = (FolderEntry(name="scan1", kind="folder"), FolderEntry(name="one.nxs", kind="file", size=9))
    return Folder(path=question.path, entries=entries, total=2)


TLS = ssl.create_default_context()
"""Made once: it reads a hundred certificates, and nothing here is encrypted."""


class Facility:
    """The gateway and what it lives with."""

    def __init__(self, directory: Path, redis_url: str = "", **settings: Any) -> None:
        self.url = f"memory://{uuid.uuid4()}"
        self.redis_url = redis_url or self.url
        self.broker = MemoryBroker.shared(self.url)
        self.bus = self.broker.bus("others")
        self.catalogue = Catalogue()
        (directory / "accounts.toml").write_text(ACCOUNTS)
        self.common = Settings(
            facility="elettra", beamline="xrd1", station="server", state_dir=directory,
            stations=(STATION.key, OTHER.key), remotes={"archive": {"type": "local"}},
        )  # fmt: skip
        defaults: dict[str, Any] = {
            "port": 0, "redis": self.redis_url, "accounts": directory / "accounts.toml", "watch_interval_s": 0.05,
            "ask_timeout_s": 1,
        }  # fmt: skip
        self.settings = GatewaySettings(**defaults | settings)
        self.gateway = self._gateway()
        self._clients: list[httpx.Client] = []

    def _gateway(self) -> GatewayService:
        return GatewayService(Context(self.common, self.broker.bus("gateway")), self.settings)

    def open(self) -> None:
        """Start the gateway and everybody that it speaks to."""
        self.broker.declare(catalog_queue())
        for station in (STATION, OTHER):
            self.broker.declare(watcher_queue(station))
            self.broker.declare(transfer_queue(station))
            self.bus.answer("watcher", list_folder, station=station)
        self.bus.answer("catalog", self.catalogue)
        self.gateway.start()
        self.whole()

    def whole(self) -> None:
        """Wait until the view is complete."""
        eventually(lambda: not self.gateway.checks()[1].detail and self.redis().exists(keys.MARKER))

    def close(self) -> None:
        """Stop all of it."""
        for client in self._clients:
            client.close()
        self.gateway.stop(5)
        self.bus.close()

    def again(self) -> None:
        """Stop the gateway and start it anew on the same state."""
        self.gateway.stop(5)
        self.gateway = self._gateway()
        self.gateway.start()

    def redis(self) -> Any:
        """Return a client of the gateway's Redis."""
        return redis_client.connect(self.redis_url)

    def client(self, name: str = "", **headers: str) -> httpx.Client:
        """Return a browser, signed in as this account unless the name is empty."""
        url = self.gateway.url
        client = httpx.Client(base_url=url, headers={"Origin": url, **headers}, timeout=10, verify=TLS)
        self._clients.append(client)
        if name:
            answer = client.post("/api/v1/session", json=credentials(name))
            assert answer.status_code == 200, answer.text
        return client

    def say(self, data: EventData, station: Station = STATION) -> Event[EventData]:
        """Publish an event of another service."""
        event: Event[EventData] = Event(data=data, station=station, service="test")
        self.bus.publish(event).result(60)
        return event


def credentials(name: str, password: str = PASSWORD) -> dict[str, str]:
    """Return the body of a sign-in."""
    return {"method": "local", "username": name, "password": password}


def wish(**changes: Any) -> dict[str, Any]:
    """Return the body of a sound request for an upload."""
    asked: dict[str, Any] = {
        "investigation": "100", "dataset": {"name": "scan1"}, "station": STATION.key, "path": "/data/scan1",
        "mode": "batch",
    }  # fmt: skip
    return asked | changes


def versions(count: int, first: int = 0) -> tuple[FileVersion, ...]:
    """Return versions of so many files of ten bytes."""
    return tuple(
        FileVersion.of(b"f%05d.tif" % n, size=10, mtime_ns=1, sha256=f"{n:064x}", revision=1)
        for n in range(first, first + count)
    )


def life_of(upload_id: str, count: int) -> Sequence[EventData]:
    """Return everything that happens to an upload of so many files."""
    there, files = Destination(remote="archive", location="100/scan1"), versions(count)
    digest = "0" * 64
    stored = tuple(StoredFile(file=f, object=f.path, state="verified", method="read back") for f in files)
    known = tuple(CataloguedFile(file=f, state="verified") for f in files)
    return (
        UploadOpened(upload_id=upload_id),
        FileReady(upload_id=upload_id, root="/data/scan1", destination=there, files=files),
        UploadSealed(upload_id=upload_id, files=count, bytes=10 * count, left_out=0, manifest_sha256=digest),
        FileStored(upload_id=upload_id, destination=there, files=stored),
        FileCatalogued(upload_id=upload_id, dataset_id="d1", files=known),
        DatasetCompleted(
            upload_id=upload_id, dataset_id="d1", files=count, bytes=10 * count, manifest_sha256=digest,
            url="https://vuo/d1",
        ),
    )  # fmt: skip


def report(service: str = "watcher", interval_s: float = 10, **changes: Any) -> StationReported:
    """Return a station's report."""
    said: dict[str, Any] = {"version": "1", "host": "ws01", "state": "ok"}
    return StationReported(service=service, interval_s=interval_s, **said | changes)


class Stream:
    """An event stream that is read in a thread of its own."""

    def __init__(self, client: httpx.Client, path: str, after: str = "") -> None:
        self.events: list[tuple[str, str, Any]] = []
        """Kind, position and data of everything that came."""
        self.status = 0
        self.ended = threading.Event()
        self._client, self._path = client, path
        self._headers = {"Last-Event-ID": after} if after else {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        eventually(lambda: self.status, what="the stream's head")

    def kinds(self) -> list[str]:
        """Return the kinds of the events so far."""
        return [kind for kind, _, _ in self.events]

    def wait_for(self, kind: str) -> Any:
        """Wait for the first event of a kind; return its data."""
        return eventually(lambda: [d for k, _, d in self.events if k == kind], what=f"{kind}, not {self.kinds()}")[0]

    def _read(self) -> None:
        try:
            with self._client.stream("GET", self._path, headers=self._headers, timeout=20) as answer:
                self.status = answer.status_code
                self._parse(answer.iter_lines())
        except httpx.TransportError:
            self.status = self.status or -1
        self.ended.set()

    def _parse(self, lines: Iterator[str]) -> None:
        block: dict[str, str] = {}
        for line in lines:
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                block[name] = value
            elif not line and block:
                self.events.append((block.get("event", ""), block.get("id", ""), json.loads(block.get("data", "null"))))
                block = {}


@pytest.fixture
def open_facility(tmp_path: Path) -> Iterator[Callable[..., Facility]]:
    """Open facilities with settings of one's own."""
    opened: list[Facility] = []

    def make(redis_url: str = "", **settings: Any) -> Facility:
        facility = Facility(tmp_path, redis_url, **settings)
        opened.append(facility)
        facility.open()
        return facility

    yield make
    for facility in opened:
        facility.close()


@pytest.fixture
def facility(open_facility: Callable[..., Facility]) -> Facility:
    """Return a running gateway with its surroundings."""
    return open_facility()


@pytest.fixture(scope="session")
def gateway_port() -> int:
    """Return the port of every gateway that people sign in to by OIDC: the provider knows it by its address."""
    return free_port()


@pytest.fixture(scope="session")
def provider(gateway_port: int) -> Iterator[IdentityProvider]:
    """Give the session's identity provider, a process of its own."""
    try:
        server = IdentityProvider(f"http://127.0.0.1:{gateway_port}")
    except MissingProgramError as missing:
        pytest.fail(str(missing), pytrace=False)
    with server:
        yield server


def oidc(provider: IdentityProvider, **changes: Any) -> dict[str, Any]:
    """Return the settings of a gateway that people sign in to by OIDC."""
    asked = {
        "issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET, "name": "Elettra",
        "scopes": ("openid", "profile", "groups"), "audience": AUDIENCE,
    }  # fmt: skip
    return {"oidc": asked | changes, "roles": RULES}


@pytest.fixture
def signing_in(open_facility: Callable[..., Facility], provider: IdentityProvider, gateway_port: int) -> Any:
    """Open gateways that people sign in to by OIDC."""

    def make(redis_url: str = "", **changes: Any) -> Facility:
        settings = {name: changes.pop(name) for name in list(changes) if name in GatewaySettings.model_fields}
        return open_facility(redis_url, **({"port": gateway_port} | oidc(provider, **changes) | settings))

    return make


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Give a browser."""
    opened = Browser()
    yield opened
    opened.close()


@pytest.fixture
def scene() -> Any:
    """Return this module's builders, because test modules do not import each other."""
    import types

    return types.SimpleNamespace(**{name: value for name, value in globals().items() if not name.startswith("_")})
