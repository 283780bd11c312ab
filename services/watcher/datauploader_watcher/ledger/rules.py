"""Which folders the standing rules have made uploads of."""

import sqlite3
from dataclasses import dataclass


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
