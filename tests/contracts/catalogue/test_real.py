"""The check on a catalogue that is none of our doubles: there is a test only where CATALOGUE_URL says where that is."""

import os

import pytest
from pydantic import SecretStr

from datauploader.plugins.catalogue.inspection import CheckRequest, Mark
from datauploader.runtime.config import CONFIG_VARIABLE, load
from datauploader_catalog.conformance.check import check_configured
from datauploader_catalog.settings import CatalogSettings

if url := os.environ.get("CATALOGUE_URL", ""):

    @pytest.fixture(scope="session", autouse=True)
    def one_authority() -> None:
        """Trust those that this machine trusts."""

    def test_what_the_service_relies_on_holds_at_this_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
        """With the settings of CATALOGUE_CONFIG, in CATALOGUE_INVESTIGATION, for CATALOGUE_USER or _SESSION."""
        monkeypatch.setenv(CONFIG_VARIABLE, os.environ["CATALOGUE_CONFIG"])
        monkeypatch.setenv(f"DATAUPLOADER_CATALOG_{load(CatalogSettings).adapter.upper()}__BASE_URL", url)
        session = os.environ.get("CATALOGUE_SESSION")
        asked = CheckRequest(
            SecretStr(session) if session else None, os.environ.get("CATALOGUE_USER", ""),
            os.environ["CATALOGUE_INVESTIGATION"], True,
        )  # fmt: skip
        found = list(check_configured(asked))
        assert [one for one in found if one.mark is Mark.FAILS] == []
        assert sum(one.mark is Mark.HOLDS for one in found) > 20
