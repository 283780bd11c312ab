"""The worlds in which every catalogue test runs: memory, and each adapter against its double over HTTP."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Protocol

import httpx
import pytest
import stamina

from datauploader.plugins.catalogue.port import Catalogue, CatalogueInvestigation, CatalogueUser
from datauploader_catalog.adapters.memory import Fault, MemoryCatalogue
from datauploader_catalog.adapters.scicat.catalogue import ScicatCatalogue
from datauploader_catalog.adapters.vuo.catalogue import VuoCatalogue
from datauploader_catalog.settings import ScicatSettings, VuoSettings
from datauploader_sandbox.catalogues import ScicatSwitches, VuoSwitches
from datauploader_sandbox.scicat import PASSWORD, SERVICE, ScicatDouble
from datauploader_sandbox.vuo import VuoDouble, default_seed

from .double_world import ALWAYS, DoubleWorld  # noqa: F401 - ALWAYS is for the tests
from .folder_world import folder  # noqa: F401 - a fixture
from .icat_world import icat, make_icat, running_icat  # noqa: F401 - fixtures


class World(Protocol):
    """A catalogue, its oracle and its switches."""

    catalogue: Catalogue
    knows_accounts: bool
    """Whether it tells uid and gid of people."""
    largest_file: int
    """Bytes of the largest file whose size the catalogue knows exactly."""
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

    knows_accounts, largest_file, clock_ns = True, 2**53 + 1, 1

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


class VuoWorld(DoubleWorld):
    """VUO's adapter and its double."""

    knows_accounts, largest_file, clock_ns = True, 2**53 + 1, 1

    def __init__(self, double: VuoDouble, catalogue: VuoCatalogue, settings: VuoSettings, oracle: httpx.Client) -> None:
        self.double, self.catalogue, self.settings, self.oracle = double, catalogue, settings, oracle
        self.switches = VuoSwitches(double.url)

    def investigations(self) -> list[tuple[str, str]]:
        """Ask the double's oracle."""
        return [(i["name"], i["visit"]) for i in self.state()["investigations"]]


class ScicatWorld(DoubleWorld):
    """SciCat's adapter and its double, in one of the two interfaces."""

    knows_accounts, largest_file, clock_ns = True, 2**53, 1_000_000

    def __init__(self, double: ScicatDouble, settings: ScicatSettings, oracle: httpx.Client) -> None:
        self.double, self.settings, self.oracle = double, settings, oracle
        self.catalogue = ScicatCatalogue(settings)
        self.switches = ScicatSwitches(double.url)
        self.switches.api = settings.api

    def datasets(self) -> list[dict[str, Any]]:
        """SciCat knows no location of a file, so that is put in."""
        return [
            one | {"datafiles": [(path, *of, f"store:2026/{path}", ns) for path, *of, _, ns in one["datafiles"]]}
            for one in super().datasets()
        ]

    def investigations(self) -> list[tuple[str, str]]:
        """Ask the double's oracle."""
        found = [(p.get("metadata", {}).get("datauploader", {}), p["proposalId"]) for p in self.state()["proposals"]]
        return [(ours.get("name", name), ours.get("visit", "1")) for ours, name in found]


@pytest.fixture(scope="session")
def running_double() -> Iterator[VuoDouble]:
    """Run one double for all tests."""
    with VuoDouble() as running:
        yield running


@pytest.fixture(scope="session")
def oracle(running_double: VuoDouble) -> Iterator[httpx.Client]:
    """Give a connection to the double's own switches and contents."""
    with httpx.Client(base_url=running_double.url, trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def double(running_double: VuoDouble, oracle: httpx.Client) -> VuoDouble:
    """Give the double as if it were new."""
    oracle.delete("/_double/state").raise_for_status()
    oracle.delete("/_double/faults").raise_for_status()
    return running_double


@pytest.fixture
def make_vuo(double: VuoDouble, oracle: httpx.Client) -> Iterator[Callable[..., VuoWorld]]:
    """Give a maker of adapters to that double, by settings."""
    opened: list[Any] = []

    def make(**settings: Any) -> VuoWorld:
        values = {"base_url": double.url, "secret": double.secret, **settings}
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


@pytest.fixture(scope="session")
def running_scicat() -> Iterator[ScicatDouble]:
    """Run one double of SciCat for all tests."""
    with ScicatDouble() as running:
        yield running


@pytest.fixture
def scicat_double(running_scicat: ScicatDouble) -> ScicatDouble:
    """Give the double of SciCat as if it were new."""
    httpx.delete(f"{running_scicat.url}/_double/state", trust_env=False, verify=False).raise_for_status()
    return running_scicat


@pytest.fixture
def make_scicat(scicat_double: ScicatDouble) -> Iterator[Callable[..., ScicatWorld]]:
    """Give a maker of adapters to that double, by settings."""
    opened: list[ScicatWorld] = []
    oracle = httpx.Client(base_url=scicat_double.url, trust_env=False, verify=False)

    def make(api: str = "v4", **settings: Any) -> ScicatWorld:
        oracle.put(f"/_double/api/{'v4' if api == 'auto' else api}").raise_for_status()
        values = {
            "base_url": scicat_double.url, "username": SERVICE, "password": PASSWORD, "api": api,
            "contact_email": "data@facility.eu", "base_dir": "/facility/store/{investigation}",
            "closed_after_days": 30, "creators": ["staff"], "create_group": "p{investigation}",
            "pid": "20.500.12345/{uuid}", "uid_claim": "uidNumber", "gid_claim": "gidNumber", **settings,
        }  # fmt: skip
        opened.append(ScicatWorld(scicat_double, ScicatSettings.model_validate(values), oracle))
        return opened[-1]

    yield make
    for world in opened:
        world.catalogue.close()
    oracle.put("/_double/api/v4").raise_for_status()
    oracle.close()


@pytest.fixture
def direct(scicat_double: ScicatDouble) -> Iterator[httpx.Client]:
    """Give a connection past SciCat's adapter, signed in as the service's account."""
    with httpx.Client(base_url=scicat_double.url, trust_env=False, verify=False) as client:
        signed = client.post("/api/v3/auth/login", json={"username": SERVICE, "password": PASSWORD}).json()
        client.headers["Authorization"] = f"Bearer {signed['id']}"
        yield client


@pytest.fixture(params=["v3", "v4"])
def scicat(request: pytest.FixtureRequest, make_scicat: Callable[..., ScicatWorld]) -> ScicatWorld:
    """Give SciCat's adapter in both interfaces."""
    return make_scicat(request.param)


@pytest.fixture
def at_once() -> Iterator[None]:
    """Let adapters read again without a wait, as often as ever; silence would be waited for longer, not shorter."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def memory() -> MemoryWorld:
    """Give the fake."""
    return MemoryWorld()


WITH_SESSIONS = ["memory", "vuo", "scicat-v3", "scicat-v4", "icat"]


@pytest.fixture(params=[*WITH_SESSIONS, "folder"])
def world(request: pytest.FixtureRequest) -> World:
    """Give each world in turn."""
    return _world(request)


@pytest.fixture(params=WITH_SESSIONS)
def world_with_sessions(request: pytest.FixtureRequest) -> World:
    """Give each world in which people have sessions of the catalogue's own."""
    return _world(request)


@pytest.fixture(params=[*WITH_SESSIONS, "folder"])
def impatient_world(request: pytest.FixtureRequest) -> World:
    """Give each world in turn, with the least time that its catalogue may take where it is asked over a network."""
    return _world(request, timeout=0.5)


def _world(request: pytest.FixtureRequest, **settings: float) -> World:
    kind, _, api = request.param.partition("-")
    over_network = kind not in ("memory", "folder")
    found = request.getfixturevalue(f"make_{kind}" if over_network else kind)
    chosen: World = found(*([api] if api else []), **settings) if over_network else found
    return chosen
