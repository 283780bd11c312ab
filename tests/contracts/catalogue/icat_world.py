"""The world of ICAT's adapter: its double over HTTP."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from datauploader_catalog.adapters.icat.catalogue import IcatCatalogue
from datauploader_catalog.settings import IcatSettings
from datauploader_sandbox.icat import SERVICE, IcatDouble

ALWAYS = 1_000_000
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

    knows_accounts, largest_file, clock_ns = False, 2**53 + 1, 1_000_000

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
