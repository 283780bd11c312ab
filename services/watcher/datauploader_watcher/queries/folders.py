"""What a person may see of the station's disk before an upload: folders below its roots, page by page."""

import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Literal, NamedTuple

from datauploader.contracts.model import bounded_ns
from datauploader.contracts.names import display, same_look
from datauploader.contracts.questions import Folder, FolderEntry, ListFolder
from datauploader.errors import QuestionRefused
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard
from datauploader_watcher.adapters.disk import LocalDisk, OpenFolder, RootDisk
from datauploader_watcher.uploads.admission import UploadAdmission

LISTING_S = 5.0
"""How long a person waits for a folder to be listed."""
KEPT_S = 15.0
"""How long the names of a large folder are remembered for its next page, if its time of change stays."""
LARGE = 5000
"""Smaller folders are read again for every page."""
MOST_KEPT = 4
COUNTED_S = 0.3
"""How long the entries of the folders on a page are counted."""
MOST_COUNTED = 10_000
"""A folder with more entries is not counted to its end."""

Names = list[tuple[bool, bytes]]
"""Whether it is no folder, and the name; in the order in which they are shown."""


class FolderBrowser:
    """Browses folders of the station: answers the query `watcher.list-folder`."""

    def __init__(self, admission: UploadAdmission) -> None:
        """Take the rules of the station."""
        self._admission = admission
        self._hang_guard = HangGuard(LISTING_S)
        self._kept = ListingCache()

    def __call__(self, question: ListFolder) -> Folder:
        """Answer a question.

        Raises:
            QuestionRefused: the folder is not below a root.
        """
        roots = [str(root) for root in self._admission.roots]
        if not question.path:
            entries = tuple(FolderEntry(name=display(os.fsencode(root)), kind="folder") for root in roots)
            return Folder(path="", entries=entries, total=len(entries))
        drive = next((root for root in roots if question.path.startswith(root)), question.path)  # it hangs as a whole
        try:
            return self._hang_guard.call_with_deadline(drive, lambda: self._folder(question))
        except DriveTimeout:
            return Folder(path=question.path, readable=False, detail="The drive of this folder does not answer.")

    def _folder(self, question: ListFolder) -> Folder:
        try:
            path = os.path.realpath(os.fsencode(question.path))
        except ValueError as error:
            raise QuestionRefused("bad-path", "this is not a valid folder name") from error
        if not self._admission.allows(path):
            raise QuestionRefused("outside-roots", f"{question.path} is not below a folder that this station allows")
        disk = LocalDisk(path)
        try:
            with disk.folder(b"") as opened:
                names = self._kept.names(path, opened)
                if wanted := same_look(question.contains):
                    names = [one for one in names if wanted in same_look(display(one[1]))]
                page = names[question.offset : question.offset + question.limit]
                entries = [one for _, name in page if (one := _entry(opened, name)) is not None]
                if question.counts:  # as far as that goes quickly
                    end = time.monotonic() + COUNTED_S
                    counts = {display(name): _count(disk, name, end) for is_file, name in page if not is_file}
                    entries = [
                        one.model_copy(update={"entries": counts.get(one.name)}) if one.kind == "folder" else one
                        for one in entries
                    ]
                return Folder(path=question.path, entries=tuple(entries), total=len(names))
        except PermissionError:
            return _unreadable(question, "The upload service may not read this folder.")
        except OSError as error:
            return _unreadable(question, f"The folder cannot be read: {error.strerror}.")


class Listing(NamedTuple):
    """The names of a folder when it was this one, with this time of change."""

    was: tuple[int, int, int]
    read_at: float
    names: Names


class ListingCache:
    """A cache of listings: the names of the large folders that somebody turns the pages of."""

    def __init__(self) -> None:
        """Begin with none."""
        self._listings: OrderedDict[bytes, Listing] = OrderedDict()
        self._lock = threading.Lock()

    def names(self, path: bytes, opened: OpenFolder) -> Names:
        """Return the names in a folder, folders first; OSError as the system raises it."""
        seen = opened.stat(b".")
        now = seen.st_dev, seen.st_ino, seen.st_mtime_ns
        with self._lock:
            kept = self._listings.get(path)
        if kept is not None and kept.was == now and time.monotonic() - kept.read_at < KEPT_S:
            return kept.names
        listing = Listing(now, time.monotonic(), sorted((not is_folder, name) for name, is_folder in opened.entries()))
        with self._lock:
            self._listings.pop(path, None)
            if len(listing.names) >= LARGE:
                self._listings[path] = listing
            while len(self._listings) > MOST_KEPT:
                self._listings.popitem(last=False)
        return listing.names


def _unreadable(question: ListFolder, detail: str) -> Folder:
    return Folder(path=question.path, readable=False, detail=detail)


def _entry(opened: OpenFolder, name: bytes) -> FolderEntry | None:
    try:
        seen = opened.stat(name)
    except FileNotFoundError:
        return None
    except OSError:
        return FolderEntry(name=display(name), kind="special")
    for kind, test in _KINDS:
        if test(seen.st_mode):
            return FolderEntry(name=display(name), kind=kind, size=seen.st_size, mtime_ns=bounded_ns(seen.st_mtime_ns))
    return FolderEntry(name=display(name), kind="special", mtime_ns=bounded_ns(seen.st_mtime_ns))


_KINDS: tuple[tuple[Literal["file", "folder", "link"], Callable[[int], bool]], ...] = (
    ("file", stat.S_ISREG), ("folder", stat.S_ISDIR), ("link", stat.S_ISLNK),
)  # fmt: skip


def _count(disk: RootDisk, name: bytes, end: float) -> int | None:
    if time.monotonic() > end:
        return None
    try:
        with disk.folder(name) as opened:
            count = sum(1 for _ in islice(opened.entries(), MOST_COUNTED + 1))
    except OSError:
        return None
    return count if count <= MOST_COUNTED else None
