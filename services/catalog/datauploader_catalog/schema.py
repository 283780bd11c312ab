"""The tables of the catalog's ledger, step by step as releases have made them."""

from datauploader.reliability import Schema, blocks
from datauploader_catalog import audits, objections

SCHEMA = Schema(
    "catalog",
    (
        """
        CREATE TABLE uploads (
            upload_id TEXT PRIMARY KEY,
            request BLOB NOT NULL,             -- the encoded upload.requested
            state TEXT NOT NULL,               -- wanted, ensured, completed, refused
            dataset_id TEXT NOT NULL DEFAULT '',
            attempts INTEGER NOT NULL DEFAULT 0,
            due REAL NOT NULL DEFAULT 0,       -- seconds since 1970; not to be tried before
            trouble TEXT NOT NULL DEFAULT ''
        );
        CREATE TABLE seals (
            upload_id TEXT PRIMARY KEY,
            files INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            manifest_sha256 TEXT NOT NULL,
            time TEXT NOT NULL
        );
        CREATE TABLE datafiles (
            upload_id TEXT NOT NULL,
            path BLOB NOT NULL,
            revision INTEGER NOT NULL,
            size INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            stored TEXT NOT NULL,              -- the StoredFile as JSON
            registered INTEGER NOT NULL,       -- 0 or 1
            PRIMARY KEY (upload_id, path)
        ) WITHOUT ROWID;
        CREATE INDEX datafiles_wanted ON datafiles (upload_id) WHERE registered = 0;
        CREATE TABLE parameters (
            id INTEGER PRIMARY KEY,
            upload_id TEXT NOT NULL,
            path BLOB NOT NULL,                -- the datafile
            parameters TEXT NOT NULL           -- a JSON array of Parameter
        );
        CREATE INDEX parameters_upload ON parameters (upload_id);
        """,
        """
        CREATE TABLE homes (
            upload_id TEXT PRIMARY KEY,
            station TEXT NOT NULL              -- the only one that may speak about the upload
        ) WITHOUT ROWID;
        """,
        """
        CREATE INDEX uploads_open ON uploads (state) WHERE state IN ('wanted', 'ensured');
        CREATE INDEX uploads_later ON uploads (due) WHERE due > 0;
        """,
        """
        ALTER TABLE seals ADD COLUMN number INTEGER NOT NULL DEFAULT 0;  -- decides, in place of the time
        UPDATE seals SET number = CAST((julianday(time) - 2440587.5) * 86400000000 AS INTEGER);
        """,
        audits.TABLES,
        objections.TABLES,
        "CREATE INDEX uploads_dataset ON uploads (dataset_id) WHERE dataset_id <> ''",
        # Counting the rows of an upload at each look took longer the more there were. No row is replaced by `INSERT OR
        # REPLACE`: SQLite calls no trigger for what that removes.
        """
        CREATE TABLE datafile_counts (
            upload_id TEXT PRIMARY KEY,
            files INTEGER NOT NULL,
            registered INTEGER NOT NULL
        ) WITHOUT ROWID;
        INSERT INTO datafile_counts
            SELECT upload_id, count(*), total(registered = 1) FROM datafiles GROUP BY upload_id;
        CREATE TRIGGER datafiles_added AFTER INSERT ON datafiles BEGIN
            INSERT INTO datafile_counts VALUES (new.upload_id, 1, new.registered = 1)
            ON CONFLICT (upload_id) DO UPDATE
            SET files = files + 1, registered = registered + excluded.registered;
        END;
        CREATE TRIGGER datafiles_removed AFTER DELETE ON datafiles BEGIN
            UPDATE datafile_counts SET files = files - 1, registered = registered - (old.registered = 1)
            WHERE upload_id = old.upload_id;
        END;
        CREATE TRIGGER datafiles_changed AFTER UPDATE OF registered ON datafiles
        WHEN (old.registered = 1) <> (new.registered = 1) BEGIN
            UPDATE datafile_counts SET registered = registered + (new.registered = 1) - (old.registered = 1)
            WHERE upload_id = new.upload_id;
        END;
        """,
        blocks.TABLE,
        blocks.TOUCHED,
    ),
)
