"""What transfer remembers: versions that wait to be moved, what became of them, and what it wrote where."""

import json
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from datauploader.contracts import Event, FileReady, FileVersion, StoredFile, encode
from datauploader.contracts.names import escape, unpack
from datauploader.reliability.blocks import TouchedUploads
from datauploader.reliability.groups import marks, write_groups
from datauploader_transfer.compaction import CompactedJobs
from datauploader_transfer.domain.plan import LARGE
from datauploader_transfer.owners import ObjectOwners
from datauploader_transfer.ports import value


@dataclass(frozen=True, slots=True)
class UploadRoute:
    """The route of an upload: where its files come from and go to."""

    upload_id: str
    cause: bytes
    root: bytes
    remote: str
    location: str


@value
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
_BY_SIZE, _BY_DUE = ("jobs INDEXED BY jobs_size", "size"), ("jobs", "due")
"""Where jobs are looked for, and in which order."""


class JobTable:
    """The job queue: the table `jobs`, inside the caller's transaction, with what is compacted of it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add_ready(self, event: Event[FileReady]) -> list[StoredFile]:
        """Remember versions to be moved, the newest of each path; return those that are stored already."""
        ready = event.data
        UploadRoutes(self._db).add_route(event)
        if ready.continues:
            ObjectOwners(self._db).note_continued(ready.upload_id, ready.continues)
        paths = [file.raw for file in ready.files]
        compacted = CompactedJobs(self._db).find_rows(ready.upload_id, paths)
        rows = self._rows_of(ready.upload_id, paths)
        new, known = dict(zip(paths, ready.files, strict=True)), list[StoredFile]()
        if compacted or rows or len(new) < len(paths):
            new, known = self._judge_ready(ready, compacted | rows)
        if new:
            TouchedUploads(self._db).touch_upload(ready.upload_id)
            self._count_waiting(ready.upload_id, len(new.keys() - rows.keys()))
        write_groups(
            self._db,
            "INSERT INTO jobs (upload_id, path, revision, size, version, state) VALUES {rows}"
            " ON CONFLICT (upload_id, path) DO UPDATE SET revision = excluded.revision, size = excluded.size,"
            " version = excluded.version, state = 'waiting', attempts = 0, due = 0, stored = '', reason = '',"
            " refused = 0",
            [(ready.upload_id, path, file.revision, file.size, file.to_json().decode()) for path, file in new.items()],
            row="(?, ?, ?, ?, ?, 'waiting')",
        )
        return known

    def _judge_ready(
        self, ready: FileReady, rows: Mapping[bytes, Mapping[str, Any] | sqlite3.Row]
    ) -> tuple[dict[bytes, FileVersion], list[StoredFile]]:
        """Return which of these versions are to be moved, and which are stored: some are known, or of one path."""
        known: list[StoredFile] = []
        new: dict[bytes, FileVersion] = {}  # of two versions of one path in one event the last one that counts
        location = UploadRoutes(self._db).find_route(ready.upload_id).location
        for file in ready.files:
            row, before = rows.get(file.raw), new.get(file.raw)
            stored = stored_file(row, location) if row and row["state"] == "stored" else None
            if before is not None:
                if file.revision > before.revision:
                    new[file.raw] = file
            elif stored is not None and stored.file.key == file.key:
                known.append(stored.model_copy(update={"file": file}))  # a station that lost its state counts anew
            elif row is None or file.revision > row["revision"] or row["state"] == "failed":
                new[file.raw] = file
        return new, known

    def _rows_of(self, upload_id: str, paths: Sequence[bytes]) -> dict[bytes, sqlite3.Row]:
        which = f"upload_id = ? AND path IN ({marks(len(paths))})"
        query = f"SELECT path, revision, state, version, stored FROM jobs WHERE {which}"  # noqa: S608
        return {bytes(row["path"]): row for row in self._db.execute(query, (upload_id, *paths))}

    def interrupted(self) -> list[tuple[str, bytes]]:
        """Return what was being moved when a former run ended: upload and path."""
        rows = self._db.execute("SELECT upload_id, path FROM jobs INDEXED BY jobs_moving WHERE state = 'moving'")
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
        TouchedUploads(self._db).touch_upload(upload_id)
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
        jobs_table, order = _BY_SIZE if most_files == 1 else _BY_DUE
        which = {None: "", True: f" AND size >= {LARGE}", False: f" AND size < {LARGE}"}[large]
        query = (
            f"SELECT path, size, version, attempts, reason, refused FROM {jobs_table}"  # noqa: S608 - words of ours
            f" WHERE upload_id = ? AND state = 'waiting' AND due <= ?{which} ORDER BY {order} LIMIT ?"
        )
        rows = self._db.execute(query, (upload_id, now, most_files + len(skip)))
        paths: list[bytes] = []
        versions: list[str] = []
        tried: list[tuple[int, str, int]] = []
        total = words = 0
        for path, size, version, attempts, reason, refused in rows:
            if path in skip or (paths and bool(refused) != bool(tried[0][2])):
                continue
            total, words = total + size, words + len(version)
            if paths and (total > most_bytes or words > _MOST_WORDS or len(paths) >= most_files):
                break
            paths.append(path)
            versions.append(version)
            tried.append((attempts, reason, refused))
        rows.close()
        if not paths:
            return []
        query = f"UPDATE jobs SET state = 'moving' WHERE upload_id = ? AND path IN ({marks(len(paths))})"  # noqa: S608 - only question marks
        self._count_waiting(upload_id, -self._db.execute(query, (upload_id, *paths)).rowcount)
        files = FileVersion.read_all(versions)
        return [Job(file, *before) for file, before in zip(files, tried, strict=True)]

    def mark_stored(self, upload_id: str, stored: Sequence[StoredFile]) -> list[StoredFile]:
        """Note that versions are stored; return them without those of whose paths a newer one has come meanwhile."""
        by_how: defaultdict[str, list[StoredFile]] = defaultdict(list)
        for one in stored:
            by_how[_how_stored(one.state, one.method)].append(one)
        TouchedUploads(self._db).touch_upload(upload_id)
        return [one for how, some in by_how.items() for one in self._set_stored(upload_id, how, some)]

    def _set_stored(self, upload_id: str, how: str, stored: Sequence[StoredFile]) -> Sequence[StoredFile]:
        paths = [one.file.raw for one in stored]
        change, which = "UPDATE jobs SET state = 'stored', stored = ?, reason = ''", "upload_id = ? AND path"
        among = f"{which} IN ({marks(len(paths))})"
        # what moves has the revision that was taken: of a newer version that has come meanwhile the row waits
        moved = self._db.execute(f"{change} WHERE {among} AND state = 'moving'", (how, upload_id, *paths))
        if moved.rowcount == len(paths):
            return stored
        rows = self._db.execute(f"SELECT path, revision FROM jobs WHERE {among}", (upload_id, *paths))  # noqa: S608 - words of ours
        revisions = dict(iter(rows))
        current = [one for one, path in zip(stored, paths, strict=True) if revisions.get(path) == one.file.revision]
        self._db.executemany(f"{change} WHERE {which} = ?", [(how, upload_id, one.file.raw) for one in current])
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
            "SELECT u.upload_id, u.state, c.waiting FROM job_counts c INDEXED BY job_counts_waiting"
            " CROSS JOIN uploads u USING (upload_id) WHERE c.waiting > 0"
        )
        return {row["upload_id"]: (row["waiting"], row["state"]) for row in rows}

    def _count_waiting(self, upload_id: str, more: int) -> None:
        """Note that so many more files of an upload wait; only new rows and what is taken is no trigger's work."""
        self._db.execute(
            "INSERT INTO job_counts VALUES (?1, ?2) ON CONFLICT (upload_id) DO UPDATE SET waiting = waiting + ?2",
            (upload_id, more),
        )

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
        if self.remote_of(ready.upload_id) is not None:
            return
        # only the envelope of the cause is asked for
        cause = replace(event, data=ready.model_copy(update={"files": ready.files[:1]}))
        self._db.execute(
            "INSERT INTO uploads (upload_id, cause, root, remote, location, touched, state)"
            " VALUES (?, ?, ?, ?, ?, ?, coalesce((SELECT state FROM steering WHERE upload_id = ?1), 'open'))",
            (
                ready.upload_id,
                encode(cause),
                unpack(ready.root, ready.root_b64),
                ready.destination.remote,
                ready.destination.location,
                time.time(),
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


def object_of(location: str, file: FileVersion) -> str:
    """Return the text under which the object of a version is known."""
    plain = file.path_b64 is None and "\\" not in file.path  # what `escape` leaves as it is
    return object_path(location, file.path if plain else escape(file.raw))


def object_path(location: str, escaped: str) -> str:
    """Return the text under which an object is known: its folder and the escaped path below it."""
    return f"{location}/{escaped}"


@lru_cache(maxsize=100)
def _how_stored(state: str, method: str) -> str:
    """Write what `stored_file` reads beside the version; most files of a storage have the same."""
    return json.dumps({"state": state, "method": method}, separators=(",", ":"))


def stored_file(row: Mapping[str, Any] | sqlite3.Row, location: str) -> StoredFile:
    """Build what is said of a stored version from its row, of this release or an earlier one."""
    file, known = FileVersion.model_validate_json(row["version"]), json.loads(row["stored"])
    return StoredFile(file=file, object=object_of(location, file), state=known["state"], method=known["method"])
