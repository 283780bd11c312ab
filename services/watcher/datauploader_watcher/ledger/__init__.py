"""What the watcher remembers: uploads, file versions and their receipts, omissions, folders of standing rules."""

from datauploader_watcher.ledger.files import FileRow, FileTable
from datauploader_watcher.ledger.schema import SCHEMA
from datauploader_watcher.ledger.uploads import UploadRow, UploadTable

__all__ = ["SCHEMA", "FileRow", "FileTable", "UploadRow", "UploadTable"]
