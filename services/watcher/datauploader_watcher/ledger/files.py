"""The file versions of the uploads, folder by folder, and what was said and heard of each."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from datauploader.contracts.files import FileVersion
from datauploader.contracts.model import LATEST_NS
from datauploader.reliability.groups import write_groups
from datauploader_watcher.domain.versions import Digests, KnownVersion, Stamp, join, split, version
from datauploader_watcher.ledger.schema import PENDING, TO_DO
from datauploader_watcher.ledger.superseded import SupersededVersions

KnownRow = tuple[bytes, int, int, int, str, str | None, int]
"""Name, size, mtime_ns, inode, state, reason, ctime_ns: what a scan compares with the disk."""


class FileRow(NamedTuple):
    """A row of the table `files`: one version, as much of it as is needed to speak of it. A tuple, for speed."""

    folder: int
    name: bytes
    path: bytes
    state: str
    attempts: int
    stamp: Stamp
    version: FileVersion
    digests: Digests
    object: str | None = None
    reason: str | None = None
    writer: bool = False
    """A program had it open for writing when it was read."""
    as_is: bool = False
    """See `FileVersion.as_is`."""
    seen_at: float | None = None
    """When the version was first seen, in seconds since 1970; None where it was announced before, or nobody knows."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Files and bytes in one state."""

    files: int = 0
    bytes: int = 0


_COLUMNS = """f.folder, f.name, d.path AS directory, f.state, f.attempts, f.size, f.mtime_ns, f.inode, f.ctime_ns,
    f.version_mtime_ns, f.sha256, f.md5, f.sha1, f.revision, f.object, f.reason, f.writer, f.as_is,
    f.due_at"""
_KNOWN = "name, size, mtime_ns, inode, state, reason, ctime_ns"
_HELD = "'stored', 'catalogued', 'releasing', 'released'"
_FROM = "FROM files f JOIN folders d ON d.id = f.folder"
_PUT = """INSERT INTO files (folder, name, upload, size, mtime_ns, inode, ctime_ns, state, revision, version_mtime_ns,
        attempts, announced_at, due_at, sha256, md5, sha1, writer, as_is)
    VALUES {rows} ON CONFLICT (folder, name)"""
_REPLACE = """DO UPDATE SET
    size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode, ctime_ns = excluded.ctime_ns,
    state = excluded.state, revision = excluded.revision, version_mtime_ns = excluded.version_mtime_ns,
    attempts = excluded.attempts, announced_at = excluded.announced_at, due_at = excluded.due_at,
    sha256 = excluded.sha256, md5 = excluded.md5, sha1 = excluded.sha1, writer = excluded.writer,
    as_is = excluded.as_is, object = NULL, reason = NULL, detail = NULL"""


class FileTable:
    """The tables `folders`, `files` and `tallies`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def folder(self, upload: int, path: bytes) -> int | None:
        """Find a folder's number, None where nothing in it is known."""
        row = self._db.execute("SELECT id FROM folders WHERE upload = ? AND path = ?", (upload, path)).fetchone()
        return int(row[0]) if row else None

    def knows_below(self, upload: int, path: bytes) -> bool:
        """Tell whether anything is known in a folder, or in one below it."""
        query = """SELECT 1 FROM folders WHERE upload = ? AND path = ?
            UNION ALL SELECT 1 FROM folders WHERE upload = ? AND path > ? AND path < ? LIMIT 1"""
        wanted = (upload, path, upload, path + b"/", path + b"0")  # "0" is what comes after "/"
        return self._db.execute(query, wanted).fetchone() is not None

    def make_folder(self, upload: int, path: bytes) -> int:
        """Find a folder's number, or give it one."""
        found = self.folder(upload, path)
        if found is not None:
            return found
        return int(self._db.execute("INSERT INTO folders (upload, path) VALUES (?, ?)", (upload, path)).lastrowid or 0)

    def known(self, folder: int, after: bytes, last: bytes | None) -> dict[bytes, KnownRow]:
        """Return what is known in a folder, of the names after `after` up to `last` (None: to the end)."""
        query = f"SELECT {_KNOWN} FROM files WHERE folder = ? AND name > ?"  # noqa: S608 - constants only
        cursor = self._db.cursor()
        cursor.row_factory = None
        rows = cursor.execute(query + " AND name <= ?", (folder, after, last)) if last is not None else cursor.execute(
            query, (folder, after)
        )  # fmt: skip
        return {row[0]: row for row in rows}

    def known_names(self, folder: int, names: Iterable[bytes]) -> dict[bytes, KnownRow]:
        """Return what is known of these names in a folder."""
        query = f"SELECT {_KNOWN} FROM files WHERE folder = ? AND name = ?"  # noqa: S608 - constants only
        cursor = self._db.cursor()
        cursor.row_factory = None
        found = (cursor.execute(query, (folder, name)).fetchone() for name in names)
        return {row[0]: row for row in found if row is not None}

    def find_in(self, folder: int, name: bytes) -> KnownVersion | None:
        """Look up the version under a name; None where there is none, or it is left out."""
        row = self._db.execute("SELECT * FROM files WHERE folder = ? AND name = ?", (folder, name)).fetchone()
        if row is None or row["sha256"] is None:
            return None
        return KnownVersion(
            _stamp(row),
            row["state"],
            row["version_mtime_ns"],
            Digests(row["sha256"], row["md5"], row["sha1"]),
            row["revision"],
        )

    def put(self, upload: int, rows: Sequence[FileRow], *, announced: tuple[float, float] | None = None) -> None:
        """Keep finished versions, each in place of whatever was known of its path.

        Args:
            upload: the upload's number.
            rows: the versions.
            announced: now, and when their patience ends, where they are announced in the same transaction.
        """
        state, attempts = ("announced", 1) if announced else ("ready", 0)
        now, due_at = announced or (None, None)  # what waits to be announced keeps there since when it is known
        values = [
            (
                row.folder, row.name, upload, *row.stamp, state, row.version.revision, row.version.mtime_ns,
                attempts, now, due_at or row.seen_at, row.digests.sha256, row.digests.md5, row.digests.sha1,
                row.writer, row.as_is,
            )
            for row in rows
        ]  # fmt: skip
        if write_groups(self._db, f"{_PUT} DO NOTHING", values) < len(values):
            SupersededVersions(self._db).keep_stored([(row.folder, row.name) for row in rows])
            write_groups(self._db, f"{_PUT} {_REPLACE}", values)

    def put_left_out(
        self, upload: int, folder: int, name: bytes, reason: str, detail: str
    ) -> bool:  # fmt: skip
        """Keep a record of something that stays out; False where a version of it, or the same record, is known."""
        return self._db.execute(
            """INSERT INTO files (folder, name, upload, size, mtime_ns, inode, state, reason, detail)
            VALUES (?, ?, ?, 0, 0, 0, 'left-out', ?, ?)
            ON CONFLICT (folder, name) DO UPDATE SET reason = excluded.reason, detail = excluded.detail
            WHERE state = 'left-out' AND reason <> excluded.reason""",
            (folder, name, upload, reason, detail),
        ).rowcount == 1  # fmt: skip

    def take_back(self, folder: int, name: bytes) -> bool:
        """Remove the record that something is left out; False where there was none."""
        query = "DELETE FROM files WHERE folder = ? AND name = ? AND state = 'left-out'"
        return self._db.execute(query, (folder, name)).rowcount == 1

    def restamp(self, folder: int, name: bytes, seen: Stamp, *, writer: bool = False) -> None:
        """Note what the disk says now of a file whose bytes have not changed, and whether a program may write on."""
        query = "UPDATE files SET mtime_ns = ?, inode = ?, ctime_ns = ?, writer = ? WHERE folder = ? AND name = ?"
        self._db.execute(query, (seen.mtime_ns, seen.inode, seen.ctime_ns, writer, folder, name))

    def learn_changed(self, folder: int, news: Iterable[tuple[int, bytes]]) -> None:
        """Note times of change, with the names, where an older release kept none."""
        query = "UPDATE files SET ctime_ns = ? WHERE folder = ? AND name = ? AND ctime_ns = 0"
        self._db.executemany(query, [(changed, folder, name) for changed, name in news])

    def ready_again(
        self, folder: int, name: bytes, seen: Stamp, *, writer: bool = False, as_is: bool = False
    ) -> None:  # fmt: skip
        """Have the same version announced once more."""
        query = """UPDATE files SET state = 'ready', mtime_ns = ?, inode = ?, ctime_ns = ?, writer = ?, as_is = ?,
            due_at = NULL, reason = NULL, detail = NULL WHERE folder = ? AND name = ?"""
        self._db.execute(query, (seen.mtime_ns, seen.inode, seen.ctime_ns, writer, as_is, folder, name))

    def written(self, upload: int) -> list[FileRow]:
        """List versions that a program had open for writing when they were read, in order of their paths."""
        query = f"""SELECT {_COLUMNS} {_FROM} WHERE f.upload = ? AND f.writer = 1 AND f.sha256 IS NOT NULL
            AND f.state <> 'gone'"""
        return sorted((_row(row) for row in self._db.execute(query, (upload,))), key=lambda row: row.path)

    def odd_dates(self, upload: int) -> list[tuple[bytes, int]]:
        """List files whose date was brought into bounds, with the date that is kept, in order of their paths."""
        query = f"""SELECT d.path, f.name, f.version_mtime_ns {_FROM} WHERE f.upload = ? AND f.sha256 IS NOT NULL
            AND f.state <> 'gone' AND f.version_mtime_ns IN (?, ?)"""
        return sorted(
            (join(row[0], row[1]), row[2]) for row in self._db.execute(query, (upload, -LATEST_NS, LATEST_NS))
        )

    def in_state(self, upload: int, state: str, most: int) -> list[FileRow]:
        """List versions in one of the states that ask for something to be done."""
        query = f"SELECT {_COLUMNS} {_FROM} WHERE f.upload = ? AND f.state = ? AND f.state IN {TO_DO} LIMIT ?"
        return [_row(row) for row in self._db.execute(query, (upload, state, most))]

    def overdue(self, upload: int, *, before: float, beyond: float, most: int) -> list[FileRow]:
        """List versions whose receipt should have come before `before`, or that the clock has put beyond `beyond`."""
        query = f"""WITH late AS (
                SELECT folder, name FROM files WHERE upload = ? AND state IN {PENDING} AND due_at <= ?
                UNION ALL SELECT folder, name FROM files WHERE upload = ? AND state IN {PENDING} AND due_at > ?
                LIMIT ?)
            SELECT {_COLUMNS} FROM late CROSS JOIN files f ON f.folder = late.folder AND f.name = late.name
            CROSS JOIN folders d ON d.id = f.folder"""  # noqa: S608 - constants only
        return [_row(row) for row in self._db.execute(query, (upload, before, upload, beyond, most))]

    def set_announced(self, rows: Iterable[tuple[FileRow, float]], now: float) -> None:
        """Note announcements: each row with the moment at which its patience ends."""
        self._db.executemany(
            """UPDATE files SET state = CASE state WHEN 'ready' THEN 'announced' ELSE state END,
                attempts = attempts + 1, due_at = ?, announced_at = coalesce(announced_at, ?)
            WHERE folder = ? AND name = ?""",
            [(due, now, row.folder, row.name) for row, due in rows],
        )

    def set_state(self, folder: int, name: bytes, state: str) -> None:
        """Put one version into a state."""
        self._db.execute("UPDATE files SET state = ? WHERE folder = ? AND name = ?", (state, folder, name))

    def set_reason(self, row: FileRow, reason: str, detail: str = "") -> None:
        """Note why a version is in its state."""
        query = "UPDATE files SET reason = ?, detail = ? WHERE folder = ? AND name = ?"
        self._db.execute(query, (reason, detail, row.folder, row.name))

    def release(self, upload: int) -> int:
        """Have the local copies of a completed dataset removed; return how many that concerns."""
        query = """UPDATE files SET state = 'releasing', reason = NULL, detail = NULL
            WHERE state = 'catalogued' AND folder IN (SELECT id FROM folders WHERE upload = ?)"""
        return self._db.execute(query, (upload,)).rowcount

    def forget(self, upload: int, most: int) -> None:
        """Forget some files of an upload that is over, folder by folder; from the first on it counts as forgotten."""
        self._db.execute("UPDATE uploads SET forgotten = 1 WHERE id = ?", (upload,))
        folders = self._db.execute("SELECT id FROM folders WHERE upload = ? LIMIT ?", (upload, most)).fetchall()
        for (folder,) in folders:
            names = self._db.execute("SELECT name FROM files WHERE folder = ? LIMIT ?", (folder, most)).fetchall()
            self._db.executemany("DELETE FROM files WHERE folder = ? AND name = ?", ((folder, one[0]) for one in names))
            most -= len(names) + 1  # a folder counts as well
            if most < 0:
                return
            self._db.execute("DELETE FROM held WHERE folder = ?", (folder,))
            self._db.execute("DELETE FROM folders WHERE id = ?", (folder,))

    def forget_paths(self, upload: int, paths: Iterable[bytes]) -> None:
        """Forget what was found at these paths of an upload, because others know better what was uploaded of them."""
        query = "DELETE FROM files WHERE name = ? AND folder = (SELECT id FROM folders WHERE upload = ? AND path = ?)"
        places = (path.rpartition(b"/") for path in paths)
        self._db.executemany(query, [(name, upload, folder) for folder, _, name in places])

    def forget_unstored(self, upload: int) -> None:
        """Forget what an upload that is over has found and not uploaded; a later one finds it."""
        self._db.execute("DELETE FROM files WHERE upload = ? AND state NOT IN ('stored', 'catalogued')", (upload,))

    def withdraw(self, row: FileRow) -> None:
        """Take back a version that was to be announced: one that never was is forgotten, but for what it replaced."""
        if row.attempts == 0 and SupersededVersions(self._db).restore(row.folder, row.name):
            return
        if row.attempts == 0:
            self._db.execute("DELETE FROM files WHERE folder = ? AND name = ?", (row.folder, row.name))
        else:
            self.set_state(row.folder, row.name, "announced")

    def retry_failed(self, upload: int, paths: Sequence[bytes] = ()) -> int:
        """Have what failed for good announced again, all of it or these paths alone; return how many."""
        query = f"""UPDATE files SET state = 'ready', due_at = NULL, reason = NULL, detail = NULL
            WHERE upload = ? AND state = 'failed' AND state IN {TO_DO}"""  # noqa: S608 - constants only
        if not paths:
            return self._db.execute(query, (upload,)).rowcount
        query += " AND name = ? AND folder = (SELECT id FROM folders WHERE upload = ? AND path = ?)"
        places = [(upload, name, upload, folder) for folder, _, name in (path.rpartition(b"/") for path in paths)]
        return self._db.executemany(query, places).rowcount

    def on_storage(self, upload: int) -> dict[tuple[bytes, str], tuple[int, bytes]]:
        """Return the folder and name of each (path, SHA-256) that is on the storage, as far as is known here."""
        rows = self._db.execute(
            f"SELECT f.folder, f.name, d.path, f.sha256 {_FROM} WHERE d.upload = ? AND f.state IN ({_HELD})", (upload,)
        )
        return {(join(r["path"], r["name"]), r["sha256"].hex()): (r["folder"], r["name"]) for r in rows}

    def announce_again(self, places: Iterable[tuple[int, bytes]]) -> None:
        """Have what is on the storage announced once more, each by its folder and name.

        Whether a file is still on the disk does not matter: transfer knows what it has stored.
        """
        query = "UPDATE files SET state = 'announced', due_at = 0, reason = NULL, detail = NULL"
        self._db.executemany(f"{query} WHERE folder = ? AND name = ? AND state IN ({_HELD})", places)

    def remembered(self, upload: int) -> bool:
        """Tell whether the files of an upload are still known one by one."""
        query = "SELECT 1 FROM folders d JOIN uploads u ON u.id = d.upload WHERE u.id = ? AND u.forgotten = 0 LIMIT 1"
        return self._db.execute(query, (upload,)).fetchone() is not None

    def catalogued_as(self, upload: int, path: bytes, sha256: str) -> bool:
        """Tell whether this version of a path is in the catalogue, as far as is known here."""
        folder, name = split(path)
        query = f"""SELECT 1 {_FROM} WHERE d.upload = ? AND d.path = ? AND f.name = ? AND f.sha256 = ?
            AND f.state = 'catalogued'"""
        return self._db.execute(query, (upload, folder, name, bytes.fromhex(sha256))).fetchone() is not None

    def left_out(self, upload: int) -> list[sqlite3.Row]:
        """List what does not belong to the dataset, with the reasons: path of the folder, name, reason, detail."""
        query = """SELECT d.path, f.name, f.reason, f.detail FROM files f JOIN folders d ON d.id = f.folder
            WHERE d.upload = ? AND f.state IN ('left-out', 'gone') AND f.reason IS NOT NULL"""
        return self._db.execute(query, (upload,)).fetchall()

    def tallies(self, upload: int | None = None) -> dict[str, Tally]:
        """Count by state, of one upload or of all that are not finished."""
        if upload is not None:
            rows = self._db.execute("SELECT state, files, bytes FROM tallies WHERE upload = ?", (upload,))
        else:
            rows = self._db.execute(
                """SELECT t.state, sum(t.files) AS files, sum(t.bytes) AS bytes FROM tallies t
                JOIN uploads u ON u.id = t.upload WHERE u.state IN ('open', 'sealed') GROUP BY t.state"""
            )
        return {row["state"]: Tally(row["files"], row["bytes"]) for row in rows}

    def oldest_announced(self) -> float | None:
        """Return when the oldest version without all its receipts was announced."""
        row = self._db.execute(f"SELECT min(announced_at) FROM files WHERE state IN {PENDING}").fetchone()  # noqa: S608 - constants only
        return float(row[0]) if row[0] is not None else None

    def manifest(self, upload: int) -> Iterator[tuple[bytes, str]]:
        """Go through path and SHA-256 of every version that belongs to the dataset."""
        query = f"""SELECT d.path, f.name, f.sha256 {_FROM}
            WHERE d.upload = ? AND f.state NOT IN ('left-out', 'gone')"""
        for folder, name, sha256 in self._db.execute(query, (upload,)):
            yield join(folder, name), sha256.hex()


def _row(row: sqlite3.Row) -> FileRow:
    path, as_is = join(row["directory"], row["name"]), bool(row["as_is"])
    digests = Digests(row["sha256"], row["md5"], row["sha1"])
    return FileRow(
        folder=row["folder"],
        name=row["name"],
        path=path,
        state=row["state"],
        attempts=row["attempts"],
        stamp=_stamp(row),
        version=version(path, row["size"], row["version_mtime_ns"], digests, row["revision"], as_is=as_is),
        digests=digests,
        object=row["object"],
        reason=row["reason"],
        writer=bool(row["writer"]),
        as_is=as_is,
        seen_at=row["due_at"] if row["state"] == "ready" and not row["attempts"] else None,
    )


def _stamp(row: sqlite3.Row) -> Stamp:
    return Stamp(row["size"], row["mtime_ns"], row["inode"], row["ctime_ns"])


def new_row(
    folder: int, name: bytes, path: bytes, seen: Stamp, digests: Digests, revision: int, *, writer: bool = False,
    as_is: bool = False, seen_at: float | None = None,
) -> FileRow:  # fmt: skip
    """Build the row of a version that was just found finished."""
    made = version(path, seen.size, seen.mtime_ns, digests, revision, as_is=as_is)
    return FileRow(folder, name, path, "ready", 0, seen, made, digests, writer=writer, as_is=as_is, seen_at=seen_at)
