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
from datauploader_catalogue_folder.journal import read_lines
from datauploader_sandbox.vuo import default_seed

PARAMETER = ("datafile", "name", "value", "units")


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
        (root / "catalogue.json").write_text("{}")
        for proposal in default_seed().proposals:
            members = [person.id for person in default_seed().people if person.id in proposal.members]
            about = {
                "name": proposal.name, "visit": proposal.visit, "title": proposal.title, "members": members,
                "base_dir": proposal.base_dir, "closed": "" if proposal.active else proposal.reason,
                "beamline": proposal.beamline, "start": proposal.start, "end": proposal.end,
                "principal_investigator": proposal.principal_investigator, "description": proposal.description,
            }  # fmt: skip
            folder = root / proposal.id
            folder.mkdir()
            (folder / "investigation.json").write_text(json.dumps(about), encoding="utf-8")
        self.catalogue = FailingFolder(root)

    def fail(self, operation: str, kind: str, times: int = 1, match: str = "") -> None:
        """Plan a fault of the disk."""
        self.catalogue.planned.append([operation, kind, times, match])

    def datasets(self) -> list[dict[str, Any]]:
        """Read the files as anybody could."""
        found = []
        for path in sorted(self.root.glob("[!.]*/[!.]*/dataset.json"), key=lambda path: path.stat().st_ctime_ns):
            held = json.loads(path.read_bytes())
            files = {one["path"]: one for one in read_lines(path.with_name("datafiles.jsonl"))}
            values = {(one["datafile"], one["name"]): one for one in read_lines(path.with_name("parameters.jsonl"))}
            keys = ("path", "size", "checksum", "location", "mtime_ns")
            found.append(
                {key: held[key] for key in ("id", "name", "investigation_id", "description")}
                | {
                    "complete": bool(held["completed"]),
                    "datafiles": [tuple(one[key] for key in keys) for one in files.values()],
                    "parameters": sorted(
                        (one["datafile"], one["name"], one["value"], one["units"]) for one in values.values()
                    ),
                }
            )
        return found

    def investigations(self) -> list[tuple[str, str]]:
        """Read the files as anybody could."""
        found = [json.loads(path.read_bytes()) for path in self.root.glob("[!.]*/investigation.json")]
        return [(one["name"], one["visit"]) for one in found]


@pytest.fixture
def folder(tmp_path: Path) -> FolderWorld:
    """Give the catalogue of files and folders."""
    return FolderWorld(tmp_path)
