"""The worlds in which every catalogue test runs: memory, and each adapter against its double over HTTP."""

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Protocol

import httpx
import pytest

from datauploader_catalog.adapters.icat.catalogue import IcatCatalogue
from datauploader_catalog.adapters.memory import Fault, MemoryCatalogue
from datauploader_catalog.adapters.vuo.catalogue import VuoCatalogue
from datauploader_catalog.ports import Catalogue, CatalogueInvestigation, CatalogueUser
from datauploader_catalog.settings import IcatSettings, VuoSettings
from datauploader_sandbox.icat import SERVICE, IcatDouble
from datauploader_sandbox.vuo import VuoDouble, default_seed

ALWAYS = 1_000_000


class World(Protocol):
    """A catalogue, its oracle and its switches."""

    catalogue: Catalogue
    knows_accounts: bool
    """Whether it tells uid and gid of people."""
    clock_ns: int
    """Nanoseconds between the times that the catalogue tells apart."""

    def fail(self, operation: str, kind: str, times: int = 1, match: str = "") -> None:
        """Let calls of an operation fail: unavailable, timeout, lost, unreadable or refused."""

    def datasets(self) -> list[dict[str, Any]]:
        """Return what the catalogue holds, asked past the port."""

    def investigations(self) -> list[tuple[str, str]]:
        """Return name and visit of every investigation."""


class MemoryWorld:
    """The fake."""

    knows_accounts, clock_ns = True, 1

    def __init__(self) -> None:
        self.catalogue = MemoryCatalogue()
        seed = default_seed()
        for person in seed.people:
            theirs = [
                CatalogueInvestigation(
                    p.id,
                    p.name,
                    p.visit,
                    p.title,
                    p.base_dir,
                    p.active,
                    p.reason,
                    p.beamline,
                    date.fromisoformat(p.start),
                    date.fromisoformat(p.end),
                    p.principal_investigator,
                    p.description,
                )
                for p in seed.proposals
                if person.id in p.members
            ]
            self.catalogue.seed(
                person.session, CatalogueUser(person.id, person.account, person.uid, person.gid), theirs
            )

    def fail(self, operation: str, kind: str, times: int = 1, match: str = "") -> None:
        """Switch the fake's fault on."""
        self.catalogue.fail(operation, Fault("unavailable" if kind == "timeout" else kind), times=times, match=match)

    def datasets(self) -> list[dict[str, Any]]:
        """Read the fake's dictionaries."""
        held = self.catalogue
        return [
            {
                "id": d.id,
                "name": d.name,
                "investigation_id": d.investigation_id,
                "complete": d.complete,
                "description": held.descriptions[d.id],
                "datafiles": [
                    (f.path, f.size, f.checksum, f.location, f.mtime_ns) for f in held.datafiles[d.id].values()
                ],
                "parameters": sorted(
                    (datafile, p.name, p.value, p.units)
                    for (dataset_id, datafile), parameters in held.parameters.items()
                    for p in parameters.values()
                    if dataset_id == d.id
                ),
            }
            for d in held.datasets.values()
        ]

    def investigations(self) -> list[tuple[str, str]]:
        """Read the fake's dictionary."""
        return [(i.name, i.visit) for i in self.catalogue.known.values()]


class VuoWorld:
    """The adapter and the double, with a real connection between them."""

    knows_accounts, clock_ns = True, 1

    def __init__(self, double: VuoDouble, catalogue: VuoCatalogue, settings: VuoSettings, oracle: httpx.Client) -> None:
        self.double, self.catalogue, self.settings, self.oracle = double, catalogue, settings, oracle

    def fail(self, operation: str, kind: str, times: int = 1, match: str = "", **more: Any) -> None:
        """Plan a fault in the double; a refusal is HTTP 422, a plain error HTTP 500."""
        kinds = {"unavailable": ("error", 500), "refused": ("error", 422)}
        name, status = kinds.get(kind, (kind, 500))
        plan = {"procedure": getattr(self.settings.procedures, operation), "kind": name, "status": status}
        times = -1 if times == ALWAYS else times
        answer = self.oracle.post("/_double/faults", json={**plan, "times": times, "match": match, **more})
        assert answer.status_code == 200, answer.text

    def state(self) -> dict[str, Any]:
        """Ask the double's oracle."""
        state: dict[str, Any] = self.oracle.get("/_double/state").json()
        return state

    def datasets(self) -> list[dict[str, Any]]:
        """Put the oracle's answer into the form of the suite."""
        return [
            {
                "id": d["id"],
                "name": d["name"],
                "investigation_id": d["investigation_id"],
                "complete": d["complete"],
                "description": d["description"],
                "datafiles": [
                    (f["path"], f["size"], f["sha256"], f["location"], f["mtime_ns"]) for f in d["datafiles"]
                ],
                "parameters": sorted((p["datafile"], p["name"], p["value"], p["units"]) for p in d["parameters"]),
            }
            for d in self.state()["datasets"]
        ]

    def investigations(self) -> list[tuple[str, str]]:
        """Ask the double's oracle."""
        return [(i["name"], i["visit"]) for i in self.state()["investigations"]]


@pytest.fixture(scope="session")
def running_double() -> Iterator[VuoDouble]:
    """Run one double for all tests."""
    with VuoDouble() as running:
        yield running


@pytest.fixture(scope="session")
def oracle(running_double: VuoDouble) -> Iterator[httpx.Client]:
    """Give a connection to the double's own switches and contents."""
    with httpx.Client(base_url=running_double.url, trust_env=False) as client:
        yield client


@pytest.fixture
def double(running_double: VuoDouble, oracle: httpx.Client) -> VuoDouble:
    """Give the double as if it were new."""
    oracle.delete("/_double/state").raise_for_status()
    oracle.delete("/_double/faults").raise_for_status()
    return running_double


@pytest.fixture
def make_vuo(double: VuoDouble, oracle: httpx.Client) -> Iterator[Callable[..., VuoWorld]]:
    """Give a maker of adapters to that double, by settings; short time limits, so that faults are quick."""
    opened: list[Any] = []

    def make(**settings: Any) -> VuoWorld:
        values = {"base_url": double.url, "secret": double.secret, "timeout": 0.5, **settings}
        chosen = VuoSettings.model_validate(values)
        world = VuoWorld(double, VuoCatalogue(chosen), chosen, oracle)
        opened.append(world.catalogue)
        return world

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def vuo(make_vuo: Callable[..., VuoWorld]) -> VuoWorld:
    """Give the adapter against the double."""
    return make_vuo()


_ICAT_CALLS = {
    "identify": ("GET", "session/", ""),
    "list_investigations": ("GET", "entityManager", "FROM Investigation i JOIN"),
    "find_investigation": ("GET", "entityManager", "FROM Investigation i WHERE"),
    "find_dataset": ("GET", "entityManager", "ds.investigation.id = "),
    "create_investigation": ("POST", "entityManager", '{"Investigation":{"name"'),
    "create_dataset": ("POST", "entityManager", '{"Dataset":{"name"'),
    "add_datafiles": ("POST", "entityManager", '{"Datafile":'),
    "add_parameters": ("POST", "entityManager", 'Parameter":{'),
    "describe_dataset": ("POST", "entityManager", '"description":'),
    "describe_investigation": ("POST", "entityManager", '"summary":'),
    "complete_dataset": ("POST", "entityManager", '"complete":true'),
}
"""By operation: method, path, and what its query or entities hold."""


class IcatWorld:
    """ICAT's adapter and its double, with a real connection between them."""

    knows_accounts, clock_ns = False, 1_000_000

    def __init__(self, double: IcatDouble, catalogue: IcatCatalogue, oracle: httpx.Client) -> None:
        self.double, self.catalogue, self.oracle = double, catalogue, oracle

    def fail(self, operation: str, kind: str, times: int = 1, match: str = "", **more: Any) -> None:
        """Plan a fault in the double."""
        method, path, text = _ICAT_CALLS[operation]
        pattern = re.escape(text) + (f".*{re.escape(match)}" if match else "")
        kinds = {
            "unavailable": {"kind": "error", "status": 503},
            "internal": {"kind": "icat"},
            "refused": {"kind": "icat", "code": "VALIDATION", "message": "as told"},
        }
        plan = {"method": method, "path": path, "match": pattern, "times": -1 if times == ALWAYS else times}
        answer = self.oracle.post("/_double/faults", json=plan | kinds.get(kind, {"kind": kind}) | more)
        assert answer.status_code == 200, answer.text

    def state(self) -> dict[str, Any]:
        """Ask the double's oracle."""
        state: dict[str, Any] = self.oracle.get("/_double/state").json()
        return state

    def datasets(self) -> list[dict[str, Any]]:
        """Put the oracle's answer into the form of the suite."""
        return [
            {
                "id": str(d["id"]),
                "name": d["name"],
                "investigation_id": str(d["investigation"]),
                "complete": d["complete"],
                "description": d["description"],
                "datafiles": [
                    (f["name"], f["fileSize"], f["checksum"], f["location"], f["datafileModTime"] * 1_000_000)
                    for f in d["datafiles"]
                ],
                "parameters": sorted(
                    (
                        p["datafile"],
                        p["name"],
                        p["numericValue"] if p.get("stringValue") is None else p["stringValue"],
                        p["units"],
                    )
                    for p in d["parameters"]
                ),
            }
            for d in self.state()["datasets"]
        ]

    def investigations(self) -> list[tuple[str, str]]:
        """Ask the double's oracle."""
        return [(i["name"], i["visitId"]) for i in self.state()["investigations"]]


@pytest.fixture(scope="session")
def running_icat() -> Iterator[IcatDouble]:
    """Run one double of ICAT for all tests."""
    with IcatDouble() as running:
        yield running


@pytest.fixture
def make_icat(running_icat: IcatDouble) -> Iterator[Callable[..., IcatWorld]]:
    """Give a maker of adapters to the double as if it were new, by settings; short time limits make faults quick."""
    with contextlib.ExitStack() as opened:
        oracle = opened.enter_context(httpx.Client(base_url=running_icat.url, trust_env=False))
        oracle.delete("/_double/state").raise_for_status()

        def make(**settings: Any) -> IcatWorld:
            values = {
                "base_url": running_icat.url,
                "plugin": "simple",
                "username": SERVICE.name,
                "password": SERVICE.password,
                "facility": "SANDBOX",
                "base_dir": "/facility/store/{name}",
                "dataset_page": "https://portal.example.org/datasets/{dataset_id}",
                "closed_after_days": 30,
                "timezone": "UTC",
                "people_by": "id",
                "timeout": 1.0,
                **settings,
            }
            catalogue = IcatCatalogue(IcatSettings.model_validate(values))
            opened.callback(catalogue.close)
            return IcatWorld(running_icat, catalogue, oracle)

        yield make


@pytest.fixture
def icat(make_icat: Callable[..., IcatWorld]) -> IcatWorld:
    """Give ICAT's adapter against its double."""
    return make_icat()


@pytest.fixture(params=["memory", "vuo", "icat"])
def world(request: pytest.FixtureRequest) -> World:
    """Give each world in turn."""
    chosen: World = MemoryWorld() if request.param == "memory" else request.getfixturevalue(request.param)
    return chosen
