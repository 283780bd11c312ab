"""Files that were stored long ago: their jobs and owners compressed, and in the way of nobody who asks for them."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from datauploader.contracts.names import escape, unescape
from datauploader.reliability.blocks import BLOCK_FILES, Entry, FileBlocks, Known, TouchedUploads
from datauploader_transfer.ports import UNPROVED

Owner = tuple[str, list[str], bool]
"""An upload, the digests of one version that it has at an object, and whether it wrote it."""


class CompactedJobs:
    """Stored jobs in blocks, with the owners of their objects, inside the caller's transaction.

    A newer version of a file has a row in the table `jobs` beside its block; the row counts.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db, self._blocks = db, FileBlocks(db)

    def find_rows(self, upload_id: str, paths: Iterable[bytes]) -> dict[bytes, Any]:
        """Return the rows of those of these paths that are in blocks."""
        return {path: _row((path, known)) for path, known in self._blocks.find_files(upload_id, paths).items()}

    def find_owners(self, remote: str, objects: Iterable[str]) -> defaultdict[str, list[Owner]]:
        """Return the owners of objects that are in blocks, by object."""
        by_folder: defaultdict[str, list[str]] = defaultdict(list)
        for name in objects:
            by_folder[name.rpartition("/")[0]].append(name)
        found: defaultdict[str, list[Owner]] = defaultdict(list)
        for folder, names in by_folder.items():
            for upload_id, location in self._uploads_at(remote, folder):
                paths = {unescape(name[len(location) + 1 :]): name for name in names}
                for path, known in self._blocks.find_files(upload_id, paths).items():
                    found[paths[path]] += [(upload_id, digests, wrote) for digests, wrote in _owners(known)]
        return found

    def _uploads_at(self, remote: str, folder: str) -> Iterator[tuple[str, str]]:
        """Yield the compacted uploads whose objects lie in a folder or above it, each with its location."""
        parts = folder.split("/")
        locations = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        marks = ",".join("?" * len(locations))
        query = f"SELECT upload_id, location FROM uploads WHERE remote = ? AND location IN ({marks})"  # noqa: S608 - only question marks
        for upload_id, location in self._db.execute(query, (remote, *locations)).fetchall():
            if self._blocks.has_blocks(upload_id):
                yield upload_id, location

    def thaw_files(self, upload_id: str, paths: Iterable[bytes]) -> None:
        """Give the files of the blocks in which these paths lie rows again, because one of them is to change."""
        self._thaw(upload_id, paths)
        TouchedUploads(self._db).touch_upload(upload_id)

    def find_compactable(self, before: float) -> tuple[str, bool] | None:
        """Find an upload of which nothing was heard since, and nothing waits; also tell whether it was cancelled."""
        query = """
            SELECT u.upload_id, u.state FROM uploads u INDEXED BY uploads_touched
            LEFT JOIN job_counts c USING (upload_id)
            WHERE u.touched IS NOT NULL AND u.touched <= ? AND (u.state = 'cancelled' OR coalesce(c.waiting, 0) = 0)
            AND NOT EXISTS (
                SELECT 1 FROM jobs j INDEXED BY jobs_moving WHERE j.upload_id = u.upload_id AND j.state = 'moving'
            )
            AND NOT EXISTS (SELECT 1 FROM audits a WHERE a.upload_id = u.upload_id AND a.report = x'')
            ORDER BY u.touched LIMIT 1"""
        row = self._db.execute(query, (before,)).fetchone()
        return row and (str(row["upload_id"]), row["state"] == "cancelled")

    def drop_waiting(self, upload_id: str, most: int = BLOCK_FILES) -> bool:
        """Drop some files of a cancelled upload that never moved; return whether there were any."""
        query = """DELETE FROM jobs WHERE (upload_id, path) IN (
            SELECT upload_id, path FROM jobs INDEXED BY jobs_waiting WHERE upload_id = ? AND state = 'waiting' LIMIT ?
        )"""
        return self._db.execute(query, (upload_id, most)).rowcount > 0

    def compact_files(self, upload_id: str, most: int = BLOCK_FILES) -> None:
        """Bring the first stored files of an upload that have rows into a block, or note that there are none left."""
        query = "SELECT path, version, stored FROM jobs WHERE upload_id = ? AND state = 'stored' ORDER BY path LIMIT ?"
        chosen = self._blocks.next_rows(upload_id, query, most, self._thaw)
        if not chosen:
            return
        place = self._place_of(upload_id)
        self._blocks.put_block(upload_id, [(bytes(row["path"]), self._known(upload_id, place, row)) for row in chosen])
        paths = [bytes(row["path"]) for row in chosen]
        self._db.executemany("DELETE FROM jobs WHERE upload_id = ? AND path = ?", [(upload_id, path) for path in paths])
        self._db.executemany(
            "DELETE FROM owners WHERE remote = ? AND object = ? AND upload_id = ? AND digests <> ?",
            [(*_object(place, path), upload_id, UNPROVED) for path in paths],
        )

    def _place_of(self, upload_id: str) -> tuple[str, str]:
        query = "SELECT remote, location FROM uploads WHERE upload_id = ?"
        remote, location = self._db.execute(query, (upload_id,)).fetchone()
        return remote, location

    def _known(self, upload_id: str, place: tuple[str, str], row: sqlite3.Row) -> Known:
        """Return what a block holds of a stored file: its version, how it is known, who has what at its object."""
        file, how = json.loads(row["version"]), json.loads(row["stored"])
        query = "SELECT digests, wrote FROM owners WHERE remote = ? AND object = ? AND upload_id = ? AND digests <> ?"
        held = self._db.execute(query, (*_object(place, row["path"]), upload_id, UNPROVED)).fetchall()
        own = _own_digests(file)
        known: dict[str, Any] = {"file": file, "state": how["state"], "method": how["method"]}
        for digests, wrote in held:
            if digests == own:
                known["wrote"] = wrote
            else:
                known.setdefault("others", []).append([digests, wrote])
        return known

    def _thaw(self, upload_id: str, paths: Iterable[bytes]) -> bool:
        entries = self._blocks.take_out(upload_id, paths)
        place = self._place_of(upload_id) if entries else ("", "")
        rows = [_row(entry) | {"upload": upload_id} for entry in entries]
        self._db.executemany(  # of a file that has a row, that is a newer version, or is to be one
            "INSERT OR IGNORE INTO jobs (upload_id, path, revision, size, version, state, stored)"
            " VALUES (:upload, :path, :revision, :size, :version, :state, :stored)",
            rows,
        )
        self._db.executemany(
            "INSERT INTO owners VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (remote, object, upload_id, digests) DO UPDATE SET wrote = max(wrote, excluded.wrote)",
            [
                (*_object(place, path), upload_id, " ".join(digests), wrote)
                for path, known in entries
                for digests, wrote in _owners(known)
            ],
        )
        return bool(entries)


def compact_some(db: sqlite3.Connection, before: float) -> bool:
    """Compact some files of an upload of which nothing was heard since a moment; return whether there was one."""
    compacted = CompactedJobs(db)
    found = compacted.find_compactable(before)
    if found is None:
        return False
    upload_id, cancelled = found
    if not (cancelled and compacted.drop_waiting(upload_id)):
        compacted.compact_files(upload_id)
    return True


def _row(entry: Entry) -> dict[str, Any]:
    path, known = entry
    file, how = known["file"], {name: known[name] for name in ("state", "method")}
    return {
        "path": path, "revision": file["revision"], "size": file["size"], "version": json.dumps(file),
        "state": "stored", "stored": json.dumps(how),
    }  # fmt: skip


def _object(place: tuple[str, str], path: bytes) -> tuple[str, str]:
    remote, location = place
    return remote, f"{location}/{escape(path)}"


def _own_digests(file: Known) -> str:
    """Return the digests of a version as its owner has them."""
    return " ".join(sorted({file[kind] for kind in ("sha256", "md5", "sha1") if file.get(kind)}))


def _owners(known: Known) -> Iterator[tuple[list[str], bool]]:
    if "wrote" in known:
        yield _own_digests(known["file"]).split(), bool(known["wrote"])
    for digests, wrote in known.get("others", ()):
        yield digests.split(), bool(wrote)
