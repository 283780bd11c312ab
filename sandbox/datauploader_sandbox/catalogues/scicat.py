"""SciCat's double as a catalogue of the sandbox."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from datauploader_sandbox.catalogues.port import HINT, State, Switches
from datauploader_sandbox.scicat import PASSWORD, SERVICE, ScicatDouble

CALLS = {
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
            "datasets": [_dataset(one) for one in held["datasets"]],
            "duplicates": {"dataset": held["counts"]["409"]} if "409" in held["counts"] else {},
        }

    def _plan(self, operation: str, kind: str, match: str) -> State:
        kinds: dict[str, State] = {"unavailable": {"kind": "error"}, "refused": {"kind": "error", "status": 422}}
        old = self.api == "v3" and operation == "complete_dataset"
        calls = ["PATCH datasets/:id"] if old else CALLS[operation]
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
            "base_url": url, "username": SERVICE, "password": PASSWORD, "allow_http": True,
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


def _dataset(held: Mapping[str, Any]) -> State:
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
        "parameters": list(_parameters(held["scientificMetadata"])),
    }  # fmt: skip


def _parameters(metadata: Mapping[str, Any], datafile: str = "") -> Iterator[State]:
    for name, entry in metadata.items():
        if name == "datafiles" and not datafile:
            for path, inner in entry.items():
                yield from _parameters(inner, path)
        else:
            yield {"datafile": datafile, "name": name, "value": entry["value"], "units": entry["unit"]}


def _nanoseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000) * 1_000_000
