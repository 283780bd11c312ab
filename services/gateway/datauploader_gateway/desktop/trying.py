"""Tries answers before they are kept: the doctor looks at the catalogue, the storage and the folders."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datauploader import toml
from datauploader.runtime.config import CONFIG_VARIABLE
from datauploader.runtime.service import Check
from datauploader_gateway.desktop.place import DesktopFolder, write_private

LONGEST_S = 90.0
_TOLD = ("catalogue", "remote ", "upload folder ", "rclone")


def try_out(document: Mapping[str, Any], place: DesktopFolder) -> list[Check]:
    """Run `datauploader doctor` on a configuration that is not kept; return what it says, what is wrong first.

    A process of its own: what is tried stays out of this one's settings, and the secrets out of every argument.
    """
    place.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="trial-", dir=place.folder) as name:
        config = Path(name) / "datauploader.toml"
        write_private(config, toml.dumps({**document, "state_dir": name, "broker": "memory://"}))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DATAUPLOADER_")}
        environment = kept | {CONFIG_VARIABLE: str(config), "DATAUPLOADER_CLIENT_DIR": name}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "datauploader", "doctor", "--json"],
                env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return [Check("trial", ok=False, detail=f"no answer within {LONGEST_S:.0f} s")]
    return _read(done.stdout, done.stderr)


def _read(out: bytes, err: bytes) -> list[Check]:
    try:
        checks = [Check(each["name"], each["ok"], each["detail"]) for each in json.loads(out)["checks"]]
    except (ValueError, KeyError, TypeError):
        return [Check("trial", ok=False, detail=err.decode(errors="replace")[-300:].strip() or "it gave no message")]
    told = [check for check in checks if not check.ok or check.name.startswith(_TOLD)]
    return sorted(told, key=lambda check: check.ok)
