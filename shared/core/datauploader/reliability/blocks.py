"""Rows of many files kept compressed: a block holds some hundred files of an upload, in order of their paths.

A file has a row of its own while something may still be done with it. Long after its upload has ended its row moves
into a block, which holds all that the row held in a seventh of the bytes, and it moves back where it is to change.
"""

import json
import sqlite3
import time
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from datauploader.reliability.store import Store

TABLE = """
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY,
    upload_id TEXT NOT NULL,
    first BLOB NOT NULL,               -- the paths that it begins and ends with; no two of an upload overlap
    last BLOB NOT NULL,
    content BLOB NOT NULL              -- a compressed JSON array of arrays: path, what is known of the file
);
CREATE UNIQUE INDEX blocks_first ON blocks (upload_id, first);
"""
TOUCHED = """
ALTER TABLE uploads ADD COLUMN touched REAL;  -- when its files were heard of last; NULL: all are in blocks
UPDATE uploads SET touched = CAST(strftime('%s', 'now') AS REAL);
CREATE INDEX uploads_touched ON uploads (touched) WHERE touched IS NOT NULL;
"""
"""What a ledger's table `uploads` needs besides."""
DAY_S = 86400.0
BLOCK_FILES = 500
"""Files in a block at most; also the rows that one transaction of a compaction touches."""

Known = Mapping[str, Any]
"""What is known of a file, as JSON can hold it."""
Entry = tuple[bytes, Known]
"""The path of a file and what is known of it."""


class FileBlocks:
    """The table `blocks`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def put_block(self, upload_id: str, entries: Sequence[Entry]) -> None:
        """Keep files in a new block.

        Args:
            upload_id: whose files they are.
            entries: in order of their paths, between those of two blocks that are there.
        """
        text = json.dumps([(_text(path), known) for path, known in entries], separators=(",", ":"))
        self._db.execute(
            "INSERT INTO blocks (upload_id, first, last, content) VALUES (?, ?, ?, ?)",
            (upload_id, entries[0][0], entries[-1][0], zlib.compress(text.encode())),
        )

    def has_blocks(self, upload_id: str) -> bool:
        """Tell whether any file of an upload is in a block."""
        query = "SELECT 1 FROM blocks WHERE upload_id = ? LIMIT 1"
        return self._db.execute(query, (upload_id,)).fetchone() is not None

    def find_files(self, upload_id: str, paths: Iterable[bytes]) -> dict[bytes, Known]:
        """Return what is known of those of these files that are in a block."""
        wanted = sorted(set(paths))
        found: dict[bytes, Known] = {}
        for row, some in self._covering(upload_id, wanted):
            known = dict(_entries(row["content"]))
            found.update({path: known[path] for path in some if path in known})
        return found

    def files_after(self, upload_id: str, after: bytes) -> Iterator[Entry]:
        """Go through the files of an upload that are in blocks, in order of their paths, from behind a path on."""
        query = (
            "SELECT content FROM blocks WHERE upload_id = ?1 AND first >= coalesce((SELECT max(first) FROM blocks"
            " WHERE upload_id = ?1 AND first <= ?2), x'') ORDER BY first"
        )
        for row in self._db.execute(query, (upload_id, after)):
            yield from (entry for entry in _entries(row["content"]) if entry[0] > after)

    def take_out(self, upload_id: str, paths: Iterable[bytes]) -> list[Entry]:
        """Remove the blocks that hold, or whose bounds enclose, one of these paths; return all that was in them."""
        rows = [row for row, _ in self._covering(upload_id, sorted(set(paths)))]
        self._db.executemany("DELETE FROM blocks WHERE id = ?", [(row["id"],) for row in rows])
        return [entry for row in rows for entry in _entries(row["content"])]

    def bound_after(self, upload_id: str, path: bytes) -> bytes | None:
        """Return where the next block behind a path begins, None where there is none."""
        query = "SELECT min(first) FROM blocks WHERE upload_id = ? AND first > ?"
        first: bytes | None = self._db.execute(query, (upload_id, path)).fetchone()[0]
        return first

    def next_rows(
        self, upload_id: str, query: str, most: int, thaw: Callable[[str, Sequence[bytes]], bool]
    ) -> list[sqlite3.Row]:
        """Return the rows of an upload that the next block is to hold; note it where there are none any more.

        Args:
            upload_id: whose rows they are.
            query: selects the first rows of an upload, so many, in order of their paths.
            most: how many.
            thaw: gives the files of the blocks that enclose these paths rows again; returns whether there were any.
        """
        rows = self._db.execute(query, (upload_id, most)).fetchall()
        if rows and thaw(upload_id, [rows[0]["path"]]):  # it came among files that were in a block already
            rows = self._db.execute(query, (upload_id, most)).fetchall()
        if not rows:
            TouchedUploads(self._db).mark_compacted(upload_id)
            return []
        bound = self.bound_after(upload_id, rows[0]["path"])
        return [row for row in rows if bound is None or row["path"] < bound]

    def _covering(self, upload_id: str, wanted: Sequence[bytes]) -> Iterator[tuple[sqlite3.Row, Sequence[bytes]]]:
        """Yield the blocks whose bounds enclose some of these sorted paths, each with those paths."""
        query = "SELECT * FROM blocks WHERE upload_id = ? AND first <= ? ORDER BY first DESC LIMIT 1"
        end = len(wanted)
        while end:
            row = self._db.execute(query, (upload_id, wanted[end - 1])).fetchone()
            if row is None:
                return
            begin = bisect_left(wanted, row["first"], 0, end)
            if some := [path for path in wanted[begin:end] if path <= row["last"]]:
                yield row, some
            end = begin


class TouchedUploads:
    """The column `touched` of the table `uploads`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def touch_upload(self, upload_id: str) -> None:
        """Note that something is done with the files of an upload: they are left in peace for a while."""
        self._db.execute("UPDATE uploads SET touched = ? WHERE upload_id = ?", (time.time(), upload_id))

    def mark_compacted(self, upload_id: str) -> None:
        """Note that every file of an upload that may be in a block is in one."""
        self._db.execute("UPDATE uploads SET touched = NULL WHERE upload_id = ?", (upload_id,))

    def cap_touched(self, now: float) -> None:
        """Let nothing have been touched in the future, by a clock that has been put right since."""
        self._db.execute("UPDATE uploads SET touched = ?1 WHERE touched IS NOT NULL AND touched > ?1", (now,))


def compaction(store: Store, days: float, compact: Callable[[sqlite3.Connection, float], bool]) -> Callable[[], bool]:
    """Return a step that compacts some files of uploads that were left in peace for so long; see `StateUpkeep`.

    Args:
        store: the ledger.
        days: for how long.
        compact: compacts some files of an upload that was touched before a moment; returns whether it found any.
    """

    def step() -> bool:
        now = time.time()
        with store.transaction() as db:
            TouchedUploads(db).cap_touched(now)
            return compact(db, now - days * DAY_S)

    return step


def _entries(content: bytes) -> Iterator[Entry]:
    return ((_raw(path), known) for path, known in json.loads(zlib.decompress(content)))


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _raw(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
