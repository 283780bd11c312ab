"""Superseded versions: what the storage holds while a newer one is on its way; it counts if that never arrives."""

import sqlite3
from collections.abc import Iterable

from datauploader.contracts.files import FailedFile, FileVersion
from datauploader_watcher.domain.versions import split

LOST = "former-lost"
"""The reason of a version that failed while the one before it was not on the storage any more either."""


class SupersededVersions:
    """Superseded versions that are still stored: the table `held`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def keep_stored(self, places: Iterable[tuple[int, bytes]]) -> None:
        """Remember what is stored under these names (folder, name), because a newer version takes their rows."""
        self._db.executemany(
            """INSERT OR REPLACE INTO held
            SELECT folder, name, size, revision, version_mtime_ns, sha256, md5, sha1, object FROM files
            WHERE folder = ? AND name = ? AND state IN ('stored', 'catalogued')""",
            places,
        )

    def note_stored(self, folder: int, name: bytes, file: FileVersion, stored_as: str | None) -> None:
        """Take note that an older version than the row's was stored after all."""
        digests = (bytes.fromhex(text) if text else None for text in (file.sha256, file.md5, file.sha1))
        self._db.execute(
            """INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (folder, name) DO UPDATE SET size = excluded.size, revision = excluded.revision,
                version_mtime_ns = excluded.version_mtime_ns, sha256 = excluded.sha256, md5 = excluded.md5,
                sha1 = excluded.sha1, object = excluded.object
            WHERE excluded.revision > held.revision""",
            (folder, name, file.size, file.revision, file.mtime_ns, *digests, stored_as),
        )

    def note_looked_for(self, upload: int, failed: FailedFile) -> bool:
        """Forget what transfer has looked for and not found in place of a version; tell whether there was such a one.

        An older transfer does not say what it found (`unknown`): then what was stored still counts.
        """
        if failed.holds == "unknown":
            return False
        directory, name = split(failed.file.raw)
        former = bytes.fromhex(failed.former) if failed.holds == "former" and failed.former else b""
        query = """DELETE FROM held WHERE name = ? AND revision < ? AND sha256 <> ?
            AND folder = (SELECT id FROM folders WHERE upload = ? AND path = ?)"""
        return self._db.execute(query, (name, failed.file.revision, former, upload, directory)).rowcount == 1

    def was_not_found(self, folder: int, name: bytes) -> bool:
        """Tell whether the version before this one was looked for and not found."""
        query = "SELECT 1 FROM files WHERE folder = ? AND name = ? AND reason = ?"
        return self._db.execute(query, (folder, name, LOST)).fetchone() is not None

    def restore(self, folder: int, name: bytes) -> bool:
        """Let the stored version count again, because the newer one is gone; False where none was stored.

        It counts as catalogued: there is no file to be announced again, and the catalog has its own word of it.
        """
        return (
            self._db.execute(
                """UPDATE files SET state = 'catalogued', due_at = NULL, reason = NULL, detail = NULL,
                (size, revision, version_mtime_ns, sha256, md5, sha1, object) =
                (SELECT size, revision, version_mtime_ns, sha256, md5, sha1, object FROM held h
                    WHERE h.folder = files.folder AND h.name = files.name)
            WHERE folder = ? AND name = ? AND EXISTS
                (SELECT 1 FROM held h WHERE h.folder = files.folder AND h.name = files.name)""",
                (folder, name),
            ).rowcount
            == 1
        )
