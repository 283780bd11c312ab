"""ICAT's double as a catalogue of the sandbox."""

import re
from collections.abc import Mapping
from typing import Any

from datauploader_sandbox.catalogues.port import HINT, State, Switches
from datauploader_sandbox.icat import SERVICE, IcatDouble

CALLS = {
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
            "datasets": [_dataset(one) for one in held["datasets"]],
            "duplicates": {"dataset": twins} if twins else {},
        }

    def _plan(self, operation: str, kind: str, match: str) -> State:
        method, path, text = CALLS[operation]
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
            "base_url": url, "plugin": "simple", "username": SERVICE.name, "password": SERVICE.password,
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


def _dataset(held: Mapping[str, Any]) -> State:
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
