"""What the watcher remembers: uploads, file versions and their receipts, omissions, folders of standing rules."""

from datauploader_watcher.ledger.files import Files, Row
from datauploader_watcher.ledger.schema import SCHEMA
from datauploader_watcher.ledger.uploads import Upload, Uploads

__all__ = ["SCHEMA", "Files", "Row", "Upload", "Uploads"]
