"""One SQLite file in WAL mode: opened with care, migrated step by step, written by one thread at a time."""

import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from datauploader.errors import StateFromTheFuture, StateUnavailable

log = structlog.get_logger()

_WHOLE, _FORGETFUL, _PAST = 0, 1, 2
"""What `user_version` says of a file."""
_INCREMENTAL = 2
"""What `auto_vacuum` says of a file that can give single pages back to the disk."""
LOG_BYTES = 8 * 1024 * 1024
"""The log of the latest transactions is cut to this size once they are in the file itself."""
_ROOM = 3
"""So many times its size must be free on its disk before a file is written anew: the copy, and the log of it."""
RESERVE_PAGES = 256
"""Free pages, a megabyte, that stay in a file for what comes next."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one component: each step is an SQL script, run once, in order, never edited afterwards."""

    component: str
    steps: tuple[str, ...]
    serves: int | None = None
    """A release that knows the first so many steps can use a file on which all were run: the later ones only add
    tables, indexes and triggers, and what it writes is right without them. A column is none of these: who inserts a row
    without naming columns fails. None: all steps must be known."""


class Store:
    """A service's state file; one that is damaged, or from the past, is set aside and a new one begun.

    Durability: `synchronous=NORMAL`, so a killed process loses nothing and a power cut at most the last
    transactions. What others hear of a transaction is on the disk before (`sync`).
    """

    def __init__(self, path: Path | None, schemas: Sequence[Schema]) -> None:
        """Open or make the file at `path`; None keeps the state in memory only.

        Raises:
            StateFromTheFuture: a newer release has written the file.
            StateUnavailable: the file cannot be opened or written.
        """
        self.path = path
        self.damaged: Path | None = None
        """Where a damaged predecessor was put, if there was one; what it held must be found again."""
        self.needs_recovery = False
        """The file was begun without what a predecessor may have held, and `mark_recovered` was not called yet."""
        self.run = secrets.token_hex(4)
        """Names this opening of the file."""
        self.identity = ""
        """A number that tells this file from any other, drawn when it was begun."""
        self._schemas, self._verdict = tuple(schemas), _WHOLE
        self._lock = threading.RLock()
        self._read_lock = self._lock if path is None else threading.RLock()
        self._start()
        if self._verdict == _PAST:
            self.begin_anew()

    def _start(self) -> None:
        path = self.path
        try:
            self._write = self._begin(self._schemas)
        except sqlite3.DatabaseError as error:
            if path is None or self.damaged is None:
                raise
            _set_aside(path, self.damaged)
            log.warning("state_file_damaged", path=str(path), set_aside=str(self.damaged), problem=str(error))
            self._write = self._begin(self._schemas)
        self._read = self._write if path is None else self._connect()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the writing connection inside one transaction: all of it is kept, or nothing.

        A nested one is undone alone when it fails; whether it is kept, the outermost decides.
        """
        with self._lock:
            nested = self._write.in_transaction
            self._write.execute("SAVEPOINT nested" if nested else "BEGIN IMMEDIATE")
            try:
                yield self._write
            except BaseException:
                self._write.execute("ROLLBACK TO nested" if nested else "ROLLBACK")
                if nested:
                    self._write.execute("RELEASE nested")
                raise
            self._write.execute("RELEASE nested" if nested else "COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection for looking things up; it sees what is committed and does not wait for writers."""
        with self._read_lock:
            yield self._read

    def mark_recovered(self) -> None:
        """Note that what the file should hold was found again; until then each start finds it `needs_recovery`."""
        with self.transaction() as db:
            if self._verdict == _PAST:
                return
            db.execute(f"PRAGMA user_version = {_WHOLE}")
        self.needs_recovery = False

    def require_recovery(self) -> None:
        """Note that the file lacks what another one has heard meanwhile: it is `needs_recovery` like a new one."""
        with self.transaction() as db:
            db.execute(f"PRAGMA user_version = {_FORGETFUL}")
        self.needs_recovery = True

    def condemn(self) -> None:
        """Note that the file is older than what others have heard from it; the next opening begins anew."""
        with self.transaction() as db:
            db.execute(f"PRAGMA user_version = {_PAST}")
            self._verdict = _PAST

    def begin_anew(self) -> None:
        """Set the file aside as one from the past and begin a new one, forgetful, before anybody works with it."""
        if self.path is None:
            return
        with self._lock, self._read_lock:
            aside = self._beside("past")
            self.close()
            _set_aside(self.path, aside)
            log.error("stale_state_file_set_aside", path=str(self.path), set_aside=str(aside))
            self._start()

    def sync(self) -> None:
        """Have what was committed on the disk; a commit alone leaves the last ones to the system for a while.

        Raises:
            sqlite3.OperationalError: the disk does not take it.
        """
        if self.path is None:
            return
        try:
            with suppress(FileNotFoundError), _log_of(self.path).open("r+b") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise sqlite3.OperationalError(f"disk I/O: {error}") from error

    def checkpoint(self) -> None:
        """Have everything in the file itself, so that a copy of it alone is whole; what cannot be done now is left."""
        with self._lock, suppress(sqlite3.DatabaseError):
            self._write.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def shrink(self, most_pages: int = 500) -> bool:
        """Give free pages of the file back to the disk, at most so many at a time; return whether there are more.

        Raises:
            sqlite3.OperationalError: the disk does not take it.
        """
        with self._lock:
            mode = self._write.execute("PRAGMA auto_vacuum").fetchone()[0]
            spare = int(self._write.execute("PRAGMA freelist_count").fetchone()[0]) - RESERVE_PAGES
            if spare <= 0 or mode != _INCREMENTAL or self._write.in_transaction:
                return False
            # `execute` steps once, which is one page
            self._write.executescript(f"PRAGMA incremental_vacuum({min(spare, most_pages)})")
            self._write.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # the file itself shrinks here
        return spare > most_pages

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock, self._read_lock:
            self._read.close()
            self._write.close()

    def _begin(self, schemas: Sequence[Schema]) -> sqlite3.Connection:
        """Open the file, see whether it is sound, and bring its tables up to date."""
        try:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = self._connect()
        except (OSError, sqlite3.OperationalError) as error:
            if self.damaged is not None:
                raise
            raise StateUnavailable(
                f"the state file {self.path} cannot be used ({error}): see that its folder may be written by this "
                "account, that its disk has room, and that no other process holds it"
            ) from error
        try:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)  # noqa: TRY301 - the same end as for what SQLite raises
            self._make_shrinkable(connection)
            self._write = connection
            self._migrate(schemas)
        except BaseException as error:
            self._give_up(connection, error)
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            ":memory:" if self.path is None else self.path,
            isolation_level=None,
            check_same_thread=False,
            timeout=30,
        )
        try:
            connection.row_factory = sqlite3.Row
            if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # holds at once in a new file, else once rewritten
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
        except sqlite3.DatabaseError as error:
            self._give_up(connection, error)
            raise
        return connection

    def _make_shrinkable(self, connection: sqlite3.Connection) -> None:
        """Write a file of an earlier release anew, once, so that it can shrink from now on; where that fails, later."""
        if self.path is None or connection.execute("PRAGMA auto_vacuum").fetchone()[0] == _INCREMENTAL:
            return
        began, size = time.monotonic(), self.path.stat().st_size
        if shutil.disk_usage(self.path.parent).free < _ROOM * size:
            log.warning("state_file_not_rewritten", path=str(self.path), problem="its disk has too little room for it")
            return
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError as error:  # no room for temporary files, or another process uses the file
            log.warning("state_file_not_rewritten", path=str(self.path), problem=str(error))
        else:
            seconds = round(time.monotonic() - began, 3)
            log.info("state_file_rewritten", path=str(self.path), bytes=size, seconds=seconds)

    def _give_up(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """Close a connection; SQLite removes the log of a damaged file then, so that is copied before."""
        # SQLite calls a corrupt file and a foreign one plain DatabaseErrors; what passes by itself has classes
        damage = type(error) is sqlite3.DatabaseError or "disk I/O" in str(error)
        if self.path is not None and damage:
            self.damaged = self._beside("damaged")
            with suppress(FileNotFoundError):
                shutil.copyfile(_log_of(self.path), _log_of(self.damaged))
        connection.close()

    def _beside(self, why: str) -> Path:
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.{why}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S%f')}")

    def _migrate(self, schemas: Sequence[Schema]) -> None:
        with self.transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS schema (component TEXT PRIMARY KEY, version INTEGER NOT NULL)")
            versions: dict[str, int] = dict(db.execute("SELECT component, version FROM schema").fetchall())
            db.execute("CREATE TABLE IF NOT EXISTS schema_serves (component TEXT PRIMARY KEY, steps INTEGER NOT NULL)")
            served: dict[str, int] = dict(db.execute("SELECT component, steps FROM schema_serves").fetchall())
            known = {schema.component: len(schema.steps) for schema in schemas}
            for component, version in versions.items():
                if version > known.get(component, 0) and served.get(component, version) > known.get(component, 0):
                    raise StateFromTheFuture(
                        f"{self.path} was written by a newer release (schema {component} {version}, this release knows "
                        f"{known.get(component, 'none')}): install that release again, or move the file away to start "
                        f"again with an empty state"
                    )
            if not versions:  # new, or emptied by a power cut: it may have to be filled again
                db.execute(f"PRAGMA user_version = {_FORGETFUL}")
            if not db.execute("PRAGMA application_id").fetchone()[0]:
                db.execute(f"PRAGMA application_id = {secrets.randbelow(2**31 - 1) + 1}")
            self.identity = str(db.execute("PRAGMA application_id").fetchone()[0])
            self._verdict = int(db.execute("PRAGMA user_version").fetchone()[0])
            self.needs_recovery = self._verdict != _WHOLE
            for schema in schemas:
                for step in schema.steps[versions.get(schema.component, 0) :]:
                    for statement in _statements(step):
                        db.execute(statement)
                steps = len(schema.steps)
                if steps >= versions.get(schema.component, 0):  # else a newer release has run more
                    serves = steps if schema.serves is None else schema.serves
                    db.execute("INSERT OR REPLACE INTO schema VALUES (?, ?)", (schema.component, steps))
                    db.execute("INSERT OR REPLACE INTO schema_serves VALUES (?, ?)", (schema.component, serves))


def _statements(script: str) -> Iterator[str]:
    """Split a script; `executescript` would commit the migration's transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def _log_of(path: Path) -> Path:
    """Return where SQLite keeps the latest transactions of a database file."""
    return path.with_name(f"{path.name}-wal")


def _set_aside(path: Path, aside: Path) -> None:
    """Rename a file that is not used any more, so that a person can still read it and its log."""
    path.rename(aside)
    for left in (_log_of(path), path.with_name(f"{path.name}-shm")):
        left.unlink(missing_ok=True)


ENDINGS = (".sqlite", ".sqlite3")


def state_files(folder: Path) -> Iterator[Path]:
    """Find the state files in a folder and in the folders directly below it; what was set aside is none."""
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        yield from sorted(path for path in place.iterdir() if path.suffix in ENDINGS and path.is_file())


def copy_state(source: Path, target: Path) -> None:
    """Copy a state file as it is at one moment; whoever writes it meanwhile goes on.

    Raises:
        StateUnavailable: it cannot be read, or is damaged.
    """
    try:
        address = f"{source.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as db, closing(sqlite3.connect(target)) as copy:
            db.backup(copy, pages=1000, sleep=0.01)
            copy.execute("PRAGMA journal_mode=DELETE")
            verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise StateUnavailable(f"{source} cannot be copied ({error})") from error
    if verdict != "ok":
        raise StateUnavailable(f"{source} is damaged ({verdict}): start its service, which sets it aside")
