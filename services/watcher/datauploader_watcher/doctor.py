"""What `datauploader doctor` asks of a station: can its folders be read, and is there room beside them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from datauploader.runtime.config import Settings, load
from datauploader.runtime.service import Check
from datauploader_watcher.settings import WatcherSettings

FREE_PART = 0.02
"""Part of a disk that should be free, so that the acquisition can go on writing."""


def examine(_settings: Settings) -> Iterator[Check]:
    """Look at every root."""
    roots = load(WatcherSettings).roots
    if not roots:
        yield Check(
            "upload folders",
            ok=False,
            detail='no folder is configured; set DATAUPLOADER_WATCHER_ROOTS, such as ["/data"]',
        )
    for root in roots:
        yield _root(root)


def _root(root: Path) -> Check:
    name = f"upload folder {root}"
    try:
        with os.scandir(root) as entries:
            next(entries, None)
        disk = shutil.disk_usage(root)
    except OSError as error:
        detail = (
            f"it cannot be read ({error.strerror}); check that the drive is connected and that this user may read it"
        )
        return Check(name, ok=False, detail=detail)
    free = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB free"
    if disk.free < FREE_PART * disk.total:
        return Check(name, ok=False, detail=f"only {free}; the acquisition will soon have no space left")
    return Check(name, ok=True, detail=free)
