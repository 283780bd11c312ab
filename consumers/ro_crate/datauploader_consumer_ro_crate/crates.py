"""The folder of crates: which file belongs to a dataset, and how it is replaced so that readers see all of it."""

import filecmp
import hashlib
import os
import threading
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from datauploader.contracts.names import check_location, check_name
from datauploader.plugins.consumer import Park, Retry

NAME = "ro-crate-metadata.json"
LATER = timedelta(minutes=10)


def crate_path(folder: Path, investigation: str, dataset: str) -> Path:
    """Return the crate's file of a dataset, which lies below `folder` whatever the names are.

    Raises:
        Retry: the folder is not there; it is not made, because its file system may only be away.
        Park: no folder can bear such names, or a link leads elsewhere.
    """
    if not folder.is_dir():
        raise Retry(f"the folder {folder} is not there: see folder in [ro_crate]", LATER)
    try:
        names = (*check_location(investigation).split("/"), check_name(dataset))
    except ValueError as error:
        raise Park(f"no folder can be made for {investigation!r}, dataset {dataset!r}: {error}") from None
    place = folder.joinpath(*names)
    if not place.resolve().is_relative_to(folder.resolve()):
        raise Park(f"{place} leads out of {folder}: remove the link, then replay this")
    return place / NAME


def write_crate(path: Path, parts: Iterable[bytes], *, key: str, stopping: threading.Event) -> bool:
    """Write a crate beside its place and put it there whole; one that is the same already stays as it is.

    Args:
        path: of the crate; its folder is made.
        parts: of its text.
        key: names the draft: what another attempt for the same event has left behind is written anew.
        stopping: when it is set, the work ends.

    Returns:
        Whether there is something new.

    Raises:
        Retry: it cannot be written, or the service stops.
    """
    draft = path.with_name(f".{NAME}.{hashlib.sha256(key.encode()).hexdigest()[:16]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        try:
            with draft.open("xb") as file:  # never through a link that somebody has put there
                for part in parts:
                    if stopping.is_set():
                        raise Retry("the service stops; the crate is written afterwards")
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            if path.is_file() and not path.is_symlink() and filecmp.cmp(draft, path, shallow=False):
                return False
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise Retry(f"{path} cannot be written: {error.strerror or error}", LATER) from None
    return True
