"""What was read in files and asked for with datasets, in the ledger until the catalogue has it or has refused it."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from datauploader.contracts import FileVersion, Parameter, StoredFile
from datauploader_catalog.compaction import CompactedDatafiles
from datauploader_catalog.objections import Subject


@dataclass(frozen=True, slots=True)
class PendingMetadata:
    """Pending metadata, one row: read in a file that is registered, or asked for with the dataset."""

    id: int
    stored: StoredFile | None
    """None: it belongs to the dataset itself."""
    harvester: str
    parameters: tuple[Parameter, ...]
    attempts: int
    since: float

    def subject(self, upload_id: str) -> Subject:
        """Name what an objection to it is about."""
        path = self.stored.file.raw if self.stored else b""
        return Subject(upload_id, path, "metadata", self.harvester)


class PendingMetadataTable:
    """The table `parameters`, inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the caller's transaction."""
        self._db = db

    def add_metadata(
        self, upload_id: str, file: FileVersion | None, parameters: Sequence[Parameter], harvester: str = ""
    ) -> None:
        """Remember what a harvester read in a file or, without a file, what was asked for with the dataset."""
        if file is not None:
            CompactedDatafiles(self._db).thaw_files(upload_id, [file.raw])
        document = json.dumps([parameter.model_dump() for parameter in parameters])
        self._db.execute(
            "INSERT INTO parameters (upload_id, path, parameters, harvester) VALUES (?, ?, ?, ?)",
            (upload_id, file.raw if file else b"", document, harvester),
        )

    def pending_metadata(self, upload_id: str, most: int) -> list[PendingMetadata]:
        """Return what was read in files that are registered, and what was asked for with the dataset."""
        rows = self._db.execute(
            "SELECT p.id, p.harvester, p.parameters, d.stored, coalesce(o.attempts, 0) AS attempts,"
            " coalesce(o.since, 0) AS since FROM parameters p LEFT JOIN datafiles d USING (upload_id, path)"
            " LEFT JOIN objections o ON o.upload_id = p.upload_id AND o.path = p.path AND o.what = 'metadata'"
            " AND o.harvester = p.harvester"
            " WHERE p.upload_id = ? AND p.aside = 0 AND (d.registered = 1 OR p.path = x'') ORDER BY p.id LIMIT ?",
            (upload_id, most),
        ).fetchall()
        return [
            PendingMetadata(
                row["id"],
                StoredFile.model_validate_json(row["stored"]) if row["stored"] else None,
                row["harvester"],
                tuple(Parameter.model_validate(item) for item in json.loads(row["parameters"])),
                row["attempts"],
                row["since"],
            )
            for row in rows
        ]
