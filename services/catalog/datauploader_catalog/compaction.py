"""Datafiles of datasets that were finished long ago: compressed, and in the way of nobody who asks for them."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from datauploader.reliability.blocks import BLOCK_FILES, Entry, FileBlocks, TouchedUploads

_OVER = "('completed', 'continued', 'refused')"
"""States of uploads that register nothing more."""


class CompactedDatafiles:
    """Datafiles in blocks: what the table `datafiles` would say of them, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db, self._blocks = db, FileBlocks(db)

    def has_any(self, upload_id: str) -> bool:
        """Tell whether any file of an upload is in a block."""
        return self._blocks.has_blocks(upload_id)

    def find_rows(self, upload_id: str, paths: Iterable[bytes]) -> dict[bytes, dict[str, Any]]:
        """Return the rows of those of these paths that are in blocks."""
        return {path: _row((path, known)) for path, known in self._blocks.find_files(upload_id, paths).items()}

    def rows_after(self, upload_id: str, after: bytes) -> Iterator[dict[str, Any]]:
        """Go through the rows in order of their paths, from behind a path on."""
        return map(_row, self._blocks.files_after(upload_id, after))

    def thaw_files(self, upload_id: str, paths: Iterable[bytes]) -> None:
        """Give the files of the blocks in which these paths lie rows again, because one of them is to change."""
        self._thaw(upload_id, paths)
        TouchedUploads(self._db).touch_upload(upload_id)

    def find_compactable(self, before: float) -> str | None:
        """Find an upload that is over, of which nothing was heard since, and nothing is still to be told."""
        query = f"""
            SELECT u.upload_id FROM uploads u INDEXED BY uploads_touched
            LEFT JOIN datafile_counts c USING (upload_id) LEFT JOIN claims l USING (upload_id)
            WHERE u.touched IS NOT NULL AND u.touched <= ? AND (u.state IN {_OVER} OR l.cancelled = 1)
            AND c.files IS c.registered AND NOT EXISTS (SELECT 1 FROM parameters p WHERE p.upload_id = u.upload_id)
            ORDER BY u.touched LIMIT 1"""  # noqa: S608 - constants only
        row = self._db.execute(query, (before,)).fetchone()
        return row and str(row["upload_id"])

    def compact_files(self, upload_id: str, most: int = BLOCK_FILES) -> None:
        """Bring the first files of an upload that have rows into a block, or note that there are none any more."""
        query = "SELECT path, stored FROM datafiles WHERE upload_id = ? ORDER BY path LIMIT ?"
        entries: list[Entry] = [
            (bytes(row["path"]), json.loads(row["stored"]))
            for row in self._blocks.next_rows(upload_id, query, most, self._thaw)
        ]
        if not entries:
            return
        self._blocks.put_block(upload_id, entries)
        self._db.executemany(
            "DELETE FROM datafiles WHERE upload_id = ? AND path = ?", [(upload_id, path) for path, _ in entries]
        )
        self._count(upload_id, len(entries))

    def _thaw(self, upload_id: str, paths: Iterable[bytes]) -> bool:
        rows = [_row(entry) | {"upload": upload_id} for entry in self._blocks.take_out(upload_id, paths)]
        query = "INSERT INTO datafiles VALUES (:upload, :path, :revision, :size, :sha256, :stored, :registered)"
        self._db.executemany(query, rows)
        self._count(upload_id, -len(rows))
        return bool(rows)

    def _count(self, upload_id: str, files: int) -> None:
        """Count files that have moved between rows, which triggers count, and blocks."""
        query = "UPDATE datafile_counts SET files = files + ?1, registered = registered + ?1 WHERE upload_id = ?2"
        self._db.execute(query, (files, upload_id))


def compact_some(db: sqlite3.Connection, before: float) -> bool:
    """Compact some files of an upload of which nothing was heard since a moment; return whether there was one."""
    compacted = CompactedDatafiles(db)
    upload_id = compacted.find_compactable(before)
    if upload_id is not None:
        compacted.compact_files(upload_id)
    return upload_id is not None


def _row(entry: Entry) -> dict[str, Any]:
    path, known = entry
    document, file = json.dumps(known, separators=(",", ":")), known["file"]
    few = {name: file[name] for name in ("revision", "size", "sha256")}
    return few | {"path": path, "stored": document, "registered": 1}
