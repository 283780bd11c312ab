"""What can go wrong in the watcher, in one tree.

DataUploaderError
└── WatcherError
    ├── BadPattern       a pattern of an upload or a rule cannot be read
    ├── UploadRefused    an upload cannot be done here; carries the words for the person who asked
    └── FolderError
        ├── RootLost     the root of an upload is not there (unplugged, unmounted, renamed)
        ├── PathMissing  the file or folder is not there (any more)
        ├── Unreadable   the operating system does not let us read it
        └── DiskBusy     not now: a lock, a stale handle, an I/O error; worth another try
"""

from datauploader.errors import DataUploaderError


class WatcherError(DataUploaderError):
    """Root of what the watcher raises on purpose."""


class BadPattern(WatcherError):
    """A pattern cannot be read; the message quotes it."""


class UploadRefused(WatcherError):
    """An upload cannot be done on this station."""

    def __init__(self, reason: str, detail: str, hint: str = "") -> None:
        """Keep the stable word, what is wrong, and what to do about it."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.hint = hint


class FolderError(WatcherError):
    """The disk did not give what was asked of it."""


class RootLost(FolderError):
    """The root itself is away; nothing is concluded about what was below it."""

    def __init__(self, problem: str, *, gone: bool = False) -> None:
        """Say why; `gone`: the folder that it lay in is there, on the same drive, and has no such name any more."""
        super().__init__(problem)
        self.gone = gone


class PathMissing(FolderError):
    """There is nothing under this name."""


class Unreadable(FolderError):
    """This account may not read it."""


class DiskBusy(FolderError):
    """The disk could not answer now."""
