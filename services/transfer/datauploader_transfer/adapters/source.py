"""The file on the local disk: is it still the version that was announced?"""

import hashlib
import os
import stat

from datauploader_transfer.domain.outcomes import source_changed, source_gone, source_unreadable
from datauploader_transfer.ports import Item, Outcome

__all__ = ["digest_of_start", "fault_of_source", "still_holds", "why_unread"]

_BLOCK = 1024**2


def fault_of_source(item: Item) -> Outcome | None:
    """Return why the source cannot be moved, or None when it is the version that was announced."""
    try:
        seen = item.source.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return source_gone(item)
    except OSError as error:
        return source_unreadable(item, error.strerror or str(error))
    same = stat.S_ISREG(seen.st_mode) and (seen.st_size, seen.st_mtime_ns) == (item.size, item.mtime_ns)
    return None if same else source_changed(item)


def why_unread(item: Item) -> Outcome | None:
    """Return what at the source kept it from being sent, or None when it was not the source."""
    if (fault := fault_of_source(item)) is not None:
        return fault
    return None if os.access(item.source, os.R_OK) else source_unreadable(item, "permission denied")


def still_holds(item: Item) -> bool:
    """Read the source again and tell whether it has the content that was announced."""
    try:
        return digest_of_start(item, item.size + 1, "sha256") == item.digests["sha256"]
    except OSError:
        return False


def digest_of_start(item: Item, size: int, algorithm: str) -> str:
    """Return the hash of the first `size` bytes of the source."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with item.source.open("rb") as stream:
        while size > 0 and (block := stream.read(min(_BLOCK, size))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()
