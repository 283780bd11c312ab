"""Sessions and tokens that were taken back, remembered beside Redis: an older Redis must not give them back."""

import sqlite3
import time
from datetime import datetime

import redis
import structlog

from datauploader.reliability import Schema, Store
from datauploader_gateway.projection.projection_version import ProjectionVersion
from datauploader_gateway.redis_client import text

log = structlog.get_logger()

SCHEMA = Schema(
    "revocations",
    (
        """
        CREATE TABLE revocations (
            key TEXT PRIMARY KEY,              -- as in Redis: of a session, a token, or somebody who was signed out
            since TEXT NOT NULL,               -- of somebody: older sessions and tokens are worthless; else empty
            until REAL NOT NULL                -- seconds since 1970; nothing older lives that long
        ) WITHOUT ROWID;
        """,
    ),
)


class Revocations:
    """The table; it holds digests, as Redis does."""

    def __init__(self, store: Store, commits: ProjectionVersion) -> None:
        """Keep them in the gateway's state file, and count each in Redis with the changes of the view."""
        self._store, self.commits = store, commits

    def note(self, key: str, since: str, lasts_s: float) -> None:
        """Remember that what lies under a key was taken back, or (`since`) since when somebody is signed out.

        It is on the disk when this returns: a power cut takes the latest second from Redis.
        """
        now = time.time()
        try:
            with self._store.transaction() as db:
                db.execute("DELETE FROM revocations WHERE until < ?", (now,))
                db.execute("INSERT OR REPLACE INTO revocations VALUES (?, ?, ?)", (key, since, now + lasts_s))
            with self._store.reading() as db:
                db.execute("PRAGMA wal_checkpoint").fetchall()
        except sqlite3.OperationalError as error:  # Redis has it; that it is taken back must not fail here
            log.error("revocation_write_failed", problem=f"{error}: free space on the disk of the state file")  # noqa: TRY400 - a sentence

    def apply(self, client: redis.Redis) -> None:
        """Take back once more what was taken back before."""
        with self._store.reading() as db:
            rows = db.execute("SELECT key, since, until FROM revocations WHERE until > ?", (time.time(),)).fetchall()
        if (gone := [row["key"] for row in rows if not row["since"]]) and client.delete(*gone):
            log.warning("sessions_revoked_again", hint="Redis was older than it had been")
        for row in rows:
            if not row["since"]:
                continue
            known = client.get(row["key"])
            if known is None or datetime.fromisoformat(text(known)) < datetime.fromisoformat(row["since"]):
                client.set(row["key"], row["since"], ex=max(1, int(row["until"] - time.time())))
