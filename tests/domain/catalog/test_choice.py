"""Which catalogue is used: one of our own, or one that is installed beside."""

import json
from pathlib import Path

import pytest

from datauploader.errors import ConfigurationError
from datauploader_catalog.adapters import connect
from datauploader_catalog.adapters.memory import MemoryCatalogue
from datauploader_catalog.settings import CatalogSettings
from datauploader_catalogue_folder.catalogue import FolderCatalogue


def test_a_catalogue_that_is_installed_beside_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads settings of its own."""
    (tmp_path / "catalogue.json").write_text("{}")
    about = {"name": "p1", "visit": "1", "title": "t", "members": ["anna"]}
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "investigation.json").write_text(json.dumps(about))
    monkeypatch.setenv("DATAUPLOADER_FOLDER_CATALOGUE_ROOT", str(tmp_path))
    monkeypatch.setenv("DATAUPLOADER_FOLDER_CATALOGUE_BASE_DIR", "/data/{id}")
    catalogue = connect(CatalogSettings(adapter="folder"))
    assert isinstance(catalogue, FolderCatalogue)
    assert [one.base_dir for one in catalogue.investigations("anna")] == ["/data/p1"]


def test_without_its_folder_it_says_what_to_set() -> None:
    """The doctor shows the sentence."""
    with pytest.raises(ConfigurationError, match="DATAUPLOADER_FOLDER_CATALOGUE_ROOT"):
        connect(CatalogSettings(adapter="folder"))


def test_a_catalogue_that_is_not_there_is_named_with_those_that_are() -> None:
    """A wrong word must not become a catalogue in memory, which forgets everything."""
    with pytest.raises(ConfigurationError, match=r"no catalogue 'scikat'.*vuo, scicat, icat, memory, folder"):
        connect(CatalogSettings(adapter="scikat"))
    assert isinstance(connect(CatalogSettings(adapter="memory")), MemoryCatalogue)
