"""How the watcher says things: as part of the transaction that makes them true, in the upload's own trace."""

import sqlite3
from collections.abc import Sequence

from datauploader.contracts.batching import split
from datauploader.contracts.envelope import natural_id
from datauploader.contracts.files import LONGEST_MS, FileLeftOut, FileReady, FileVersion, LeftOutFile
from datauploader.contracts.model import EventData
from datauploader.contracts.names import display, pack
from datauploader.reliability import Outbox
from datauploader.runtime import metrics
from datauploader.runtime.crash_points import crash_point
from datauploader_watcher.ledger.files import FileRow
from datauploader_watcher.ledger.uploads import UploadRow

SERVICE = "watcher"
_SEEN_BYTES = len(f"{LONGEST_MS},")


def say(db: sqlite3.Connection, upload: UploadRow, data: EventData, *parts: str) -> None:
    """Say something about an upload; the same parts give the same event id, none a new one."""
    event_id = natural_id(type(data), upload.upload_id, *parts) if parts else None
    Outbox.put(db, upload.event.follow(data, service=SERVICE, id=event_id))


def say_ready(db: sqlite3.Connection, upload: UploadRow, root: bytes, rows: Sequence[FileRow], now: float) -> int:
    """Announce versions, in as few events as they fit in; return how many that were."""
    seen = seen_ms(rows, now)

    def ready(files: tuple[FileVersion, ...]) -> FileReady:
        return FileReady(
            upload_id=upload.upload_id,
            root=display(root),
            root_b64=pack(root),
            destination=upload.request.destination,
            continues=upload.request.continues,
            files=files,
            seen_ms=seen and seen[start : start + len(files)],
        )

    events = start = 0
    for data in split((row.version for row in rows), ready, beside_each=_SEEN_BYTES if seen else 0):
        keys = [f"{row.version.key}.{row.attempts}" for row in rows[start : start + len(data.files)]]
        start += len(data.files)
        events += 1
        say(db, upload, data, *keys)
        crash_point("watcher.announcing")
    again = [row for row in rows if row.attempts]
    metrics.note_files("announced", "again", [row.stamp.size for row in again])
    metrics.note_files("announced", "new", [row.stamp.size for row in rows if not row.attempts])
    return events


def seen_ms(rows: Sequence[FileRow], now: float) -> tuple[int, ...] | None:
    """Say how long ago each version was first seen; None where that is not known of all of them."""
    known = [row.seen_at for row in rows if row.seen_at is not None]
    if len(known) < len(rows):
        return None
    ago = {seen_at: min(max(0, int((now - seen_at) * 1000)), LONGEST_MS) for seen_at in set(known)}  # few: one a page
    return tuple([ago[seen_at] for seen_at in known])


def left_out(path: bytes, reason: str, detail: str, *, returned: bool = False) -> LeftOutFile:
    """Build the record that something is left out, or is not any more."""
    return LeftOutFile(path=display(path), path_b64=pack(path), reason=reason, detail=detail[:2000], returned=returned)


def say_left_out(db: sqlite3.Connection, upload: UploadRow, files: Sequence[LeftOutFile]) -> None:
    """Put omissions on the record."""
    for data in split(files, lambda some: FileLeftOut(upload_id=upload.upload_id, files=some)):
        say(db, upload, data)
