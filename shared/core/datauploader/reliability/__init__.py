"""What makes a service reliable: its state file with inbox and outbox, back-off, heartbeat, guards, worker threads."""

from datauploader.reliability.inbox import Inbox
from datauploader.reliability.outbox import Outbox
from datauploader.reliability.process_lock import FolderLock
from datauploader.reliability.store import Schema, Store

__all__ = ["FolderLock", "Inbox", "Outbox", "Schema", "Store"]
