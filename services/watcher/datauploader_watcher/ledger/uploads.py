"""The uploads of this station, how far each has come, and which folders the standing rules have made uploads of."""

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

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add(self, event: Event[UploadRequested]) -> bool:
        """Keep a request; False when it is known."""
        query = "INSERT OR IGNORE INTO uploads (upload_id, event, agreed) VALUES (?, ?, '')"
        added = self._db.execute(query, (event.data.upload_id, encode(event)))
        if added.rowcount != 1:
            return False
        later = [(name, added.lastrowid) for name in dict.fromkeys(event.data.without)]
        self._db.executemany("INSERT INTO earlier VALUES (?, ?)", later)
        return True

    def get(self, upload_id: str) -> UploadRow | None:
        """Look one up by its name."""
        row = self._db.execute("SELECT * FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
        return _read(row) if row else None

    def in_states(self, states: Iterable[str]) -> list[UploadRow]:
        """List the uploads in these states, oldest first."""
        words = tuple(states)
        marks = ", ".join("?" * len(words))
        query = f"SELECT * FROM uploads WHERE state IN ({marks}) ORDER BY id"  # noqa: S608 - only question marks go in
        return [_read(row) for row in self._db.execute(query, words)]

    def latest_in(self, states: tuple[str, str], most: int) -> list[UploadRow]:
        """List the latest uploads in two states, newest first."""
        query = "SELECT * FROM uploads WHERE state IN (?, ?) ORDER BY id DESC LIMIT ?"
        return [_read(row) for row in self._db.execute(query, (*states, most))]

    def find_forgettable(self, before: float) -> int | None:
        """Find an upload that was over before a moment and whose files are still remembered one by one.

        None whose local copies are still to be removed, and none whose files a later upload leaves out.
        """
        row = self._db.execute(
            """SELECT u.id FROM uploads u WHERE u.state NOT IN ('requested', 'open', 'sealed') AND u.heard_at < ?1
            AND EXISTS (SELECT 1 FROM folders d WHERE d.upload = u.id)
            AND NOT EXISTS (SELECT 1 FROM tallies t WHERE t.upload = u.id AND t.state = 'releasing' AND t.files > 0)
            AND NOT EXISTS (SELECT 1 FROM earlier e JOIN uploads l ON l.id = e.upload WHERE e.upload_id = u.upload_id
                AND (l.state IN ('requested', 'open', 'sealed') OR l.heard_at >= ?1)) LIMIT 1""",
            (before,),
        ).fetchone()
        return row and int(row["id"])

    def set_state(self, number: int, state: str) -> None:
        """Move an upload on."""
        self._db.execute("UPDATE uploads SET state = ? WHERE id = ?", (state, number))

    def open(self, number: int, mount: bytes, closing: str) -> None:
        """Take an upload up; one that was closed before it was opened stays closing."""
        query = "UPDATE uploads SET state = 'open', mount = ?, closing = coalesce(nullif(closing, ''), ?) WHERE id = ?"
        self._db.execute(query, (mount, closing, number))

    def set_place(self, number: int, root: bytes, sources: str) -> None:
        """Remember where the root and the sources really are."""
        self._db.execute("UPDATE uploads SET root = ?, sources = ? WHERE id = ?", (root, sources, number))

    def set_closing(self, number: int, why: str) -> None:
        """Close an upload: what is there is still taken, then it is sealed; a person's word counts, else the first."""
        query = "UPDATE uploads SET closing = ? WHERE id = ? AND (closing = '' OR ? = 'asked')"
        self._db.execute(query, (why, number, why))

    def set_paused(self, number: int, paused: bool, order: int) -> None:
        """Hold back what would be announced, or go on; the greatest order is right, whenever it is heard."""
        query = "UPDATE uploads SET paused = ?, steering = ? WHERE id = ? AND steering <= ?"
        self._db.execute(query, (paused, order, number, order))

    def set_agreed(self, number: int, agreed: str) -> None:
        """Note whether the catalogue lets the upload write its dataset; see `UploadRow.agreed`."""
        self._db.execute("UPDATE uploads SET agreed = ? WHERE id = ?", (agreed, number))

    def set_trouble(self, number: int, sentence: str) -> None:
        """Remember what is wrong with the upload as a whole."""
        self._db.execute("UPDATE uploads SET trouble = ? WHERE id = ?", (sentence, number))

    def set_sealed(self, number: int, manifest: str, seals: int, due_at: float) -> None:
        """Remember what was sealed, and when to say so again without an answer."""
        query = "UPDATE uploads SET state = 'sealed', manifest = ?, seals = ?, seal_due_at = ? WHERE id = ?"
        self._db.execute(query, (manifest, seals, due_at, number))

    def reseal(self, number: int) -> None:
        """Have the manifest counted again: something in it has changed since it was sealed."""
        self._db.execute("UPDATE uploads SET manifest = '' WHERE id = ? AND state = 'sealed'", (number,))

    def to_recall(self) -> list[UploadRow]:
        """List the uploads that were taken up, and of which it is not known yet what the catalog has."""
        query = "SELECT * FROM uploads WHERE recall IS NOT NULL AND state IN ('open', 'sealed') ORDER BY id"
        return [_read(row) for row in self._db.execute(query)]

    def set_recall(self, number: int, recall: str | None) -> None:
        """Note whether the catalog is to be asked what it has of the upload; see `UploadRow.recall`."""
        self._db.execute("UPDATE uploads SET recall = ? WHERE id = ?", (recall, number))

    def to_look_at(self, now: float, longest_s: float) -> UploadRow | None:
        """Find one whose folder is due to be looked at again, or that the clock has put beyond the longest wait."""
        query = """SELECT * FROM uploads WHERE look_at IS NOT NULL AND (look_at <= ? OR look_at > ?)
            ORDER BY look_at LIMIT 1"""
        row = self._db.execute(query, (now, now + longest_s)).fetchone()
        return _read(row) if row else None

    def next_look(self, number: int, due_at: float | None) -> None:
        """Note when its folder is looked at again, None: not any more."""
        self._db.execute("UPDATE uploads SET look_at = ? WHERE id = ?", (due_at, number))

    def looked(self, number: int, later: int) -> tuple[int, int]:
        """Note a look; return how many that were, and how many files had come or changed at the one before."""
        looks, before = self._db.execute("SELECT looks + 1, later FROM uploads WHERE id = ?", (number,)).fetchone()
        self._db.execute("UPDATE uploads SET looks = ?, later = ? WHERE id = ?", (looks, later, number))
        return looks, before

    def heard_at(self, number: int) -> float:
        """Return when the last receipt came, in seconds since 1970."""
        return float(self._db.execute("SELECT heard_at FROM uploads WHERE id = ?", (number,)).fetchone()[0])

    def note_receipt(self, upload_id: str, now: float) -> tuple[int, str] | None:
        """Remember that a receipt has come; return the upload's number and state, None where it is not known."""
        query = "UPDATE uploads SET heard_at = ? WHERE upload_id = ? RETURNING id, state"
        rows = self._db.execute(query, (now, upload_id)).fetchall()
        return (rows[0]["id"], rows[0]["state"]) if rows else None

    def heard(self, number: int, now: float) -> None:
        """Remember that a receipt of this upload has come."""
        self._db.execute("UPDATE uploads SET heard_at = ? WHERE id = ?", (now, number))


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


@dataclass(frozen=True, slots=True)
class RuleFolder:
    """A folder whose latest upload is over."""

    rule: str
    folder: bytes
    generation: int
    number: int
    """The upload's number in the ledger."""
    upload_id: str


class RuleFolders:
    """The table `rule_folders`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def asked(self, rule: str, folder: bytes) -> tuple[int, bool] | None:
        """Return the generation of a folder's latest upload and whether that has arrived; None before the first."""
        row = self._db.execute(
            """SELECT r.generation, u.id FROM rule_folders r LEFT JOIN uploads u ON u.upload_id = r.upload_id
            WHERE r.rule = ? AND r.folder = ?""",
            (rule, folder),
        ).fetchone()
        return (row["generation"], row["id"] is not None) if row else None

    def put(self, rule: str, folder: bytes, generation: int, upload_id: str) -> None:
        """Remember the latest upload of a folder."""
        self._db.execute(
            "INSERT OR REPLACE INTO rule_folders VALUES (?, ?, ?, ?)", (rule, folder, generation, upload_id)
        )

    def closed(self, since: float) -> list[RuleFolder]:
        """List the folders whose latest upload was completed after `since`."""
        rows = self._db.execute(
            """SELECT r.rule, r.folder, r.generation, r.upload_id, u.id FROM rule_folders r
            JOIN uploads u ON u.upload_id = r.upload_id WHERE u.state = 'completed' AND u.heard_at >= ?""",
            (since,),
        )
        return [
            RuleFolder(row["rule"], row["folder"], row["generation"], row["id"], row["upload_id"]) for row in rows
        ]  # fmt: skip
