"""What the receipts change in the ledger: only forward, only of the version that they name."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from datauploader.contracts.files import FileVersion
from datauploader_watcher.domain.receipts import moves
from datauploader_watcher.domain.versions import split
from datauploader_watcher.ledger.files import FileTable
from datauploader_watcher.ledger.superseded import LOST, SupersededVersions
from datauploader_watcher.ledger.uploads import UploadTable

HELD = ("stored", "catalogued")
"""Receipts that say that the storage has a version."""
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

    def apply_receipts(self, upload: int, receipts: Iterable[FileReceipt], *, adopt: bool = False) -> None:
        """Move all versions that an event is about, as `apply_receipt` does: those that are as expected at once."""
        cursor = self._db.cursor()
        cursor.row_factory = None
        query = "SELECT state, revision, sha256, attempts FROM files WHERE folder = ? AND name = ?"
        folders: dict[bytes, int] = {}
        found: dict[tuple[int, bytes], tuple[str, FileReceipt]] = {}
        for receipt in receipts:
            directory, name = split(receipt.file.raw)
            folder = folders.get(directory) or FileTable(self._db).folder(upload, directory)
            if folder is not None:
                folders[directory] = folder
                row = cursor.execute(query, (folder, name)).fetchone()
                as_known = row is not None and row[2] == bytes.fromhex(receipt.file.sha256)
                if as_known and row[1] == receipt.file.revision and (folder, name) not in found:
                    if state := _next_state(receipt, row[0], row[3]):
                        found[folder, name] = state, receipt
                    continue
            self._move(found)
            found.clear()
            self.apply_receipt(upload, receipt, adopt=adopt)
        self._move(found)

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
            self._move({(row["folder"], name): (state, receipt)})
        return bool(state)

    def _move(self, found: Mapping[tuple[int, bytes], tuple[str, FileReceipt]]) -> None:
        """Move rows, each given by folder and name, to the state that its receipt takes it to."""
        self._db.executemany(
            """UPDATE files SET state = ?, object = coalesce(?, object), reason = ?, detail = ?, due_at = ?
            WHERE folder = ? AND name = ?""",
            [
                (state, receipt.object, receipt.reason, receipt.detail, receipt.due_at, *place)
                for place, (state, receipt) in found.items()
            ],
        )

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
