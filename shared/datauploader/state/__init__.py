"""What a service remembers: one SQLite file each, with an inbox, an outbox and its own tables."""

from datauploader.state.inbox import Inbox
from datauploader.state.lock import FolderLock
from datauploader.state.outbox import Outbox
from datauploader.state.store import Schema, Store

__all__ = ["FolderLock", "Inbox", "Outbox", "Schema", "Store"]
