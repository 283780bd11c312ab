"""The catalogue of a facility in a box, whichever it is: how it is configured, what it holds, and how it fails."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import httpx
from argon2 import PasswordHasher

from datauploader_sandbox.icat import SERVICE as ICAT_ACCOUNT
from datauploader_sandbox.icat import IcatDouble
from datauploader_sandbox.scicat import PASSWORD as SCICAT_PASSWORD
from datauploader_sandbox.scicat import SERVICE as SCICAT_ACCOUNT
from datauploader_sandbox.scicat import ScicatDouble
from datauploader_sandbox.vuo import VuoDouble
from datauploader_sandbox.vuo.seed import Person, Proposal, default_seed

System = Literal["vuo", "scicat", "icat", "folder"]
ANNA = "sandbox-session-anna"
"""Her session at each system that has sessions, and her password at the gateway where there are none."""
HINT = f"the name anna.moretti and the password {ANNA}"
State = dict[str, Any]


class SandboxCatalogue(Protocol):
    """A catalogue that knows the people and experiments of the sandbox."""

    url: str
    """Where it is, for the services, and its page for people; "" where it has neither."""
    sign_in_hint: str
    """How a person signs in at the gateway."""

    def tables(self, url: str) -> dict[str, Any]:
        """Return the configuration of the services that use it at this address."""

    def credentials(self, session: str) -> dict[str, str]:
        """Return what the gateway is sent by the person whose session (or password) this is."""

    def state(self) -> State:
        """Return its datasets, in one form whatever the system: also `duplicates`, what was refused as twins."""

    def stop(self) -> None:
        """End it."""


class Switches:
    """Lets a double fail and shows what it holds, in the words of the port whatever the system."""

    _timeout_s = 30.0

    def __init__(self, url: str) -> None:
        """Use the double at this address."""
        self.url = url

    def state(self) -> State:
        """Return `datasets`, and in `duplicates` what was refused as a twin."""
        raise NotImplementedError

    def fail(self, operation: str, kind: str, times: int = 1, match: str = "", **more: Any) -> None:
        """Plan that calls fail.

        Args:
            operation: what they are for, such as `create_dataset`.
            kind: `unavailable`, `timeout`, `slow`, `lost`, `unreadable` or `refused`.
            times: how many; -1 for all of them.
            match: which ones: a value that they hold.
            more: fields of the double's own plans, such as `skip` and `seconds`.
        """
        plan = self._plan(operation, kind, match) | {"times": times} | more
        httpx.post(f"{self.url}/_double/faults", json=plan, timeout=self._timeout_s).raise_for_status()

    def fired(self) -> list[int]:
        """Return how often each planned fault has struck."""
        return [plan["fired"] for plan in self._get("faults")]

    def end_faults(self) -> None:
        """Be well again."""
        httpx.delete(f"{self.url}/_double/faults", timeout=self._timeout_s).raise_for_status()

    def _plan(self, operation: str, kind: str, match: str) -> dict[str, Any]:
        raise NotImplementedError

    def _get(self, switch: str) -> Any:
        return httpx.get(f"{self.url}/_double/{switch}", timeout=self._timeout_s).json()


class VuoSwitches(Switches):
    """VUO's double, whose form is the form of all."""

    _known: ClassVar = {"identify": "vuo_sso.detail", "authorise": "vlab.sm_get_investigation_info"}

    def state(self) -> State:
        """Return what the double tells itself."""
        state: State = self._get("state")
        return state

    def _plan(self, operation: str, kind: str, match: str) -> State:
        kinds: dict[str, State] = {"unavailable": {"kind": "error"}, "refused": {"kind": "error", "status": 422}}
        procedure = self._known.get(operation, f"datauploader.{operation}")
        return {"procedure": procedure, "match": match} | kinds.get(kind, {"kind": kind})


class VuoSandbox(VuoSwitches):
    """VUO's double, for a facility."""

    sign_in_hint = f"the VUO session {ANNA}"

    def __init__(self, folder: Path, base_dir: str) -> None:
        """Keep its state in a file of the folder."""
        self.double = VuoDouble(state=folder / "vuo.sqlite", seed=default_seed(base_dir))
        super().__init__(self.double.url)

    def tables(self, url: str) -> dict[str, Any]:
        """Return `[catalog]`."""
        vuo = {"base_url": url, "secret": self.double.secret, "allow_http": True}
        return {"catalog": {"adapter": "vuo", "vuo": vuo}}

    def credentials(self, session: str) -> dict[str, str]:
        """Return a session of VUO."""
        return {"method": "vuo", "vuo_session": session}

    def stop(self) -> None:
        """Stop the double; its file stays."""
        self.double.stop()


SCICAT_CALLS = {
    "identify": ["GET users/my/identity"],
    "list_investigations": ["GET proposals"],
    "find_investigation": ["GET proposals/:id"],
    "create_investigation": ["POST proposals"],
    "describe_investigation": ["PATCH proposals/:id"],
    "find_dataset": ["GET datasets/:id"],
    "create_dataset": ["POST datasets"],
    "describe_dataset": ["PATCH datasets/:id"],
    "add_datafiles": ["POST origdatablocks", "PATCH origdatablocks/:id"],
    "add_parameters": ["PATCH datasets/:id"],
    "complete_dataset": ["PATCH datasets/:id/datasetlifecycle"],
}
"""By which calls SciCat's adapter does what, through `/api/v4`."""


class ScicatSwitches(Switches):
    """SciCat's double."""

    api = "v4"
    """By which interface datasets are written."""

    def state(self) -> State:
        """Translate datasets, their origdatablocks and scientific metadata."""
        held = self._get("state")
        return {
            "datasets": [_scicat_dataset(one) for one in held["datasets"]],
            "duplicates": {"dataset": held["counts"]["409"]} if "409" in held["counts"] else {},
        }

    def _plan(self, operation: str, kind: str, match: str) -> State:
        kinds: dict[str, State] = {"unavailable": {"kind": "error"}, "refused": {"kind": "error", "status": 422}}
        old = self.api == "v3" and operation == "complete_dataset"
        calls = ["PATCH datasets/:id"] if old else SCICAT_CALLS[operation]
        return {"calls": calls, "match": match} | kinds.get(kind, {"kind": kind})


class ScicatSandbox(ScicatSwitches):
    """SciCat's double, for a facility."""

    sign_in_hint = HINT

    def __init__(self, base_dir: str) -> None:
        """Start it."""
        self.double, self._base_dir = ScicatDouble(), base_dir
        super().__init__(self.double.url)

    def tables(self, url: str) -> dict[str, Any]:
        """Return `[catalog]`."""
        scicat = {
            "base_url": url, "username": SCICAT_ACCOUNT, "password": SCICAT_PASSWORD, "allow_http": True,
            "contact_email": "data@facility.eu", "base_dir": f"{self._base_dir}/{{investigation}}",
            "closed_after_days": 30, "pid": "20.500.12345/{uuid}", "creators": ["staff"],
            "create_group": "p{investigation}", "people_login": "login",
        }  # fmt: skip
        return {"catalog": {"adapter": "scicat", "scicat": scicat}}

    def credentials(self, session: str) -> dict[str, str]:
        """Return a token of SciCat's."""
        return {"method": "vuo", "vuo_session": session}

    def stop(self) -> None:
        """Stop the double, which forgets everything."""
        self.double.stop()


def _scicat_dataset(held: Mapping[str, Any]) -> State:
    """Return a dataset of SciCat's double in the form of all; where a file lies, the folder of the dataset tells."""
    folder = held["sourceFolder"].strip("/")
    return {
        "id": held["pid"],
        "name": held["datasetName"],
        "investigation_id": held["proposalIds"][0],
        "complete": held["datasetlifecycle"]["isOnCentralDisk"],
        "description": held["description"],
        "datafiles": [
            {
                "path": file["path"], "size": file["size"], "sha256": file["chk"],
                "location": f"store:{folder}/{file['path']}", "mtime_ns": _nanoseconds(file["time"]),
            }
            for block in held["blocks"]
            for file in block["dataFileList"]
        ],
        "parameters": list(_scicat_parameters(held["scientificMetadata"])),
    }  # fmt: skip


def _scicat_parameters(metadata: Mapping[str, Any], datafile: str = "") -> Iterator[State]:
    for name, entry in metadata.items():
        if name == "datafiles" and not datafile:
            for path, inner in entry.items():
                yield from _scicat_parameters(inner, path)
        else:
            yield {"datafile": datafile, "name": name, "value": entry["value"], "units": entry["unit"]}


def _nanoseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000) * 1_000_000


ICAT_CALLS = {
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


class IcatSwitches(Switches):
    """ICAT's double."""

    def state(self) -> State:
        """Translate entities."""
        held = self._get("state")
        twins = held["refused_twins"]
        return {
            "datasets": [_icat_dataset(one) for one in held["datasets"]],
            "duplicates": {"dataset": twins} if twins else {},
        }

    def _plan(self, operation: str, kind: str, match: str) -> State:
        method, path, text = ICAT_CALLS[operation]
        kinds: dict[str, State] = {
            "unavailable": {"kind": "error", "status": 503},
            "internal": {"kind": "icat"},
            "refused": {"kind": "icat", "code": "VALIDATION", "message": "as told"},
        }
        pattern = re.escape(text) + (f".*{re.escape(match)}" if match else "")
        return {"method": method, "path": path, "match": pattern} | kinds.get(kind, {"kind": kind})


class IcatSandbox(IcatSwitches):
    """ICAT's double, for a facility."""

    sign_in_hint = HINT

    def __init__(self, base_dir: str) -> None:
        """Start it."""
        self.double, self._base_dir = IcatDouble(), base_dir
        super().__init__(self.double.url)

    def tables(self, url: str) -> dict[str, Any]:
        """Return `[catalog]`."""
        icat = {
            "base_url": url, "plugin": "simple", "username": ICAT_ACCOUNT.name, "password": ICAT_ACCOUNT.password,
            "facility": "SANDBOX", "base_dir": f"{self._base_dir}/{{name}}", "people_by": "id", "timezone": "UTC",
            "dataset_page": f"{url}/datasets/{{dataset_id}}", "people_plugin": "db",
            "closed_after_days": 30, "allow_http": True,
        }  # fmt: skip
        return {"catalog": {"adapter": "icat", "icat": icat}}

    def credentials(self, session: str) -> dict[str, str]:
        """Return a session of ICAT."""
        return {"method": "vuo", "vuo_session": session}

    def stop(self) -> None:
        """Stop the double, which forgets everything."""
        self.double.stop()


def _icat_dataset(held: Mapping[str, Any]) -> State:
    """Return a dataset of ICAT's double in the form of all."""
    return {
        "id": str(held["id"]),
        "name": held["name"],
        "investigation_id": str(held["investigation"]),
        "complete": held["complete"],
        "description": held["description"],
        "datafiles": [
            {
                "path": file["name"], "size": file["fileSize"], "sha256": file["checksum"],
                "location": file["location"], "mtime_ns": file["datafileModTime"] * 1_000_000,
            }
            for file in held["datafiles"]
        ],
        "parameters": [
            {
                "datafile": one["datafile"], "name": one["name"], "units": one["units"],
                "value": one["numericValue"] if one.get("stringValue") is None else one["stringValue"],
            }
            for one in held["parameters"]
        ],
    }  # fmt: skip


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


def start(system: System, folder: Path, base_dir: str) -> SandboxCatalogue:
    """Start a catalogue whose investigations' data belong below `base_dir`; it keeps what it keeps in `folder`."""
    if system == "folder":
        return FolderSandbox(folder, base_dir)
    if system == "scicat":
        return ScicatSandbox(base_dir)
    if system == "icat":
        return IcatSandbox(base_dir)
    return VuoSandbox(folder, base_dir)
