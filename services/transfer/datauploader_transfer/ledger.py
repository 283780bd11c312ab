"""What transfer remembers: versions that wait to be moved, what became of them, and what it wrote where."""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from datauploader.contracts import Event, FileReady, FileVersion, StoredFile, encode
from datauploader.contracts.names import unpack
from datauploader.reliability import Schema
from datauploader_transfer import audits
from datauploader_transfer.domain.plan import LARGE
from datauploader_transfer.owners import ObjectOwners

SCHEMA = Schema(
    "transfer",
    (
        """
        CREATE TABLE uploads (
            upload_id TEXT PRIMARY KEY,
            cause BLOB NOT NULL,               -- an encoded file.ready without its files' meaning: who to answer
            root BLOB NOT NULL,
            remote TEXT NOT NULL,
            location TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'open' -- open, paused, cancelled
        );
        CREATE TABLE jobs (
            upload_id TEXT NOT NULL,
            path BLOB NOT NULL,
            revision INTEGER NOT NULL,
            size INTEGER NOT NULL,
            version TEXT NOT NULL,             -- the FileVersion as JSON
            state TEXT NOT NULL,               -- waiting, moving, stored, failed
            attempts INTEGER NOT NULL DEFAULT 0,
            due REAL NOT NULL DEFAULT 0,       -- seconds since 1970; not to be tried before
            stored TEXT NOT NULL DEFAULT '',   -- the StoredFile as JSON
            reason TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (upload_id, path)
        ) WITHOUT ROWID;
        CREATE INDEX jobs_waiting ON jobs (upload_id, due) WHERE state = 'waiting';
        CREATE TABLE written (
            remote TEXT NOT NULL,
            object TEXT NOT NULL,
            digest TEXT NOT NULL,              -- of a version that we began to write there
            PRIMARY KEY (remote, object, digest)
        ) WITHOUT ROWID;
        """,
        """
        CREATE TABLE cut (
            remote TEXT NOT NULL,
            target BLOB NOT NULL,              -- as the mover knows it; its writing was cut off by a crash
            PRIMARY KEY (remote, target)
        ) WITHOUT ROWID;
        """,
        """
        CREATE TABLE steering (
            upload_id TEXT PRIMARY KEY,
            state TEXT NOT NULL,               -- open, paused, cancelled
            time TEXT NOT NULL                 -- when it was said: an older word that comes late changes nothing
        ) WITHOUT ROWID;
        """,
        "CREATE INDEX jobs_later ON jobs (due) WHERE state = 'waiting' AND due > 0;",
        # What was written before this step has no owner: it is given to every upload whose place it lies in, and where
        # these are several it may be replaced by none of them.
        """
        CREATE TABLE owners (
            remote TEXT NOT NULL,
            object TEXT NOT NULL,
            upload_id TEXT NOT NULL,
            digests TEXT NOT NULL,             -- of one version, in hexadecimal, with blanks between them
            wrote INTEGER NOT NULL,            -- 1: the upload began to write it there; 0: found it, and counts on it
            PRIMARY KEY (remote, object, upload_id, digests)
        ) WITHOUT ROWID;
        CREATE TABLE continuing (
            upload_id TEXT NOT NULL,
            earlier TEXT NOT NULL,             -- an upload of the same dataset, whose objects this one may replace
            PRIMARY KEY (upload_id, earlier)
        ) WITHOUT ROWID;
        INSERT OR IGNORE INTO owners
            SELECT w.remote, w.object, u.upload_id, w.digest, 1 FROM uploads u CROSS JOIN written w
            ON w.remote = u.remote AND w.object >= u.location || '/' AND w.object < u.location || '0';
        INSERT OR IGNORE INTO owners
            SELECT u.remote, json_extract(j.stored, '$.object'), j.upload_id, trim(
                json_extract(j.stored, '$.file.sha256') || ' ' || coalesce(json_extract(j.stored, '$.file.md5'), '')
                || ' ' || coalesce(json_extract(j.stored, '$.file.sha1'), '')
            ), 1 FROM jobs j CROSS JOIN uploads u USING (upload_id) WHERE j.state = 'stored';
        DROP TABLE written;
        """,
        """
        ALTER TABLE steering ADD COLUMN number INTEGER NOT NULL DEFAULT 0;  -- decides, in place of the time
        UPDATE steering SET number = CAST((julianday(time) - 2440587.5) * 86400000000 AS INTEGER);
        """,
        audits.TABLES,
        "ALTER TABLE jobs ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;  -- failures that were this file's alone",
        f"CREATE INDEX jobs_large ON jobs (upload_id, due) WHERE state = 'waiting' AND size >= {LARGE};",
    ),
)


@dataclass(frozen=True, slots=True)
class UploadRoute:
    """The route of an upload: where its files come from and go to."""

    upload_id: str
    cause: bytes
    root: bytes
    remote: str
    location: str


@dataclass(frozen=True, slots=True)
class Job:
    """One version that waits to be moved."""

    file: FileVersion
    attempts: int
    reason: str
    """Why the last attempt failed, "" before the first."""
    refused: int = 0
    """Attempts that failed while the storage took other files."""


_MOST_WORDS = 256 * 1024
"""Characters of the versions of one batch; those of 500 files have fewer, unless their paths are very long."""
_WAITING = (
    "SELECT path, size, version, attempts, reason, refused FROM jobs "
    "WHERE upload_id = ? AND state = 'waiting' AND due <= ?"
)


class JobTable:
    """The job queue: the table `jobs`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add_ready(self, event: Event[FileReady]) -> list[StoredFile]:
        """Remember versions to be moved, the newest of each path; return those that are stored already."""
        ready = event.data
        UploadRoutes(self._db).add_route(event)
        ObjectOwners(self._db).note_continued(ready.upload_id, ready.continues)
        known: list[StoredFile] = []
        new: dict[bytes, FileVersion] = {}  # of two versions of one path in one event the last one that counts
        rows = self._rows_of(ready.upload_id, [file.raw for file in ready.files])
        for file in ready.files:
            row, before = rows.get(file.raw), new.get(file.raw)
            stored = StoredFile.model_validate_json(row["stored"]) if row and row["state"] == "stored" else None
            if before is not None:
                if file.revision > before.revision:
                    new[file.raw] = file
            elif stored is not None and stored.file.key == file.key:
                known.append(stored.model_copy(update={"file": file}))  # a station that lost its state counts anew
            elif row is None or file.revision > row["revision"] or row["state"] == "failed":
                new[file.raw] = file
        self._db.executemany(
            "INSERT OR REPLACE INTO jobs (upload_id, path, revision, size, version, state) "
            "VALUES (?, ?, ?, ?, ?, 'waiting')",
            [
                (ready.upload_id, path, file.revision, file.size, file.model_dump_json(exclude_none=True))
                for path, file in new.items()
            ],
        )
        return known

    def _rows_of(self, upload_id: str, paths: Sequence[bytes]) -> dict[bytes, sqlite3.Row]:
        marks = ", ".join("?" * len(paths))
        query = f"SELECT path, revision, state, stored FROM jobs WHERE upload_id = ? AND path IN ({marks})"  # noqa: S608
        return {bytes(row["path"]): row for row in self._db.execute(query, (upload_id, *paths))}

    def interrupted(self) -> list[tuple[str, bytes]]:
        """Return what was being moved when a former run ended: upload and path."""
        rows = self._db.execute("SELECT upload_id, path FROM jobs WHERE state = 'moving'")
        return [(row["upload_id"], row["path"]) for row in rows]

    def requeue_interrupted(self, jobs: Iterable[tuple[str, bytes]]) -> None:
        """Have that wait again which a former run was moving: the destination will tell how far it came."""
        for upload_id, path in jobs:
            route = UploadRoutes(self._db).find_route(upload_id)
            InterruptedWrites(self._db).note_cut(route.remote, [mover_target(route.location, path)])
            self._db.execute(
                "UPDATE jobs SET state = 'waiting' WHERE upload_id = ? AND path = ? AND state = 'moving'",
                (upload_id, path),
            )

    def retry_jobs(self, upload_id: str, paths: Sequence[bytes] = ()) -> None:
        """Have what failed, or waits for another attempt, moved at once: all of an upload, or these paths alone."""
        query = (
            "UPDATE jobs SET state = 'waiting', attempts = 0, refused = 0, due = 0, reason = '' "
            "WHERE upload_id = ? AND (state = 'failed' OR (state = 'waiting' AND due > 0))"
        )
        if paths:
            self._db.executemany(f"{query} AND path = ?", [(upload_id, path) for path in paths])
        else:
            self._db.execute(query, (upload_id,))

    def movable_uploads(self, now: float) -> list[str]:
        """Return the uploads that have something to move now.

        From one upload that waits to the next, so that neither finished uploads nor waiting files are gone through.
        """
        rows = self._db.execute(
            """
            WITH RECURSIVE waiting (upload_id) AS (
                SELECT min(upload_id) FROM jobs INDEXED BY jobs_waiting WHERE state = 'waiting'
                UNION ALL SELECT (
                    SELECT min(j.upload_id) FROM jobs j INDEXED BY jobs_waiting
                    WHERE j.state = 'waiting' AND j.upload_id > waiting.upload_id
                ) FROM waiting WHERE waiting.upload_id IS NOT NULL
            )
            SELECT u.upload_id FROM waiting CROSS JOIN uploads u USING (upload_id) WHERE u.state = 'open' AND EXISTS (
                SELECT 1 FROM jobs j INDEXED BY jobs_waiting
                WHERE j.upload_id = u.upload_id AND j.state = 'waiting' AND j.due <= ?
            )
            """,
            (now,),
        )
        return [row["upload_id"] for row in rows]

    def last_job_due(self) -> float | None:
        """Return when the last job that waits for another attempt is due."""
        query = "SELECT max(due) FROM jobs INDEXED BY jobs_later WHERE state = 'waiting' AND due > 0"
        row = self._db.execute(query).fetchone()
        return float(row[0]) if row[0] is not None else None

    def cap_job_waits(self, latest: float) -> None:
        """Let nothing wait beyond a moment: whatever does was put off by a clock that has been put right since."""
        query = "UPDATE jobs INDEXED BY jobs_later SET due = 0 WHERE state = 'waiting' AND due > ? AND due > 0"
        self._db.execute(query, (latest,))

    def next_job_due(self, now: float) -> float | None:
        """Return when the next job that waits for another attempt is due."""
        # the first bound is the one that is sought: the other only says that the index holds it
        query = "SELECT min(due) FROM jobs INDEXED BY jobs_later WHERE state = 'waiting' AND due > ? AND due > 0"
        row = self._db.execute(query, (now,)).fetchone()
        return float(row[0]) if row[0] is not None else None

    def take_jobs(
        self, upload_id: str, now: float, *, most_files: int, most_bytes: int, busy: Iterable[bytes],
        large: bool | None = None,
    ) -> list[Job]:  # fmt: skip
        """Take jobs of one upload, up to so many files, bytes and words about them, at least one; skip busy paths.

        With `large` only files that are, or are not, at least `LARGE`.
        Files that have failed while others were stored travel with their like, so that no other waits for them. One
        file alone shows whether a storage is well again: the smallest, which is known the soonest.
        """
        skip = set(busy)
        jobs: list[Job] = []
        size = words = 0
        order = "size" if most_files == 1 else "due"
        which = {None: "", True: f" AND size >= {LARGE}", False: f" AND size < {LARGE}"}[large]
        query = f"{_WAITING}{which} ORDER BY {order} LIMIT ?"
        rows = self._db.execute(query, (upload_id, now, most_files + len(skip)))
        for row in rows:
            if bytes(row["path"]) in skip or (jobs and bool(row["refused"]) != bool(jobs[0].refused)):
                continue
            size, words = size + row["size"], words + len(row["version"])
            if jobs and (size > most_bytes or words > _MOST_WORDS or len(jobs) >= most_files):
                break
            version = FileVersion.model_validate_json(row["version"])
            jobs.append(Job(version, row["attempts"], row["reason"], row["refused"]))
        rows.close()
        self._db.executemany(
            "UPDATE jobs SET state = 'moving' WHERE upload_id = ? AND path = ?",
            [(upload_id, job.file.raw) for job in jobs],
        )
        return jobs

    def mark_stored(self, upload_id: str, stored: Sequence[StoredFile]) -> list[StoredFile]:
        """Note that versions are stored; return them without those of whose paths a newer one has come meanwhile."""
        rows = self._rows_of(upload_id, [one.file.raw for one in stored])
        current = [one for one in stored if (row := rows.get(one.file.raw)) and row["revision"] == one.file.revision]
        self._db.executemany(
            "UPDATE jobs SET state = 'stored', stored = ?, reason = '' WHERE upload_id = ? AND path = ?",
            [(one.model_dump_json(exclude_none=True), upload_id, one.file.raw) for one in current],
        )
        return current

    def mark_failed(
        self, upload_id: str, file: FileVersion, *, reason: str, due: float | None, own: bool = False
    ) -> bool:
        """Note a failure: final, or (with `due`) to be tried again; return False when a newer version has come.

        `own`: it was the file's alone.
        """
        cursor = self._db.execute(
            "UPDATE jobs SET state = ?, reason = ?, due = ?, attempts = attempts + 1, refused = refused + ? "
            "WHERE upload_id = ? AND path = ? AND revision = ?",
            ("failed" if due is None else "waiting", reason, due or 0, own, upload_id, file.raw, file.revision),
        )
        return cursor.rowcount == 1

    def requeue_jobs(self, upload_id: str, files: Iterable[FileVersion]) -> None:
        """Let versions wait again that were taken and not moved."""
        self._db.executemany(
            "UPDATE jobs SET state = 'waiting' WHERE upload_id = ? AND path = ? AND state = 'moving'",
            [(upload_id, file.raw) for file in files],
        )

    def backlog(self) -> dict[str, tuple[int, str]]:
        """Count what waits, by upload, with the upload's state; what is in a mover's hands is not counted."""
        rows = self._db.execute(
            "SELECT u.upload_id, u.state, count(*) AS waiting FROM jobs j INDEXED BY jobs_waiting "
            "CROSS JOIN uploads u USING (upload_id) WHERE j.state = 'waiting' GROUP BY j.upload_id"
        )
        return {row["upload_id"]: (row["waiting"], row["state"]) for row in rows}

    def has_files_waiting(self, upload_id: str) -> bool:
        """Tell whether files of an upload are still to be moved, and may be."""
        query = (
            "SELECT 1 FROM jobs j INDEXED BY jobs_waiting CROSS JOIN uploads u USING (upload_id)"
            " WHERE j.upload_id = ? AND j.state = 'waiting' AND u.state = 'open' LIMIT 1"
        )
        return self._db.execute(query, (upload_id,)).fetchone() is not None


class UploadRoutes:
    """The tables `uploads` and `steering`, inside the caller's transaction: where uploads go, and who may go on."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add_route(self, event: Event[FileReady]) -> None:
        """Remember an upload, as it was steered before its first versions came; one that is known does not change."""
        ready = event.data
        # only the envelope of the cause is asked for
        cause = replace(event, data=ready.model_copy(update={"files": ready.files[:1]}))
        self._db.execute(
            "INSERT OR IGNORE INTO uploads (upload_id, cause, root, remote, location, state) VALUES (?, ?, ?, ?, ?, "
            "coalesce((SELECT state FROM steering WHERE upload_id = ?1), 'open'))",
            (
                ready.upload_id,
                encode(cause),
                unpack(ready.root, ready.root_b64),
                ready.destination.remote,
                ready.destination.location,
            ),
        )

    def find_route(self, upload_id: str) -> UploadRoute:
        """Look an upload up."""
        row = self._db.execute("SELECT * FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        return UploadRoute(row["upload_id"], row["cause"], row["root"], row["remote"], row["location"])

    def remote_of(self, upload_id: str) -> str | None:
        """Return where an upload goes, None while nothing of it has come."""
        row = self._db.execute("SELECT remote FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        return row and str(row["remote"])

    def steer_upload(self, upload_id: str, action: str, said: datetime, order: int) -> None:
        """Pause, resume or cancel an upload, known already or not; the greatest order is right."""
        state = {"pause": "paused", "resume": "open", "cancel": "cancelled"}.get(action)
        if state:
            self._db.execute(
                "INSERT INTO steering (upload_id, state, time, number) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (upload_id) DO UPDATE SET state = excluded.state, time = excluded.time,"
                " number = excluded.number"
                " WHERE steering.state <> 'cancelled'"
                " AND (excluded.number >= steering.number OR excluded.state = 'cancelled')",
                (upload_id, state, said.astimezone(UTC).isoformat(), order),
            )
            self._db.execute(
                "UPDATE uploads SET state = (SELECT state FROM steering WHERE upload_id = ?1)"
                " WHERE upload_id = ?1 AND state <> 'cancelled'",
                (upload_id,),
            )


class InterruptedWrites:
    """Targets at which writing was cut off: the table `cut`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def note_cut(self, remote: str, targets: Iterable[str]) -> None:
        """Note that something may lie beside these targets."""
        self._db.executemany(
            "INSERT OR IGNORE INTO cut VALUES (?, ?)", [(remote, os.fsencode(name)) for name in targets]
        )

    def cut_targets(self, remote: str) -> list[str]:
        """Return the targets at which writing was cut off, so that something may lie beside them."""
        return [
            os.fsdecode(row["target"]) for row in self._db.execute("SELECT target FROM cut WHERE remote = ?", (remote,))
        ]

    def mark_swept(self, remote: str, targets: Iterable[str]) -> None:
        """Note that nothing lies beside these targets any more."""
        self._db.executemany(
            "DELETE FROM cut WHERE remote = ? AND target = ?", [(remote, os.fsencode(t)) for t in targets]
        )


def mover_target(location: str, path: bytes) -> str:
    """Return the text under which the mover knows an object."""
    return f"{location}/{os.fsdecode(path)}"


def object_path(location: str, escaped: str) -> str:
    """Return the text under which an object is known: its folder and the escaped path below it."""
    return f"{location}/{escaped}"
