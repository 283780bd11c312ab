"""The world of the catalogue of files and folders: a folder on this machine's disk, and faults of it."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from datauploader.plugins.catalogue.errors import CatalogueRefused
from datauploader_catalogue_folder.catalogue import FolderCatalogue
from datauploader_sandbox.catalogues import read_folder, sow_folder
from datauploader_sandbox.vuo import default_seed

from .double_world import in_form


class FailingFolder(FolderCatalogue):
    """The catalogue of files with faults where its operations begin and end."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, may_create=True, page="https://folder.example.org", base_dir="/facility/store/{id}")
        self.planned: list[list[Any]] = []

    @contextmanager
    def _doing(self, operation: str, *mentioned: str) -> Iterator[None]:
        plan = next((p for p in self.planned if p[0] == operation and p[2] and (not p[3] or p[3] in mentioned)), None)
        kind = plan[1] if plan else ""
        if plan:
            plan[2] -= 1
        if kind == "refused":
            raise CatalogueRefused("The catalogue refuses, as it was told.", words="as told")
        with super()._doing(operation, *mentioned):
            if kind == "unreadable":
                raise ValueError("as told")
            if kind in ("unavailable", "timeout"):
                raise OSError(errno.EIO, "as told")
            yield
            if kind == "lost":
                raise OSError(errno.EIO, "as told")


class FolderWorld:
    """The catalogue of files and folders, on this machine's disk."""

    knows_accounts, largest_file, clock_ns = False, 2**53 + 1, 1

    def __init__(self, root: Path) -> None:
        self.root = root
        seed = default_seed()
        sow_folder(root, seed.proposals, seed.people)
        self.catalogue = FailingFolder(root)

    def fail(self, operation: str, kind: str, times: int = 1, match: str = "") -> None:
        """Plan a fault of the disk."""
        self.catalogue.planned.append([operation, kind, times, match])

    def datasets(self) -> list[dict[str, Any]]:
        """Read the files as anybody could."""
        return [in_form(dataset) for dataset in read_folder(self.root)]

    def investigations(self) -> list[tuple[str, str]]:
        """Read the files as anybody could."""
        found = [json.loads(path.read_bytes()) for path in self.root.glob("[!.]*/investigation.json")]
        return [(one["name"], one["visit"]) for one in found]


@pytest.fixture
def folder(tmp_path: Path) -> FolderWorld:
    """Give the catalogue of files and folders."""
    return FolderWorld(tmp_path)
