"""The tables of transfer's ledger, step by step as releases have made them."""

from datauploader.reliability import Schema, blocks
from datauploader_transfer import audits
from datauploader_transfer.domain.plan import LARGE

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
            stored TEXT NOT NULL DEFAULT '',   -- what the StoredFile has beside its version, as JSON; once all of it
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
        # Counting what waits took longer the more there was. No row is replaced by `INSERT OR REPLACE`: SQLite calls no
        # trigger for what that removes.
        """
        CREATE TABLE job_counts (
            upload_id TEXT PRIMARY KEY,
            waiting INTEGER NOT NULL
        ) WITHOUT ROWID;
        INSERT INTO job_counts SELECT upload_id, count(*) FROM jobs WHERE state = 'waiting' GROUP BY upload_id;
        CREATE INDEX job_counts_waiting ON job_counts (upload_id) WHERE waiting > 0;
        CREATE TRIGGER jobs_added AFTER INSERT ON jobs WHEN new.state = 'waiting' BEGIN
            INSERT INTO job_counts VALUES (new.upload_id, 1)
            ON CONFLICT (upload_id) DO UPDATE SET waiting = waiting + 1;
        END;
        CREATE TRIGGER jobs_removed AFTER DELETE ON jobs WHEN old.state = 'waiting' BEGIN
            UPDATE job_counts SET waiting = waiting - 1 WHERE upload_id = old.upload_id;
        END;
        CREATE TRIGGER jobs_changed AFTER UPDATE OF state ON jobs
        WHEN (old.state = 'waiting') <> (new.state = 'waiting') BEGIN
            INSERT INTO job_counts VALUES (new.upload_id, new.state = 'waiting')
            ON CONFLICT (upload_id) DO UPDATE
            SET waiting = waiting + (new.state = 'waiting') - (old.state = 'waiting');
        END;
        CREATE INDEX jobs_moving ON jobs (upload_id) WHERE state = 'moving';
        CREATE INDEX jobs_size ON jobs (upload_id, size) WHERE state = 'waiting';
        """,
        blocks.TABLE,
        blocks.TOUCHED,
        "CREATE INDEX uploads_place ON uploads (remote, location);",
        # What comes and what is taken is counted by whoever writes the rows, once for all of them: the triggers took as
        # long as the rows.
        """
        DROP TRIGGER jobs_added;
        DROP TRIGGER jobs_changed;
        CREATE TRIGGER jobs_changed AFTER UPDATE OF state ON jobs
        WHEN (old.state = 'waiting') <> (new.state = 'waiting') AND new.state <> 'moving' BEGIN
            INSERT INTO job_counts VALUES (new.upload_id, new.state = 'waiting')
            ON CONFLICT (upload_id) DO UPDATE
            SET waiting = waiting + (new.state = 'waiting') - (old.state = 'waiting');
        END;
        """,
    ),
)
