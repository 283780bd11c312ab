"""Catalogues: what it takes to bring 10,000 datafiles into each, side by side, at their doubles.

A double answers at once and from memory, in this process: seconds tell what adapter and double take together, calls and
bytes what a real one is asked. Addresses and bodies are counted, headers are not.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tomli_w

from datauploader.plugins.catalogue.port import Catalogue, Datafile, NamedValue, NewDataset
from datauploader.runtime.config import CONFIG_VARIABLE, load
from datauploader_catalog.adapters import connect
from datauploader_catalog.settings import CatalogSettings
from datauploader_sandbox import catalogues

ANNA, INVESTIGATION = "1101", "20260101"


def main() -> int:
    """Print one line for each step and system; return 1 where a datafile is missing."""
    parser = argparse.ArgumentParser(prog="./dev bench catalogues", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    well = True
    for system in ("vuo", "scicat", "icat", "folder"):
        with tempfile.TemporaryDirectory(prefix="datauploader-bench-") as folder:
            well = measure(system, Path(folder), options.files) and well  # type: ignore[arg-type]
    return 0 if well else 1


def measure(system: catalogues.System, folder: Path, files: int) -> bool:
    """Make a dataset, register its files, register them again, describe it with parameters, complete it."""
    office = catalogues.start(system, folder, "/experiments")
    config = folder / "datauploader.toml"
    config.write_text(tomli_w.dumps(json.loads(json.dumps(office.tables(office.url), default=str))), encoding="utf-8")
    os.environ[CONFIG_VARIABLE] = str(config)
    catalogue: Catalogue = connect(load(CatalogSettings))
    datafiles = [
        Datafile(f"scan_{n // 500:04}/{n:06}.tif", f"store:experiments/{n}", 20_000, f"{n:064x}", 1_700_000_000 * 10**9)
        for n in range(files)
    ]
    parameters = [NamedValue(f"parameter {n}", n + 0.5, "keV") for n in range(20)]
    wanted = NewDataset(INVESTIGATION, "bench", "store:experiments/20260101/bench", owner=ANNA)
    made = catalogue.ensure_dataset(wanted)  # what is asked once, such as who we are, is not counted
    steps: dict[str, Any] = {
        "register": lambda: catalogue.register_datafiles(made.id, datafiles),
        "register again": lambda: catalogue.register_datafiles(made.id, datafiles),
        "20 parameters": lambda: catalogue.attach_parameters(made.id, parameters),
        "complete": lambda: catalogue.complete_dataset(made.id),
    }
    for name, step in steps.items():
        before, began = traffic(office), time.perf_counter()
        step()
        seconds = time.perf_counter() - began
        calls, up, down = (after - then for after, then in zip(traffic(office), before, strict=True))
        told = {"system": system, "step": name, "files": files, "calls": calls, "up": up, "down": down}
        print(json.dumps(told | {"seconds": round(seconds, 2)}), flush=True)
    (held,) = office.state()["datasets"]
    catalogue.close()
    office.stop()
    return len({file["path"] for file in held["datafiles"]}) == files and held["complete"]


def traffic(office: Any) -> tuple[int, int, int]:
    """Return calls, bytes there and bytes back so far; files and folders are asked by nobody."""
    counted = office.double.traffic if hasattr(office, "double") else None
    return (counted.calls, counted.received, counted.sent) if counted else (0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
