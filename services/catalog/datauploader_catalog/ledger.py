"""What the catalog remembers: wanted datasets, the files that belong to them, and what is still to be told."""

import heapq
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import structlog

from datauploader.contracts import (
    Destination,
    Event,
    EventData,
    FileVersion,
    StoredFile,
    UploadRequested,
    decode,
    encode,
)
from datauploader.reliability.blocks import TouchedUploads
from datauploader_catalog import objections
from datauploader_catalog.compaction import CompactedDatafiles
from datauploader_catalog.objections import Objections

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WantedDataset:
    """A wanted dataset, one row of the table `uploads`, and how far it is."""

    upload_id: str
    request: bytes
    state: str
    dataset_id: str
    attempts: int
    since: float
    """When it began to wait, seconds since 1970; 0 while it does not."""
    trouble: str
    told: str
    """Why it waits, as people have heard it."""
    told_at: float


class WantedDatafile(NamedTuple):
    """A stored version that the catalogue does not know yet; a tuple, because there are thousands in one step."""

    path: bytes
    revision: int
    size: int
    sha256: str
    stored: str
    """The `StoredFile` in JSON."""
    object: str
    mtime_ns: int
    state: str

    def version(self) -> FileVersion:
        """Read all that is known of the version."""
        return StoredFile.model_validate_json(self.stored).file


_PAUSE_S = objections.LONGEST_PAUSE_S
"""Of a row whose own pause an earlier release did not write."""
_TOO_LATE = "due > 0 AND due > ?1 AND due > ?1 + max(pause, ?2)"


class OwningStations:
    """The station that alone may speak about an upload: the table `homes`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def assign_home(self, event: Event[EventData]) -> str:
        """Return the station that an upload belongs to: the one that was heard of first."""
        upload_id = event.data.upload_id
        station = self.station_of(upload_id) or event.station.key
        self._db.execute("INSERT OR IGNORE INTO homes VALUES (?, ?)", (upload_id, station))
        return station

    def station_of(self, upload_id: str) -> str | None:
        """Return the station that alone may speak about an upload; None where nothing was heard of it."""
        known = self._db.execute("SELECT station FROM homes WHERE upload_id = ?", (upload_id,)).fetchone()
        if known is not None:
            return str(known["station"])
        request = self._db.execute("SELECT request FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        return decode(request["request"]).station.key if request else None

    def move_upload(self, event: Event[UploadRequested]) -> bool:
        """Give an upload that nobody has asked for yet to the station of this request, without what others said."""
        upload_id = event.data.upload_id
        if WantedDatasets(self._db).is_requested(upload_id):
            return False
        for table in ("datafiles", "seals", "parameters"):
            self._db.execute(f"DELETE FROM {table} WHERE upload_id = ?", (upload_id,))  # noqa: S608 - three names of ours
        self._db.execute("UPDATE homes SET station = ? WHERE upload_id = ?", (event.station.key, upload_id))
        return True


class WantedDatasets:
    """The work queue of uploads: the table `uploads`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add_upload(self, event: Event[UploadRequested]) -> bool:
        """Remember that this dataset is wanted; a repeated request changes nothing. Return whether it is the first."""
        query = "INSERT OR IGNORE INTO uploads (upload_id, request, state, touched) VALUES (?, ?, 'wanted', ?)"
        return self._db.execute(query, (event.data.upload_id, encode(event), time.time())).rowcount == 1

    def is_requested(self, upload_id: str) -> bool:
        """Tell whether the request of an upload is here."""
        return self._db.execute("SELECT 1 FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone() is not None

    def dataset_of(self, upload_id: str) -> str:
        """Return the dataset that the catalogue has made for an upload, "" where there is none yet."""
        row = self._db.execute("SELECT dataset_id FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        return str(row["dataset_id"]) if row else ""

    def investigation_of(self, dataset_id: str) -> str:
        """Return the investigation for which a dataset was asked for, "" where nobody has."""
        query = "SELECT request FROM uploads WHERE dataset_id = ? AND dataset_id <> '' LIMIT 1"
        row = self._db.execute(query, (dataset_id,)).fetchone()
        request = decode(row["request"]).data if row else None
        return request.investigation if isinstance(request, UploadRequested) else ""

    def is_ensured(self, upload_id: str) -> bool:
        """Tell whether the upload may write its dataset, which the catalogue has."""
        row = self._db.execute("SELECT state FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        return row is not None and row["state"] in ("ensured", "completed")

    def awaits_files(self, upload_id: str, many: int) -> bool:
        """Tell whether more files of an upload are to come, and fewer than this many wait to be registered."""
        query = (
            "SELECT coalesce(c.files >= s.files, 0) OR c.files - c.registered >= ?2 FROM datafile_counts c"
            " LEFT JOIN seals s USING (upload_id) WHERE c.upload_id = ?1"
        )
        row = self._db.execute(query, (upload_id, many)).fetchone()
        return row is not None and not row[0]

    def find_destination(self, upload_id: str) -> Destination | None:
        """Return where the upload goes that was asked for; None where its request is not here."""
        row = self._db.execute("SELECT request FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        if row is None:
            return None
        request = decode(row["request"]).data
        assert isinstance(request, UploadRequested)
        return request.destination

    def find_upload(self, upload_id: str) -> WantedDataset | None:
        """Return an upload as it is now."""
        row = self._db.execute("SELECT * FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        return row and _upload(row)

    def next_upload(self, now: float, busy: Iterable[str]) -> WantedDataset | None:
        """Return an upload that has something to be told to the catalogue now, the one that waits longest first.

        Each kind of work has an index of its own, so that finished uploads are not gone through. What is returned can
        be done: a sealed dataset only where no datafile is set aside, nobody cancelled, the storage was looked at.
        """
        skip = tuple(busy)
        marks = ",".join("?" * len(skip))
        row = self._db.execute(
            f"""
            WITH RECURSIVE with_files (upload_id) AS (
                SELECT min(upload_id) FROM datafiles INDEXED BY datafiles_wanted WHERE registered = 0
                UNION ALL SELECT (
                    SELECT min(d.upload_id) FROM datafiles d INDEXED BY datafiles_wanted
                    WHERE d.registered = 0 AND d.upload_id > with_files.upload_id
                ) FROM with_files WHERE with_files.upload_id IS NOT NULL
            ), with_parameters (upload_id) AS (
                SELECT min(upload_id) FROM parameters INDEXED BY parameters_wanted WHERE aside = 0
                UNION ALL SELECT (
                    SELECT min(p.upload_id) FROM parameters p INDEXED BY parameters_wanted
                    WHERE p.aside = 0 AND p.upload_id > with_parameters.upload_id
                ) FROM with_parameters WHERE with_parameters.upload_id IS NOT NULL
            ), with_work (upload_id) AS (
                SELECT upload_id FROM uploads INDEXED BY uploads_open WHERE state IN ('wanted', 'ensured') AND (
                    state = 'wanted' OR EXISTS (
                        SELECT 1 FROM seals s WHERE s.upload_id = uploads.upload_id
                        AND s.files = coalesce(
                            (SELECT files FROM datafile_counts c WHERE c.upload_id = s.upload_id), 0
                        )
                        AND s.files = coalesce(
                            (SELECT registered FROM datafile_counts c WHERE c.upload_id = s.upload_id), 0
                        )
                        AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.upload_id = s.upload_id AND c.cancelled = 1)
                        AND NOT EXISTS (
                            SELECT 1 FROM audits a
                            WHERE a.upload_id = s.upload_id AND a.manifest_sha256 = s.manifest_sha256
                            AND (a.state = 'differs' OR (a.state = 'asked' AND a.due > ?1))
                        )
                    )
                )
                UNION SELECT upload_id FROM with_files
                UNION SELECT upload_id FROM with_parameters WHERE EXISTS (
                    SELECT 1 FROM parameters p CROSS JOIN datafiles d USING (upload_id, path)
                    WHERE p.upload_id = with_parameters.upload_id AND p.aside = 0 AND d.registered = 1
                    UNION ALL SELECT 1 FROM parameters p
                    WHERE p.upload_id = with_parameters.upload_id AND p.aside = 0 AND p.path = x''
                )
            )
            SELECT u.* FROM with_work CROSS JOIN uploads u USING (upload_id)
            WHERE u.due <= ?1 AND u.state NOT IN ('refused', 'continued') AND u.upload_id NOT IN ({marks})
            ORDER BY u.due LIMIT 1
            """,  # noqa: S608 - only question marks
            (now, *skip),
        ).fetchone()
        return row and _upload(row)

    def next_attempt_due(self, now: float) -> float | None:
        """Return when the next upload that waits for its next attempt is due."""
        # the first bound is the one that is sought: the other only says that the index holds it
        query = "SELECT min(due) FROM uploads INDEXED BY uploads_later WHERE due > ? AND due > 0"
        query += " AND state NOT IN ('refused', 'continued')"
        asked = "SELECT min(due) FROM audits INDEXED BY audits_asked WHERE state = 'asked' AND due > ?"
        times = [
            *(self._db.execute(one, (now,)).fetchone()[0] for one in (query, asked)),
            Objections(self._db).next_objection_due(),
        ]
        return min((moment for moment in times if moment is not None), default=None)

    def is_put_off(self, now: float) -> bool:
        """Tell whether anything waits longer than that."""
        query = f"SELECT 1 FROM uploads INDEXED BY uploads_later WHERE {_TOO_LATE} LIMIT 1"  # noqa: S608 - ours
        return self._db.execute(query, (now, _PAUSE_S)).fetchone() is not None

    def cap_upload_waits(self, now: float) -> None:
        """Let nothing wait longer than its own pause: what does was put off by a clock that was put right since."""
        self._db.execute(f"UPDATE uploads INDEXED BY uploads_later SET due = 0 WHERE {_TOO_LATE}", (now, _PAUSE_S))  # noqa: S608 - ours


class DatafileTable:
    """The table `datafiles`, inside the caller's transaction, with what is compacted of it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db, self._compacted = db, CompactedDatafiles(db)

    def add_stored(self, upload_id: str, files: Sequence[StoredFile]) -> list[StoredFile]:
        """Remember stored versions, the newest of each path; return those that are registered already."""
        if self._compacted.has_any(upload_id) or not self._add_new(upload_id, files):
            return self._add_some(upload_id, files)
        TouchedUploads(self._db).touch_upload(upload_id)
        return []

    def _add_new(self, upload_id: str, files: Sequence[StoredFile]) -> bool:
        """Remember versions of paths of which nothing is known; return whether they all are."""
        query = "INSERT INTO datafiles VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING"
        rows = [_row(upload_id, one.file.raw, one) for one in files]
        return self._db.executemany(query, rows).rowcount == len(rows)

    def _add_some(self, upload_id: str, files: Sequence[StoredFile]) -> list[StoredFile]:
        """Remember those versions that are newer than what is known of their paths; return what is registered."""
        newest: dict[bytes, StoredFile] = {}
        for stored in files:
            path = stored.file.raw
            if path not in newest or stored.file.revision >= newest[path].file.revision:
                newest[path] = stored
        held = self._rows(upload_id, list(newest))
        known: list[StoredFile] = []
        fresh: dict[bytes, tuple[object, ...]] = {}
        for path, stored in newest.items():
            row, file = held.get(path), stored.file
            if row and row["registered"] and StoredFile.model_validate_json(row["stored"]).file.key == file.key:
                if row["registered"] != objections.SET_ASIDE:
                    known.append(stored)
            elif row is None or file.revision >= row["revision"]:
                fresh[path] = _row(upload_id, path, stored)
        if fresh:
            self._compacted.thaw_files(upload_id, fresh)
        query = (
            "INSERT INTO datafiles VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT (upload_id, path) DO UPDATE SET"
            " revision = excluded.revision, size = excluded.size, sha256 = excluded.sha256, stored = excluded.stored,"
            " registered = 0"
        )
        self._db.executemany(query, fresh.values())
        return known

    def _rows(self, upload_id: str, paths: Sequence[bytes]) -> Mapping[bytes, Mapping[str, Any] | sqlite3.Row]:
        """Return what is held of these paths, which are as many as an event has at most."""
        marks = ",".join("?" * len(paths))
        query = f"SELECT path, revision, stored, registered FROM datafiles WHERE upload_id = ? AND path IN ({marks})"  # noqa: S608 - only question marks
        rows = {row["path"]: row for row in self._db.execute(query, (upload_id, *paths))}
        return self._compacted.find_rows(upload_id, paths) | rows

    def drop_strangers(self, event: Event[UploadRequested]) -> None:
        """Forget what was said to be stored before the request was here, and lies where the upload does not go."""
        below = f"{event.data.destination.location}/"
        query = "SELECT path, stored FROM datafiles WHERE upload_id = ?"
        for row in self._db.execute(query, (event.data.upload_id,)).fetchall():
            if not (name := StoredFile.model_validate_json(row["stored"]).object).startswith(below):
                log.error(
                    "object_owned_by_another_upload", upload_id=event.data.upload_id, object=name, belongs_below=below
                )
                key = event.data.upload_id, row["path"]
                self._db.execute("DELETE FROM datafiles WHERE upload_id = ? AND path = ?", key)

    def known_files(self, upload_id: str, after: bytes, most: int) -> Iterator[tuple[bytes, str, bool]]:
        """Go through stored versions in order of their paths: path, `StoredFile` in JSON, whether it is registered."""
        query = (
            "SELECT path, stored, registered = 1 FROM datafiles WHERE upload_id = ? AND path > ? ORDER BY path LIMIT ?"
        )
        rows = self._tuples(query, upload_id, after, most)
        compacted = ((row["path"], row["stored"], True) for row in self._compacted.rows_after(upload_id, after))
        return islice(heapq.merge(rows, compacted), most)

    def wanted_files(self, upload_id: str, most: int) -> list[WantedDatafile]:
        """Return stored versions that the catalogue does not know yet."""
        rows = self._tuples(
            "SELECT path, revision, size, sha256, stored, json_extract(stored, '$.object'),"
            " json_extract(stored, '$.file.mtime_ns'), json_extract(stored, '$.state')"
            " FROM datafiles INDEXED BY datafiles_wanted WHERE upload_id = ? AND registered = 0 LIMIT ?",
            upload_id,
            most,
        )
        return list(map(WantedDatafile._make, rows))

    def _tuples(self, query: str, *values: object) -> Iterator[Any]:
        """Go through rows as plain tuples, which take less than those that know their columns' names."""
        cursor = self._db.cursor()
        cursor.row_factory = None
        return cursor.execute(query, values)

    def mark_registered(self, upload_id: str, files: Iterable[WantedDatafile]) -> None:
        """Note that the catalogue knows these versions; a newer one that came meanwhile stays wanted."""
        self._mark(upload_id, files, 1)

    def set_datafile_aside(self, upload_id: str, wanted: WantedDatafile) -> None:
        """Note that the catalogue does not take this version; a newer one that came meanwhile stays wanted."""
        self._mark(upload_id, [wanted], objections.SET_ASIDE)

    def _mark(self, upload_id: str, files: Iterable[WantedDatafile], registered: int) -> None:
        self._db.executemany(
            "UPDATE datafiles SET registered = ? WHERE upload_id = ? AND path = ? AND revision = ? AND sha256 = ?",
            [(registered, upload_id, path, revision, sha256) for path, revision, _, sha256, *_ in files],
        )


def _row(upload_id: str, path: bytes, stored: StoredFile) -> tuple[object, ...]:
    file = stored.file
    return upload_id, path, file.revision, file.size, file.sha256, stored.to_json().decode()


def _upload(row: sqlite3.Row) -> WantedDataset:
    return WantedDataset(
        row["upload_id"], row["request"], row["state"], row["dataset_id"], row["attempts"], row["since"],
        row["trouble"], row["told"], row["told_at"],
    )  # fmt: skip
