"""The queue of a harvester: the files that wait to be read, how often each was tried, and where each upload goes."""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from datauploader.contracts import Destination, Event, EventData, FileStored, StoredFile, UploadRequested, encode
from datauploader.contracts.pictures import MOST_OF_UPLOAD
from datauploader.reliability import Schema
from datauploader.reliability.backoff import Backoff

SCHEMA = Schema(
    "harvester",
    (
        "CREATE TABLE wanted (id INTEGER PRIMARY KEY, cause BLOB NOT NULL, stored TEXT NOT NULL);",
        """
        ALTER TABLE wanted ADD COLUMN remote TEXT NOT NULL DEFAULT '';
        ALTER TABLE wanted ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;   -- begun, and not ended in order
        ALTER TABLE wanted ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;   -- times that the storage was the trouble
        ALTER TABLE wanted ADD COLUMN due REAL NOT NULL DEFAULT 0;        -- seconds since 1970; not to be tried before
        ALTER TABLE wanted ADD COLUMN since REAL NOT NULL DEFAULT 0;
        ALTER TABLE wanted ADD COLUMN trouble TEXT NOT NULL DEFAULT '';
        UPDATE wanted SET since = CAST(strftime('%s', 'now') AS REAL);
        CREATE INDEX wanted_due ON wanted (due, id);
        CREATE TABLE asked (
            upload_id TEXT NOT NULL,
            station TEXT NOT NULL,
            remote TEXT NOT NULL,
            location TEXT NOT NULL,
            PRIMARY KEY (upload_id, station)
        ) WITHOUT ROWID;
        """,
        """
        ALTER TABLE wanted ADD COLUMN upload TEXT NOT NULL DEFAULT '';
        ALTER TABLE wanted ADD COLUMN slow INTEGER NOT NULL DEFAULT 0;    -- 1: not read within a first look
        DROP INDEX wanted_due;
        CREATE INDEX wanted_due ON wanted (slow, due, id);
        """,
        "CREATE TABLE pictured (upload_id TEXT PRIMARY KEY, pictures INTEGER NOT NULL) WITHOUT ROWID;",
    ),
)
_OTHERS_FIRST = (
    """
    SELECT * FROM wanted WHERE slow = 0 AND due <= :now AND upload NOT IN (SELECT upload FROM wanted WHERE slow = 1)
    ORDER BY due, id LIMIT 1
    """,
    "SELECT * FROM wanted WHERE slow = 0 AND due <= :now ORDER BY due, id LIMIT 1",
)
"""Files of an upload that has slow ones come after those of all others."""
_SLOW = (
    """
    SELECT * FROM wanted WHERE slow = 1 AND due <= :now AND upload = (
        SELECT upload FROM wanted WHERE slow = 1 AND due <= :now GROUP BY upload ORDER BY count(*), min(id) LIMIT 1
    ) ORDER BY due, id LIMIT 1
    """,
)
"""Of slow files, those of the upload that has the fewest come first."""
MOST_TRIES = 2
"""Times that a file is begun which ends what reads it."""
LONGEST_PAUSE_S = 3600.0
BACKOFF = Backoff(first_s=5.0, longest_s=LONGEST_PAUSE_S)
MOST_WAITS = 34
"""Times that the storage may be the trouble: with these pauses that is a day."""


@dataclass(frozen=True, slots=True)
class QueuedFile:
    """A queued file: one that is to be read now."""

    id: int
    cause: bytes
    """The encoded file.stored."""
    stored: str
    """The StoredFile as JSON."""
    remote: str
    tries: int
    """This one included."""
    waits: int


def add(db: sqlite3.Connection, event: Event[FileStored], files: Iterable[StoredFile]) -> None:
    """Remember files that were stored."""
    cause, remote, now = encode(event), event.data.destination.remote, time.time()
    db.executemany(
        "INSERT INTO wanted (cause, stored, remote, since, upload) VALUES (?, ?, ?, ?, ?)",
        [(cause, one.to_json().decode(), remote, now, event.data.upload_id) for one in files],
    )


def begin(db: sqlite3.Connection, now: float, *, slow: bool) -> QueuedFile | None:
    """Take the next file that is due, and count the try: should it end us, that is known afterwards."""
    db.execute("UPDATE wanted SET due = ? WHERE due > ?", (now, now + LONGEST_PAUSE_S))  # by a clock that was ahead
    found = (db.execute(query, {"now": now}).fetchone() for query in (_SLOW if slow else _OTHERS_FIRST))
    row = next(filter(None, found), None)
    if row is None:
        return None
    tries = row["tries"] + 1
    db.execute("UPDATE wanted SET tries = ?, due = ? WHERE id = ?", (tries, now + BACKOFF.wait_s(tries), row["id"]))
    return QueuedFile(row["id"], row["cause"], row["stored"], row["remote"], tries, row["waits"])


def due_in(db: sqlite3.Connection, now: float, *, slow: bool) -> float:
    """Return in how many seconds the next file is due; LONGEST_PAUSE_S where none waits."""
    (due,) = db.execute("SELECT min(due) FROM wanted WHERE slow = ?", (slow,)).fetchone()
    if due is None:
        return LONGEST_PAUSE_S
    return max(0.0, due - now) if due <= now + LONGEST_PAUSE_S else 0.0


def forget(db: sqlite3.Connection, wanted: QueuedFile) -> None:
    """Forget a file that is settled."""
    db.execute("DELETE FROM wanted WHERE id = ?", (wanted.id,))


def wait(db: sqlite3.Connection, wanted: QueuedFile, now: float, trouble: str, *, whole_remote: bool) -> None:
    """Read a file later, because its storage is the trouble; with `whole_remote` all others of it, too."""
    due = now + BACKOFF.wait_s(wanted.waits + 1)
    db.execute(
        "UPDATE wanted SET tries = 0, waits = waits + 1, due = ?, trouble = ? WHERE id = ?",
        (due, trouble[:500], wanted.id),
    )
    if whole_remote:
        db.execute("UPDATE wanted SET due = max(due, ?) WHERE remote = ?", (due, wanted.remote))


def put_behind(db: sqlite3.Connection, wanted: QueuedFile, *, whole_remote: bool) -> None:
    """Leave a file to who has time; with `whole_remote` all others of its storage, too, which does not answer."""
    db.execute("UPDATE wanted SET slow = 1, tries = tries - 1, due = 0 WHERE id = ?", (wanted.id,))
    if whole_remote:
        db.execute("UPDATE wanted SET slow = 1 WHERE remote = ?", (wanted.remote,))


def note(db: sqlite3.Connection, wanted: QueuedFile, trouble: str) -> None:
    """Keep why a try has ended what reads; it is counted already."""
    db.execute("UPDATE wanted SET trouble = ? WHERE id = ?", (trouble[:500], wanted.id))


def take_back(db: sqlite3.Connection, wanted: QueuedFile) -> None:
    """Count a try no more: we have ended it ourselves."""
    db.execute("UPDATE wanted SET tries = tries - 1, due = 0 WHERE id = ?", (wanted.id,))


def picture_room(db: sqlite3.Connection, upload_id: str) -> int:
    """Return how many pictures may still be sent of an upload."""
    row = db.execute("SELECT pictures FROM pictured WHERE upload_id = ?", (upload_id,)).fetchone()
    return MOST_OF_UPLOAD - (row["pictures"] if row else 0)


def count_pictures(db: sqlite3.Connection, upload_id: str, pictures: int) -> None:
    """Remember that so many more were sent."""
    db.execute(
        "INSERT INTO pictured VALUES (?, ?) ON CONFLICT (upload_id) DO UPDATE SET pictures = pictures + ?",
        (upload_id, pictures, pictures),
    )


def waiting(db: sqlite3.Connection) -> tuple[int, float, str]:
    """Return how many files wait, since when the oldest does, and what the trouble with one of them was."""
    files, since = db.execute("SELECT count(*), min(since) FROM wanted").fetchone()
    row = db.execute("SELECT trouble FROM wanted WHERE trouble != '' ORDER BY due DESC LIMIT 1").fetchone()
    return int(files), float(since or 0), str(row["trouble"]) if row else ""


def ask(db: sqlite3.Connection, event: Event[EventData]) -> None:
    """Remember where an upload of a station goes; the first request counts."""
    assert isinstance(event.data, UploadRequested)
    there = event.data.destination
    db.execute(
        "INSERT OR IGNORE INTO asked VALUES (?, ?, ?, ?)",
        (event.data.upload_id, event.station.key, there.remote, there.location),
    )


def asked(db: sqlite3.Connection, event: Event[FileStored]) -> Destination | None:
    """Return where the upload of this station goes that an event speaks of; None where nobody has asked for one."""
    query = "SELECT remote, location FROM asked WHERE upload_id = ? AND station = ?"
    row = db.execute(query, (event.data.upload_id, event.station.key)).fetchone()
    return row and Destination(remote=row["remote"], location=row["location"])
