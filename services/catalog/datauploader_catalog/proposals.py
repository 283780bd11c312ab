"""What the user office has said of its proposals: who belongs to which, and what of it could not be read."""

import sqlite3
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from datauploader.reliability import Schema

SCHEMA = Schema(
    "proposals",
    (
        """
        CREATE TABLE proposals (
            pk INTEGER PRIMARY KEY,            -- the user office's own number of the proposal
            code TEXT NOT NULL,                -- its shortCode, which may change
            deleted INTEGER NOT NULL,
            nameless INTEGER NOT NULL,         -- people of it who cannot be told from others yet
            sent INTEGER NOT NULL,             -- by the sender's clock, milliseconds since 1970; 0: it did not say
            digest TEXT NOT NULL               -- of the message that said so
        );
        CREATE INDEX proposals_code ON proposals (code);
        CREATE TABLE proposal_people (
            person TEXT NOT NULL,
            pk INTEGER NOT NULL,
            role TEXT NOT NULL,                -- the field of the message in which the person stood
            PRIMARY KEY (person, pk, role)
        ) WITHOUT ROWID;
        CREATE INDEX proposal_people_pk ON proposal_people (pk);
        CREATE TABLE unread_news (
            number INTEGER PRIMARY KEY,
            heard REAL NOT NULL,               -- seconds since 1970
            digest TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            code TEXT NOT NULL,                -- of the proposal, "" where that could not be read
            problem TEXT NOT NULL,
            body BLOB NOT NULL                 -- x'' where it may hold more than a proposal
        );
        """,
    ),
)
_MOST_UNREAD = 1000
"""Rows that are kept; the oldest make room."""
TOLD_S = 7 * 86_400.0
"""For so long after it came, news that could not be read is a trouble of the service."""


@dataclass(frozen=True, slots=True)
class ProposalNews:
    """What one message says of one proposal: always all of its people."""

    pk: int
    code: str
    people: tuple[tuple[str, str], ...]
    """Persons, and the field of the message in which each stands."""
    nameless: int
    """People who have nothing yet by which they could be told from others."""
    deleted: bool
    sent_ms: int
    """See `ForeignMessage.sent_ms`."""
    digest: str


@dataclass(frozen=True, slots=True)
class ProposalStanding:
    """How a person stands with a proposal."""

    heard: bool
    """Anything was heard of it."""
    deleted: bool = False
    member: bool = False
    nameless: int = 0


class OrderUnknownError(Exception):
    """A message came again without a time, so nobody can say whether something newer was heard."""


class ProposalTable:
    """Proposals and their people: the tables `proposals` and `proposal_people`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def replace_proposal(self, news: ProposalNews, *, redelivered: bool) -> bool:
        """Note what was said, in place of all that was said before; False where something newer was.

        A message that comes for the first time is newer than all before it, because a queue keeps their order. One that
        comes again may have been overtaken, so the sender's clock decides about it.

        Raises:
            OrderUnknownError: it comes again, and does not say when it was sent.
        """
        held = self._db.execute("SELECT sent, digest FROM proposals WHERE pk = ?", (news.pk,)).fetchone()
        if redelivered and held is not None and held["digest"] != news.digest:
            if not news.sent_ms:
                raise OrderUnknownError
            if news.sent_ms < held["sent"]:
                return False
        self._db.execute(
            "INSERT OR REPLACE INTO proposals VALUES (?, ?, ?, ?, ?, ?)",
            (news.pk, news.code, news.deleted, news.nameless, news.sent_ms, news.digest),
        )
        self._db.execute("DELETE FROM proposal_people WHERE pk = ?", (news.pk,))
        self._db.executemany(
            "INSERT OR IGNORE INTO proposal_people (pk, person, role) VALUES (?, ?, ?)",
            [(news.pk, person, role) for person, role in news.people],
        )
        return True

    def standing(self, code: str, person: str, roles: Collection[str]) -> ProposalStanding:
        """Say how somebody stands with the proposal of this code; only these roles count."""
        rows = self._db.execute(
            f"SELECT deleted, nameless, EXISTS (SELECT 1 FROM proposal_people p WHERE p.person = ? AND p.pk = o.pk"  # noqa: S608 - question marks alone
            f" AND p.role IN ({_marks(roles)})) AS member FROM proposals o WHERE code = ?",
            (person, *roles, code),
        ).fetchall()
        living = [row for row in rows if not row["deleted"]]
        return ProposalStanding(
            heard=bool(rows),
            deleted=bool(rows) and not living,
            member=any(row["member"] for row in living),
            nameless=sum(row["nameless"] for row in living),
        )

    def codes_of(self, person: str, roles: Collection[str]) -> list[str]:
        """Return the codes of somebody's proposals."""
        rows = self._db.execute(
            f"SELECT DISTINCT o.code FROM proposal_people p JOIN proposals o USING (pk) WHERE p.person = ?"  # noqa: S608 - question marks alone
            f" AND p.role IN ({_marks(roles)}) AND NOT o.deleted ORDER BY o.code",
            (person, *roles),
        )
        return [row["code"] for row in rows.fetchall()]

    def is_empty(self) -> bool:
        """Tell whether nothing was ever heard."""
        return self._db.execute("SELECT 1 FROM proposals LIMIT 1").fetchone() is None


class UnreadNewsTable:
    """News that is missing or could not be read: the table `unread_news`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add_news(self, problem: str, *, digest: str, kind: str = "", code: str = "", body: bytes = b"") -> None:
        """Keep what could not be read, once however often it comes."""
        self._db.execute(
            "INSERT OR IGNORE INTO unread_news (heard, digest, kind, code, problem, body) VALUES (?, ?, ?, ?, ?, ?)",
            (time.time(), digest, kind, code, problem, body),
        )
        self._db.execute(
            "DELETE FROM unread_news WHERE number <= (SELECT max(number) FROM unread_news) - ?", (_MOST_UNREAD,)
        )

    def settle_news(self, code: str) -> None:
        """Forget what could not be read about a proposal of which something newer was read."""
        self._db.execute("DELETE FROM unread_news WHERE code = ? AND code <> ''", (code,))

    def recent_problems(self) -> Sequence[str]:
        """Return the sentences of the last days, each once, the latest first."""
        rows = self._db.execute(
            "SELECT problem, max(number) AS latest FROM unread_news WHERE heard > ? GROUP BY problem"
            " ORDER BY latest DESC LIMIT 20",
            (time.time() - TOLD_S,),
        )
        return [row["problem"] for row in rows.fetchall()]


def _marks(values: Collection[str]) -> str:
    return ",".join("?" * len(values))
