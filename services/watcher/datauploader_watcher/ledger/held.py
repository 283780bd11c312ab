"""The version of a path that the storage holds while a newer one is on its way: what counts if that never arrives."""

import sqlite3
from collections.abc import Iterable

from datauploader.contracts.files import FileVersion


class Held:
    """The table `held`, inside the caller's transaction."""

    @staticmethod
    def keep(db: sqlite3.Connection, places: Iterable[tuple[int, bytes]]) -> None:
        """Remember what is stored under these names (folder, name), because a newer version takes their rows."""
        db.executemany(
            """INSERT OR REPLACE INTO held
            SELECT folder, name, size, revision, version_mtime_ns, sha256, md5, sha1, object FROM files
            WHERE folder = ? AND name = ? AND state IN ('stored', 'catalogued')""",
            places,
        )

    @staticmethod
    def heard(db: sqlite3.Connection, folder: int, name: bytes, file: FileVersion, stored_as: str | None) -> None:
        """Take note that an older version than the row's was stored after all."""
        digests = (bytes.fromhex(text) if text else None for text in (file.sha256, file.md5, file.sha1))
        db.execute(
            """INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (folder, name) DO UPDATE SET size = excluded.size, revision = excluded.revision,
                version_mtime_ns = excluded.version_mtime_ns, sha256 = excluded.sha256, md5 = excluded.md5,
                sha1 = excluded.sha1, object = excluded.object
            WHERE excluded.revision > held.revision""",
            (folder, name, file.size, file.revision, file.mtime_ns, *digests, stored_as),
        )

    @staticmethod
    def restore(db: sqlite3.Connection, folder: int, name: bytes) -> bool:
        """Let the stored version count again, because the newer one is gone; False where none was stored.

        It counts as catalogued: there is no file to be announced again, and the catalog has its own word of it.
        """
        return (
            db.execute(
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
