"""What `datauploader doctor` asks of a station: can its folders be read, and is there room beside them."""

import os
import shutil
from collections.abc import Iterator

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
        try:
            with os.scandir(root) as entries:
                next(entries, None)
            disk = shutil.disk_usage(root)
        except OSError as error:
            hint = "check that the drive is connected and that this user may read it"
            ok, detail = False, f"it cannot be read ({error.strerror}); {hint}"
        else:
            ok, detail = True, f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB free"
            if disk.free < FREE_PART * disk.total:
                ok, detail = False, f"only {detail}; the acquisition will soon have no space left"
        yield Check(f"upload folder {root}", ok=ok, detail=detail)
