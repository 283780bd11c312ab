"""The uploads of this station and how far each has come."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from datauploader.contracts.envelope import Event, decode, encode
from datauploader.contracts.uploads import UploadRequested

OPEN = ("requested", "open", "sealed")
"""States in which something is still to be done."""


@dataclass(frozen=True, slots=True)
class UploadRow:
    """One row: the request and what became of it."""

    number: int
    event: Event[UploadRequested] = field(repr=False)
    state: str
    """requested → open → sealed → completed; or rejected; or cancelled."""
    paused: bool
    closing: str
    """What closes it: `batch`, `asked`, `marker` or `idle`; "" while it is open-ended."""
    mount: bytes
    """The mount point that the root lay on when the upload was opened."""
    root: bytes
    """Where the root really was when the upload was opened, without any link; b"" while it is not known."""
    sources: str
    """What below it was to be uploaded then, as `admission` writes it; "" while that is not known."""
    trouble: str
    """A sentence about the whole upload, such as why the catalogue refuses it."""
    manifest: str
    """The digest of the last seal."""
    seals: int
    seal_due_at: float | None
    agreed: str
    """Whether the catalogue lets it write its dataset: `yes`, `no`, or "" while that was not heard."""
    heard_at: float
    """When the last receipt came, in seconds since 1970."""
    recall: str | None
    """Why it is not known yet what the catalog has of it, "" before it was asked; None once it is known."""

    @property
    def request(self) -> UploadRequested:
        """What was asked for."""
        return self.event.data

    @property
    def upload_id(self) -> str:
        """Its name everywhere."""
        return self.event.data.upload_id


class UploadTable:
    """The table `uploads`, inside the caller's transaction."""

    @staticmethod
    def add(db: sqlite3.Connection, event: Event[UploadRequested]) -> bool:
        """Keep a request; False when it is known."""
        query = "INSERT OR IGNORE INTO uploads (upload_id, event, agreed) VALUES (?, ?, '')"
        added = db.execute(query, (event.data.upload_id, encode(event)))
        if added.rowcount != 1:
            return False
        later = [(name, added.lastrowid) for name in dict.fromkeys(event.data.without)]
        db.executemany("INSERT INTO earlier VALUES (?, ?)", later)
        return True

    @staticmethod
    def get(db: sqlite3.Connection, upload_id: str) -> UploadRow | None:
        """Look one up by its name."""
        row = db.execute("SELECT * FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        return _read(row) if row else None

    @staticmethod
    def in_states(db: sqlite3.Connection, states: Iterable[str]) -> list[UploadRow]:
        """List the uploads in these states, oldest first."""
        words = tuple(states)
        marks = ", ".join("?" * len(words))
        query = f"SELECT * FROM uploads WHERE state IN ({marks}) ORDER BY id"  # noqa: S608 - only question marks go in
        return [_read(row) for row in db.execute(query, words)]

    @staticmethod
    def latest_in(db: sqlite3.Connection, states: tuple[str, str], most: int) -> list[UploadRow]:
        """List the latest uploads in two states, newest first."""
        query = "SELECT * FROM uploads WHERE state IN (?, ?) ORDER BY id DESC LIMIT ?"
        return [_read(row) for row in db.execute(query, (*states, most))]

    @staticmethod
    def forgettable(db: sqlite3.Connection, before: float) -> list[int]:
        """List uploads that were over before a moment and whose files are still remembered one by one."""
        rows = db.execute(
            """SELECT u.id FROM uploads u WHERE u.state NOT IN ('requested', 'open', 'sealed') AND u.heard_at < ?1
            AND EXISTS (SELECT 1 FROM folders d WHERE d.upload = u.id)
            AND NOT EXISTS (SELECT 1 FROM earlier e JOIN uploads l ON l.id = e.upload WHERE e.upload_id = u.upload_id
                AND (l.state IN ('requested', 'open', 'sealed') OR l.heard_at >= ?1))""",
            (before,),
        )
        return [row["id"] for row in rows]

    @staticmethod
    def set_state(db: sqlite3.Connection, number: int, state: str) -> None:
        """Move an upload on."""
        db.execute("UPDATE uploads SET state = ? WHERE id = ?", (state, number))

    @staticmethod
    def open(db: sqlite3.Connection, number: int, mount: bytes, closing: str) -> None:
        """Take an upload up; one that was closed before it was opened stays closing."""
        query = "UPDATE uploads SET state = 'open', mount = ?, closing = coalesce(nullif(closing, ''), ?) WHERE id = ?"
        db.execute(query, (mount, closing, number))

    @staticmethod
    def set_place(db: sqlite3.Connection, number: int, root: bytes, sources: str) -> None:
        """Remember where the root and the sources really are."""
        db.execute("UPDATE uploads SET root = ?, sources = ? WHERE id = ?", (root, sources, number))

    @staticmethod
    def set_closing(db: sqlite3.Connection, number: int, why: str) -> None:
        """Close an upload: what is there is still taken, then it is sealed; a person's word counts, else the first."""
        query = "UPDATE uploads SET closing = ? WHERE id = ? AND (closing = '' OR ? = 'asked')"
        db.execute(query, (why, number, why))

    @staticmethod
    def set_paused(db: sqlite3.Connection, number: int, paused: bool, order: int) -> None:
        """Hold back what would be announced, or go on; the greatest order is right, whenever it is heard."""
        query = "UPDATE uploads SET paused = ?, steering = ? WHERE id = ? AND steering <= ?"
        db.execute(query, (paused, order, number, order))

    @staticmethod
    def set_agreed(db: sqlite3.Connection, number: int, agreed: str) -> None:
        """Note whether the catalogue lets the upload write its dataset; see `UploadRow.agreed`."""
        db.execute("UPDATE uploads SET agreed = ? WHERE id = ?", (agreed, number))

    @staticmethod
    def set_trouble(db: sqlite3.Connection, number: int, sentence: str) -> None:
        """Remember what is wrong with the upload as a whole."""
        db.execute("UPDATE uploads SET trouble = ? WHERE id = ?", (sentence, number))

    @staticmethod
    def set_sealed(db: sqlite3.Connection, number: int, manifest: str, seals: int, due_at: float) -> None:
        """Remember what was sealed, and when to say so again without an answer."""
        query = "UPDATE uploads SET state = 'sealed', manifest = ?, seals = ?, seal_due_at = ? WHERE id = ?"
        db.execute(query, (manifest, seals, due_at, number))

    @staticmethod
    def reseal(db: sqlite3.Connection, number: int) -> None:
        """Have the manifest counted again: something in it has changed since it was sealed."""
        db.execute("UPDATE uploads SET manifest = '' WHERE id = ? AND state = 'sealed'", (number,))

    @staticmethod
    def to_recall(db: sqlite3.Connection) -> list[UploadRow]:
        """List the uploads that were taken up, and of which it is not known yet what the catalog has."""
        query = "SELECT * FROM uploads WHERE recall IS NOT NULL AND state IN ('open', 'sealed') ORDER BY id"
        return [_read(row) for row in db.execute(query)]

    @staticmethod
    def set_recall(db: sqlite3.Connection, number: int, recall: str | None) -> None:
        """Note whether the catalog is to be asked what it has of the upload; see `UploadRow.recall`."""
        db.execute("UPDATE uploads SET recall = ? WHERE id = ?", (recall, number))

    @staticmethod
    def to_look_at(db: sqlite3.Connection, now: float, longest_s: float) -> UploadRow | None:
        """Find one whose folder is due to be looked at again, or that the clock has put beyond the longest wait."""
        query = """SELECT * FROM uploads WHERE look_at IS NOT NULL AND (look_at <= ? OR look_at > ?)
            ORDER BY look_at LIMIT 1"""
        row = db.execute(query, (now, now + longest_s)).fetchone()
        return _read(row) if row else None

    @staticmethod
    def next_look(db: sqlite3.Connection, number: int, due_at: float | None) -> None:
        """Note when its folder is looked at again, None: not any more."""
        db.execute("UPDATE uploads SET look_at = ? WHERE id = ?", (due_at, number))

    @staticmethod
    def looked(db: sqlite3.Connection, number: int, later: int) -> tuple[int, int]:
        """Note a look; return how many that were, and how many files had come or changed at the one before."""
        looks, before = db.execute("SELECT looks + 1, later FROM uploads WHERE id = ?", (number,)).fetchone()
        db.execute("UPDATE uploads SET looks = ?, later = ? WHERE id = ?", (looks, later, number))
        return looks, before

    @staticmethod
    def heard(db: sqlite3.Connection, number: int, now: float) -> None:
        """Remember that a receipt of this upload has come."""
        db.execute("UPDATE uploads SET heard_at = ? WHERE id = ?", (now, number))


def _read(row: sqlite3.Row) -> UploadRow:
    return UploadRow(
        number=row["id"],
        event=cast("Event[UploadRequested]", decode(row["event"])),
        state=row["state"],
        paused=bool(row["paused"]),
        closing=row["closing"],
        mount=row["mount"],
        root=row["root"],
        sources=row["sources"],
        trouble=row["trouble"],
        manifest=row["manifest"],
        seals=row["seals"],
        seal_due_at=row["seal_due_at"],
        agreed=row["agreed"],
        heard_at=row["heard_at"],
        recall=row["recall"],
    )
