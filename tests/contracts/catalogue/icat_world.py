"""The world of ICAT's adapter: its double over HTTP."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from datauploader_catalog.adapters.icat.catalogue import IcatCatalogue
from datauploader_catalog.settings import IcatSettings
from datauploader_sandbox.catalogues import IcatSwitches
from datauploader_sandbox.icat import SERVICE, IcatDouble

from .double_world import DoubleWorld


class IcatWorld(DoubleWorld):
    """ICAT's adapter and its double."""

    knows_accounts, largest_file, clock_ns = False, 2**53 + 1, 1_000_000

    def __init__(self, double: IcatDouble, catalogue: IcatCatalogue, oracle: httpx.Client) -> None:
        self.double, self.catalogue, self.oracle = double, catalogue, oracle
        self.switches = IcatSwitches(double.url)

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
    """Give a maker of adapters to the double as if it were new, by settings."""
    with contextlib.ExitStack() as opened:
        oracle = opened.enter_context(httpx.Client(base_url=running_icat.url, trust_env=False, verify=False))
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
