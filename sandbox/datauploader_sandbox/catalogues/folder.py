"""The catalogue of files and folders in the sandbox: nothing runs, and anybody can read what it holds."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from datauploader_sandbox.catalogues.port import HINT, State
from datauploader_sandbox.vuo.seed import Person, Proposal, default_seed


class FolderSandbox:
    """The catalogue of files and folders, and local accounts for its people, who have no sessions."""

    url = ""
    sign_in_hint = HINT

    def __init__(self, folder: Path, base_dir: str) -> None:
        """Make the catalogue's folder and the accounts' file, unless they are there."""
        self.root, self._accounts = folder / "catalogue", folder / "accounts.toml"
        if not self.root.exists():
            seed = default_seed(base_dir)
            sow_folder(self.root, seed.proposals, seed.people)
            self._accounts.write_text("\n".join(map(_account, seed.people)), encoding="utf-8")
            self._accounts.chmod(0o600)

    def tables(self, url: str) -> dict[str, Any]:
        """Return `[catalog]`, `[folder_catalogue]` and `[gateway]`."""
        del url
        return {
            "catalog": {"adapter": "folder"},
            "folder_catalogue": {"root": self.root},
            "gateway": {"accounts": self._accounts, "vuo": False},
        }

    def credentials(self, session: str) -> dict[str, str]:
        """Return name and password of the person's account."""
        person = next(one for one in default_seed().people if one.session == session)
        return {"method": "local", "username": person.account, "password": session}

    def state(self) -> State:
        """Read the files, as anybody can."""
        return {"datasets": read_folder(self.root), "duplicates": {}}

    def stop(self) -> None:
        """Leave the files where they are."""


def sow_folder(root: Path, proposals: Iterable[Proposal], people: Sequence[Person]) -> None:
    """Make a catalogue of files and folders with these investigations."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "catalogue.json").write_text("{}", encoding="utf-8")
    for proposal in proposals:
        about = {
            "name": proposal.name, "visit": proposal.visit, "title": proposal.title,
            "members": [person.id for person in people if person.id in proposal.members],
            "base_dir": proposal.base_dir, "closed": "" if proposal.active else proposal.reason,
            "beamline": proposal.beamline, "start": proposal.start, "end": proposal.end,
            "principal_investigator": proposal.principal_investigator, "description": proposal.description,
        }  # fmt: skip
        folder = root / proposal.id
        folder.mkdir()
        (folder / "investigation.json").write_text(json.dumps(about), encoding="utf-8")


def read_folder(root: Path) -> list[State]:
    """Read the datasets of a catalogue of files and folders, in the order of their making."""
    found = []
    for path in sorted(root.glob("[!.]*/[!.]*/dataset.json"), key=lambda path: path.stat().st_ctime_ns):
        held = json.loads(path.read_bytes())
        files = {one["path"]: one for one in _lines(path.with_name("datafiles.jsonl"))}
        values = {(one["datafile"], one["name"]): one for one in _lines(path.with_name("parameters.jsonl"))}
        found.append(
            {key: held[key] for key in ("id", "name", "investigation_id", "description")}
            | {
                "complete": bool(held["completed"]),
                "datafiles": [{**one, "sha256": one["checksum"]} for one in files.values()],
                "parameters": list(values.values()),
            }
        )
    return found


def _lines(path: Path) -> Iterator[State]:
    """Yield the objects of a list that may be written to: a last line without its end is not there yet."""
    if path.exists():
        with path.open("rb") as lines:
            yield from (json.loads(line) for line in lines if line.endswith(b"\n"))


def _account(person: Person) -> str:
    entry = {
        "name": person.account, "full_name": person.name, "user_id": person.id,
        "password": PasswordHasher(time_cost=1, memory_cost=1024).hash(person.session),
    }  # fmt: skip
    return "\n".join(["[[account]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items()), ""])
