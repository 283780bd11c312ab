"""The tables of the ledger; triggers keep the counts, so that a million rows never have to be counted."""

from datauploader.reliability import Schema

TO_DO = "('ready', 'suspect', 'failed', 'releasing')"
PENDING = "('announced', 'stored')"
"""Sets of states as SQL: a partial index serves only queries that repeat its condition to the letter."""

_FIRST = f"""
CREATE TABLE uploads (
    id INTEGER PRIMARY KEY,
    upload_id TEXT NOT NULL UNIQUE,
    event BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'requested',
    paused INTEGER NOT NULL DEFAULT 0,
    closing TEXT NOT NULL DEFAULT '',
    mount BLOB NOT NULL DEFAULT x'',
    trouble TEXT NOT NULL DEFAULT '',
    manifest TEXT NOT NULL DEFAULT '',
    seals INTEGER NOT NULL DEFAULT 0,
    seal_due_at REAL,
    heard_at REAL NOT NULL DEFAULT 0
);
CREATE TABLE folders (
    id INTEGER PRIMARY KEY,
    upload INTEGER NOT NULL REFERENCES uploads (id),
    path BLOB NOT NULL,
    UNIQUE (upload, path)
);
CREATE TABLE files (
    folder INTEGER NOT NULL,
    name BLOB NOT NULL,
    upload INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    state TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    version_mtime_ns INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    announced_at REAL,
    due_at REAL,
    sha256 BLOB,
    md5 BLOB,
    sha1 BLOB,
    object TEXT,
    reason TEXT,
    detail TEXT,
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE INDEX files_to_do ON files (upload, state) WHERE state IN {TO_DO};
CREATE INDEX files_due ON files (upload, due_at) WHERE state IN {PENDING};
CREATE INDEX files_oldest ON files (announced_at) WHERE state IN {PENDING};
CREATE TABLE tallies (
    upload INTEGER NOT NULL,
    state TEXT NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (upload, state)
) WITHOUT ROWID;
CREATE TRIGGER files_added AFTER INSERT ON files BEGIN
    INSERT INTO tallies VALUES (new.upload, new.state, 1, new.size)
    ON CONFLICT (upload, state) DO UPDATE SET files = files + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER files_removed AFTER DELETE ON files BEGIN
    UPDATE tallies SET files = files - 1, bytes = bytes - old.size WHERE upload = old.upload AND state = old.state;
END;
CREATE TRIGGER files_moved AFTER UPDATE OF state, size ON files
WHEN old.state <> new.state OR old.size <> new.size BEGIN
    UPDATE tallies SET files = files - 1, bytes = bytes - old.size WHERE upload = old.upload AND state = old.state;
    INSERT INTO tallies VALUES (new.upload, new.state, 1, new.size)
    ON CONFLICT (upload, state) DO UPDATE SET files = files + 1, bytes = bytes + new.size;
END;
CREATE TABLE rule_folders (
    rule TEXT NOT NULL,
    folder BLOB NOT NULL,
    generation INTEGER NOT NULL,
    upload_id TEXT NOT NULL,
    PRIMARY KEY (rule, folder)
) WITHOUT ROWID;
"""  # noqa: S608 - constants only
"""In `files`, `due_at` is when the patience with an announcement ends; before the first, when the version was seen."""

_SECOND = """
CREATE TABLE held (
    folder INTEGER NOT NULL,
    name BLOB NOT NULL,
    size INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    version_mtime_ns INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    md5 BLOB,
    sha1 BLOB,
    object TEXT,
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
"""
"""What the storage holds of a path whose newer version is still on its way, should that one never arrive."""
_THIRD = """
ALTER TABLE uploads ADD COLUMN steered TEXT NOT NULL DEFAULT '';
"""
"""When the latest pause or resume was asked for: an older one that comes late changes nothing."""

_FOURTH = """
ALTER TABLE uploads ADD COLUMN recall TEXT DEFAULT '';
CREATE INDEX uploads_recall ON uploads (state) WHERE recall IS NOT NULL;
"""
"""Why it is not known yet what the catalog has of the upload, '' before it was asked; NULL once it is known."""

_CHANGED = """
ALTER TABLE files ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN writer INTEGER NOT NULL DEFAULT 0;
CREATE INDEX files_written ON files (upload) WHERE writer = 1;
"""
"""When anything of the file was changed last, as the disk said it (0: not known, and learned at the next scan), and
whether a program had it open for writing when it was read."""

_PLACES = """
ALTER TABLE uploads ADD COLUMN root BLOB NOT NULL DEFAULT x'';
ALTER TABLE uploads ADD COLUMN sources TEXT NOT NULL DEFAULT '';
CREATE TABLE places (
    root BLOB PRIMARY KEY,
    real BLOB NOT NULL
) WITHOUT ROWID;
"""
"""Where the upload's folder and sources really were when it was opened: a link put there later leads nowhere.
And where each of the station's `roots` was when it was first seen."""

_AFTERWARDS = """
ALTER TABLE uploads ADD COLUMN looks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE uploads ADD COLUMN look_at REAL;
ALTER TABLE uploads ADD COLUMN later INTEGER NOT NULL DEFAULT 0;
CREATE INDEX uploads_look_at ON uploads (look_at) WHERE look_at IS NOT NULL;
"""
"""How often the folder of a complete dataset was looked at again, when it is due next, how many files it had then."""

_AGREED = """
ALTER TABLE uploads ADD COLUMN agreed TEXT NOT NULL DEFAULT 'yes';
CREATE TABLE earlier (
    upload_id TEXT NOT NULL,
    upload INTEGER NOT NULL REFERENCES uploads (id),
    PRIMARY KEY (upload_id, upload)
) WITHOUT ROWID;
"""
"""Whether the catalogue lets the upload write its dataset: '' not heard yet, yes, no; those of before have begun.
Which uploads are named in `without` by which later one: their files are remembered as long as its own."""

_STEERING_BY_NUMBER = """
ALTER TABLE uploads ADD COLUMN steering INTEGER NOT NULL DEFAULT 0;
UPDATE uploads SET steering = CAST((julianday(steered) - 2440587.5) * 86400000000 AS INTEGER) WHERE steered <> '';
"""
"""The order of the latest pause or resume, in place of its time: a clock that was ahead would win until it is past."""

_CHOICES = """
CREATE TABLE choices (
    upload INTEGER NOT NULL REFERENCES uploads (id),
    path BLOB NOT NULL,
    choice TEXT NOT NULL,                       -- take, leave-out
    who TEXT NOT NULL,                          -- as people read it
    done INTEGER NOT NULL DEFAULT 0,            -- it was read, or is on the record
    tries INTEGER NOT NULL DEFAULT 0,           -- how often it was read and then was found to be something else
    PRIMARY KEY (upload, path)
) WITHOUT ROWID;
ALTER TABLE files ADD COLUMN as_is INTEGER NOT NULL DEFAULT 0;
"""
"""What somebody has chosen for files that do not rest, and which versions were read while a program wrote on."""

_FORGOTTEN = """
ALTER TABLE uploads ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
"""
"""Whether its files are being forgotten, some at a time: what is left of them is not all of them."""

SCHEMA = Schema(
    "watcher",
    (
        _FIRST, _SECOND, _THIRD, _FOURTH, _CHANGED, _PLACES, _AFTERWARDS, _AGREED, _STEERING_BY_NUMBER, _CHOICES,
        _FORGOTTEN,
    ),
)  # fmt: skip
