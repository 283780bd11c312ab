"""The manifests of sealed uploads, and whether the registered files are those of one."""

import hashlib
import heapq
import sqlite3
from collections.abc import Iterator
from typing import Literal

from datauploader.contracts import Event, UploadSealed
from datauploader.contracts.uploads import manifest_entry
from datauploader_catalog.compaction import CompactedDatafiles


class SealTable:
    """The manifests of sealed uploads: the table `seals`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add_seal(self, event: Event[UploadSealed]) -> None:
        """Remember the manifest; the latest one counts, in whatever order they arrive."""
        seal = event.data
        self._db.execute(
            "INSERT INTO seals (upload_id, files, bytes, manifest_sha256, time, number) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (upload_id) DO UPDATE SET files = excluded.files, bytes = excluded.bytes,"
            " manifest_sha256 = excluded.manifest_sha256, time = excluded.time, number = excluded.number"
            " WHERE excluded.number > seals.number",
            (seal.upload_id, seal.files, seal.bytes, seal.manifest_sha256, event.time.isoformat(), event.order),
        )
        # a station that says it once more has not heard that the dataset is complete: it is completed and said again
        self._db.execute(
            "UPDATE uploads SET state = 'ensured', due = 0 WHERE upload_id = ? AND state = 'completed'",
            (seal.upload_id,),
        )

    def sealed_at(self, upload_id: str) -> int | None:
        """Return the order of the latest seal, None where there is none."""
        row = self._db.execute("SELECT number FROM seals WHERE upload_id = ?", (upload_id,)).fetchone()
        return row and int(row[0])

    def complete_manifest(self, upload_id: str) -> sqlite3.Row | Literal["incomplete", "differs"]:
        """Return the seal when the registered files are exactly those of the manifest, or what is missing for that."""
        seal: sqlite3.Row | None = self._db.execute("SELECT * FROM seals WHERE upload_id = ?", (upload_id,)).fetchone()
        held = "SELECT files, registered FROM datafile_counts WHERE upload_id = ?"
        counts = self._db.execute(held, (upload_id,)).fetchone() or (0, 0)
        if seal is None or tuple(counts) != (seal["files"], seal["files"]):
            return "incomplete"
        cursor = self._db.cursor()
        cursor.row_factory = None
        query = "SELECT path, sha256 FROM datafiles WHERE upload_id = ? AND registered = 1 ORDER BY path"
        rows: Iterator[tuple[bytes, str]] = cursor.execute(query, (upload_id,))
        compacted = ((one["path"], one["sha256"]) for one in CompactedDatafiles(self._db).rows_after(upload_id, b""))
        digest, files = hashlib.sha256(), 0
        for files, (path, sha256) in enumerate(heapq.merge(rows, compacted), 1):  # noqa: B007 - how many there were
            digest.update(manifest_entry(path, sha256))
        if files != seal["files"]:
            return "incomplete"
        return seal if digest.hexdigest() == seal["manifest_sha256"] else "differs"
