"""What the receipts change in the ledger: only forward, only of the version that they name."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from datauploader.contracts.files import FileVersion
from datauploader.reliability.groups import write_groups
from datauploader_watcher.domain.receipts import before, moves
from datauploader_watcher.domain.versions import split
from datauploader_watcher.ledger.files import FileTable
from datauploader_watcher.ledger.superseded import LOST, SupersededVersions
from datauploader_watcher.ledger.uploads import UploadTable

HELD = ("stored", "catalogued")
"""Receipts that say that the storage has a version."""
_MOVES = {
    to: f"""UPDATE files SET state = '{to}', reason = NULL,
            object = coalesce(new.column5, files.object), detail = new.column6, due_at = new.column7
        FROM (VALUES {{rows}}) AS new WHERE files.folder = new.column1 AND files.name = new.column2
            AND files.revision = new.column3 AND files.sha256 = new.column4
            AND files.state IN ({", ".join(map(repr, before(to)))})"""  # noqa: S608 - constants only
    for to in HELD
}
"""Moves a version that is in a state before that of its receipt."""
MOST_ANNOUNCEMENTS = 8
"""Announcements of one version after which a failure is no longer looked into here, but left to a person."""


class FileReceipt(NamedTuple):
    """A receipt for one file version: what came back of it. A tuple, because each file has two."""

    file: FileVersion
    state: str
    """The state that the version is in according to it."""
    object: str | None = None
    reason: str | None = None
    detail: str | None = None
    due_at: float | None = None
    """When to announce the version again without further word."""


class FileReceipts:
    """Receipts in the ledger, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def apply_held(self, upload: int, receipts: Sequence[FileReceipt], *, adopt: bool = False) -> None:
        """Move all versions that the storage has according to an event, as `apply_receipt` does.

        Those that are as expected move at once. Where not all are, each is looked at; one that has moved stays.
        """
        state, folders = receipts[0].state, dict[bytes, int | None]()
        rows = []
        for receipt in receipts:
            file = receipt.file
            directory, name = split(file.raw)
            if directory not in folders:
                folders[directory] = FileTable(self._db).folder(upload, directory)
            rows.append(
                (
                    folders[directory], name, file.revision, bytes.fromhex(file.sha256),
                    receipt.object, receipt.detail, receipt.due_at,
                )
            )  # fmt: skip
        if write_groups(self._db, _MOVES[state], rows) < len(rows):
            for receipt in receipts:
                self.apply_receipt(upload, receipt, adopt=adopt)

    def apply_receipt(self, upload: int, receipt: FileReceipt, *, adopt: bool = False) -> bool:
        """Move the version that the receipt is for; False where it is older, or further on already.

        One that is newer than what the ledger has, or not in it, was announced by a ledger that is lost. Where that is
        to be adopted it is taken over, whether its file is still there or not; if it is, the next scan compares them.
        """
        directory, name = split(receipt.file.raw)
        row = self._db.execute(
            """SELECT f.folder, f.state, f.revision, f.sha256, f.attempts, f.reason
            FROM files f JOIN folders d ON d.id = f.folder
            WHERE d.upload = ? AND d.path = ? AND f.name = ?""",
            (upload, directory, name),
        ).fetchone()
        if row is None or row["sha256"] is None or receipt.file.revision > row["revision"]:
            return adopt and receipt.state in HELD and self._adopt(upload, receipt)
        if receipt.file.revision < row["revision"] and receipt.state in HELD and row["reason"] != LOST:
            # the newer one may be gone before it is stored; of what transfer has looked for since, this comes late
            SupersededVersions(self._db).note_stored(row["folder"], name, receipt.file, receipt.object)
            if row["state"] == "gone" and SupersededVersions(self._db).restore(row["folder"], name):
                UploadTable(self._db).reseal(upload)
        if row["revision"] != receipt.file.revision:
            return False
        if row["sha256"].hex() != receipt.file.sha256:
            return False
        state = _next_state(receipt, row["state"], row["attempts"])
        if state:
            self._db.execute(
                """UPDATE files SET state = ?, object = coalesce(?, object), reason = ?, detail = ?, due_at = ?
                WHERE folder = ? AND name = ?""",
                (state, receipt.object, receipt.reason, receipt.detail, receipt.due_at, row["folder"], name),
            )
        return bool(state)

    def _adopt(self, upload: int, receipt: FileReceipt) -> bool:
        """Take over a version that is on the storage, with its proof."""
        file = receipt.file
        directory, name = split(file.raw)
        folder = FileTable(self._db).make_folder(upload, directory)
        digests = (bytes.fromhex(text) if text else None for text in (file.sha256, file.md5, file.sha1))
        # a REPLACE would not be counted
        self._db.execute("DELETE FROM files WHERE folder = ? AND name = ?", (folder, name))
        self._db.execute(
            """INSERT INTO files (folder, name, upload, size, mtime_ns, inode, state, revision, version_mtime_ns,
                due_at, object, sha256, md5, sha1) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                folder, name, upload, file.size, file.mtime_ns, receipt.state,
                file.revision, file.mtime_ns, receipt.due_at, receipt.object, *digests,
            ),
        )  # fmt: skip
        UploadTable(self._db).reseal(upload)
        return True

    def excuse_delay(self, upload: int, file: FileVersion, reason: str, detail: str, due_at: float) -> None:
        """Note why a version takes longer, and wait for it from now."""
        directory, name = split(file.raw)
        self._db.execute(
            """UPDATE files SET reason = ?, detail = ?, due_at = ?
            WHERE folder = (SELECT id FROM folders WHERE upload = ? AND path = ?) AND name = ?
                AND revision = ? AND state = 'announced'""",
            (reason, detail, due_at, upload, directory, name, file.revision),
        )


def _next_state(receipt: FileReceipt, now: str, attempts: int) -> str:
    """Return the state that a receipt takes its version to, "" where it leaves it as it is."""
    state = "failed" if receipt.state == "suspect" and attempts >= MOST_ANNOUNCEMENTS else receipt.state
    return state if moves(now, state) else ""
