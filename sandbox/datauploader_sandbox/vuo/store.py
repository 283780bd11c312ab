"""What the double remembers, in one SQLite file, so that it survives being killed."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from datauploader_sandbox.vuo.seed import Proposal, Seed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY, account TEXT, uid INTEGER, gid INTEGER, name TEXT, session TEXT UNIQUE, staff INTEGER
);
CREATE TABLE IF NOT EXISTS investigations (
    id TEXT PRIMARY KEY, name TEXT, visit TEXT, title TEXT, base_dir TEXT, active INTEGER,
    reason TEXT DEFAULT '', beamline TEXT DEFAULT '', start TEXT DEFAULT '', "end" TEXT DEFAULT '',
    principal_investigator TEXT DEFAULT '', description TEXT DEFAULT '', changes INTEGER DEFAULT 0, UNIQUE (name, visit)
);
CREATE TABLE IF NOT EXISTS members (investigation_id TEXT, user_id TEXT, PRIMARY KEY (investigation_id, user_id));
CREATE TABLE IF NOT EXISTS datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, investigation_id TEXT, name TEXT, location TEXT, description TEXT,
    type TEXT, owner TEXT, complete INTEGER DEFAULT 0, duplicates INTEGER DEFAULT 0, changes INTEGER DEFAULT 0,
    UNIQUE (investigation_id, name)
);
CREATE TABLE IF NOT EXISTS datafiles (
    id INTEGER PRIMARY KEY, dataset_id INTEGER, path TEXT, location TEXT, size INTEGER, sha256 TEXT,
    mtime_ns INTEGER, registrations INTEGER DEFAULT 1, changes INTEGER DEFAULT 0, UNIQUE (dataset_id, path)
);
CREATE TABLE IF NOT EXISTS parameters (
    dataset_id INTEGER, datafile TEXT, name TEXT, value TEXT, units TEXT, PRIMARY KEY (dataset_id, datafile, name)
);
CREATE TABLE IF NOT EXISTS duplicates (kind TEXT PRIMARY KEY, attempts INTEGER);
"""
_REGISTER = """
INSERT INTO datafiles (dataset_id, path, location, size, sha256, mtime_ns)
VALUES (:dataset_id, :path, :location, :size, :sha256, :mtime_ns)
ON CONFLICT (dataset_id, path) DO UPDATE SET
    registrations = registrations + 1, changes = changes + (sha256 <> excluded.sha256),
    location = excluded.location, size = excluded.size, sha256 = excluded.sha256, mtime_ns = excluded.mtime_ns
"""
_TABLES = ("users", "investigations", "members", "datasets", "datafiles", "parameters", "duplicates")
_FIRST_DATASET = 7000


class Store:
    """The double's tables; used from one thread, each change is one transaction."""

    def __init__(self, path: Path | None, seed: Seed) -> None:
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._add_columns()
        self._seed = seed
        self._sow()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def forget(self) -> None:
        """Be as new: only the seed stays."""
        for table in _TABLES:
            self._db.execute(f"DELETE FROM {table}")
        self._sow()

    def close_investigation(self, investigation_id: str, reason: str) -> None:
        """Let nobody upload there any more."""
        query = "UPDATE investigations SET active = 0, reason = ? WHERE id = ?"
        self._db.execute(query, (reason, investigation_id))

    def users(self) -> list[sqlite3.Row]:
        """Return everybody."""
        return self._all("SELECT * FROM users ORDER BY id")

    def user(self, user_id: str) -> sqlite3.Row | None:
        """Return one user by id."""
        return self._one("SELECT * FROM users WHERE id = ?", user_id)

    def user_of(self, session: str) -> sqlite3.Row | None:
        """Return the user who is signed in with this session."""
        return self._one("SELECT * FROM users WHERE session = ?", session)

    def investigations(self) -> list[sqlite3.Row]:
        """Return all investigations."""
        return self._all("SELECT * FROM investigations ORDER BY id")

    def investigation(self, investigation_id: str) -> sqlite3.Row | None:
        """Return one investigation by id."""
        return self._one("SELECT * FROM investigations WHERE id = ?", investigation_id)

    def investigation_named(self, name: str, visit: str) -> sqlite3.Row | None:
        """Return one investigation by its natural key."""
        return self._one("SELECT * FROM investigations WHERE name = ? AND visit = ?", name, visit)

    def members(self, investigation_id: str) -> set[str]:
        """Return the ids of those who belong to an investigation."""
        rows = self._all("SELECT user_id FROM members WHERE investigation_id = ?", investigation_id)
        return {row["user_id"] for row in rows}

    def dataset(self, dataset_id: str) -> sqlite3.Row | None:
        """Return one dataset by id."""
        return self._one("SELECT * FROM datasets WHERE id = ?", dataset_id)

    def dataset_named(self, investigation_id: str, name: str) -> sqlite3.Row | None:
        """Return one dataset by its natural key."""
        return self._one("SELECT * FROM datasets WHERE investigation_id = ? AND name = ?", investigation_id, name)

    def datasets_of(self, investigation_id: str) -> list[sqlite3.Row]:
        """Return the datasets of an investigation."""
        return self._all("SELECT * FROM datasets WHERE investigation_id = ? ORDER BY id", investigation_id)

    def datafiles(self, dataset_id: str, limit: int = -1) -> list[sqlite3.Row]:
        """Return the datafiles of a dataset by path."""
        return self._all("SELECT * FROM datafiles WHERE dataset_id = ? ORDER BY path LIMIT ?", dataset_id, limit)

    def totals(self, dataset_id: str) -> tuple[int, int]:
        """Return number and bytes of a dataset's datafiles."""
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM datafiles WHERE dataset_id = ?", (dataset_id,)
        ).fetchone()
        return row[0], row[1]

    def parameters(self, dataset_id: str) -> list[sqlite3.Row]:
        """Return the parameters of a dataset and of its datafiles."""
        return self._all("SELECT * FROM parameters WHERE dataset_id = ? ORDER BY datafile, name", dataset_id)

    def add_investigation(self, proposal: Proposal) -> None:
        """Insert an investigation with its members; one that is there already stays as it is."""
        columns = [field.name for field in fields(Proposal) if field.name != "members"]
        names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
        values = [getattr(proposal, name) for name in columns]
        self._db.execute(f"INSERT OR IGNORE INTO investigations ({names}) VALUES ({marks})", values)
        self._db.executemany(
            "INSERT OR IGNORE INTO members VALUES (?, ?)", [(proposal.id, member) for member in proposal.members]
        )

    def next_investigation(self) -> str:
        """Return the number that a new investigation gets."""
        row = self._db.execute("SELECT max(CAST(id AS INTEGER)) + 1 FROM investigations").fetchone()
        return str(row[0] or 1)

    def add_dataset(self, values: dict[str, str]) -> None:
        """Insert a dataset whose natural key is free."""
        self._db.execute(
            "INSERT INTO datasets (investigation_id, name, location, description, type, owner) VALUES "
            "(:investigation_id, :name, :location, :description, :type, :owner)",
            values,
        )

    def count_duplicate(self, kind: str, dataset_id: int | None = None) -> None:
        """Remember that something was to be created that exists already."""
        self._db.execute(
            "INSERT INTO duplicates VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET attempts = attempts + 1", (kind,)
        )
        if dataset_id is not None:
            self._db.execute("UPDATE datasets SET duplicates = duplicates + 1 WHERE id = ?", (dataset_id,))

    def register(self, dataset_id: str, rows: Sequence[dict[str, Any]]) -> None:
        """Insert or renew datafiles, all or none."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(_REGISTER, [{"dataset_id": dataset_id, **row} for row in rows])

    def differ(self, dataset_id: str, rows: Sequence[dict[str, Any]]) -> bool:
        """Say whether any of these datafiles is new or other than what is held."""
        held = {row["path"]: row["sha256"] for row in self.datafiles(dataset_id)}
        return any(held.get(row["path"]) != row["sha256"] for row in rows)

    def has_datafile(self, dataset_id: str, path: str) -> bool:
        """Say whether the dataset has a datafile of this path."""
        found = self._one("SELECT 1 FROM datafiles WHERE dataset_id = ? AND path = ?", dataset_id, path)
        return found is not None

    def set_parameters(self, dataset_id: str, datafile: str, rows: Iterable[dict[str, Any]]) -> None:
        """Insert or renew parameters, all or none."""
        values = [(dataset_id, datafile, row["name"], json.dumps(row["value"]), row["units"]) for row in rows]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO parameters VALUES (?, ?, ?, ?, ?)", values)

    def describe(self, table: str, key: str, description: str) -> None:
        """Set the description of a dataset or an investigation, and count how often it changed."""
        self._db.execute(
            f"UPDATE {table} SET changes = changes + (description <> ?1), description = ?1 WHERE id = ?2",
            (description, key),
        )

    def complete(self, dataset_id: str) -> None:
        """Mark a dataset as complete."""
        self._db.execute("UPDATE datasets SET complete = 1 WHERE id = ?", (dataset_id,))

    def state(self) -> dict[str, Any]:
        """Return everything that an oracle compares."""
        rows = self._all("SELECT id FROM datasets ORDER BY id")
        return {
            "investigations": [
                {**dict(row), "active": bool(row["active"]), "members": sorted(self.members(row["id"]))}
                for row in self.investigations()
            ],
            "datasets": [self._dataset_state(str(row["id"])) for row in rows],
            "duplicates": {row["kind"]: row["attempts"] for row in self._all("SELECT * FROM duplicates")},
        }

    def _dataset_state(self, dataset_id: str) -> dict[str, Any]:
        dataset = self._db.execute("SELECT * FROM datasets WHERE id = ?", (dataset_id,)).fetchone()
        return {
            **dict(dataset),
            "id": dataset_id,
            "complete": bool(dataset["complete"]),
            "datafiles": [_without_dataset(row) for row in self.datafiles(dataset_id)],
            "parameters": [
                {**_without_dataset(row), "value": json.loads(row["value"])} for row in self.parameters(dataset_id)
            ],
        }

    def _add_columns(self) -> None:
        """Bring a file that an earlier release wrote up to date."""
        texts = ("reason", "beamline", "start", "end", "principal_investigator", "description")
        for table, name, kind in (
            *(("investigations", text, "TEXT DEFAULT ''") for text in texts),
            ("investigations", "changes", "INTEGER DEFAULT 0"),
            ("datasets", "changes", "INTEGER DEFAULT 0"),
        ):
            if name not in {row["name"] for row in self._all(f"PRAGMA table_info({table})")}:
                self._db.execute(f'ALTER TABLE {table} ADD COLUMN "{name}" {kind}')

    def _sow(self) -> None:
        people = [(p.id, p.account, p.uid, p.gid, p.name, p.session, p.staff) for p in self._seed.people]
        self._db.executemany("INSERT OR IGNORE INTO users VALUES (?, ?, ?, ?, ?, ?, ?)", people)
        for proposal in self._seed.proposals:
            self.add_investigation(proposal)
        self._db.execute(
            "INSERT INTO sqlite_sequence SELECT 'datasets', ? WHERE NOT EXISTS "
            "(SELECT 1 FROM sqlite_sequence WHERE name = 'datasets')",
            (_FIRST_DATASET,),
        )

    def _all(self, query: str, *values: object) -> list[sqlite3.Row]:
        return self._db.execute(query, values).fetchall()

    def _one(self, query: str, *values: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(query, values).fetchone()
        return row


def _without_dataset(row: sqlite3.Row) -> dict[str, Any]:
    return {key: row[key] for key in row.keys() if key != "dataset_id"}  # noqa: SIM118 - Row iterates over values
