"""What the worlds of adapters with doubles have in common."""

from typing import Any

import httpx

from datauploader_sandbox.catalogues import Switches

ALWAYS = 1_000_000


class DoubleWorld:
    """An adapter and its double, with a real connection between them."""

    switches: Switches
    oracle: httpx.Client

    def fail(self, operation: str, kind: str, times: int = 1, match: str = "", **more: Any) -> None:
        """Plan a fault in the double; a refusal is HTTP 422, a plain error HTTP 500."""
        self.switches.fail(operation, kind, -1 if times == ALWAYS else times, match, **more)

    def state(self) -> dict[str, Any]:
        """Ask the double's oracle."""
        state: dict[str, Any] = self.oracle.get("/_double/state").json()
        return state

    def datasets(self) -> list[dict[str, Any]]:
        """Put the oracle's answer into the form of the suite."""
        return [in_form(dataset) for dataset in self.switches.state()["datasets"]]


def in_form(held: dict[str, Any]) -> dict[str, Any]:
    """Return a dataset of the sandbox as the suite compares it."""
    keys = ("id", "name", "investigation_id", "complete", "description")
    return {key: held[key] for key in keys} | {
        "datafiles": [(f["path"], f["size"], f["sha256"], f["location"], f["mtime_ns"]) for f in held["datafiles"]],
        "parameters": sorted((p["datafile"], p["name"], p["value"], p["units"]) for p in held["parameters"]),
    }
