"""A scan of the folders of one upload, in slices: the truth that events only hasten."""

import os
import sqlite3
import stat
from collections.abc import Collection, Container, Generator, Iterator, Mapping
from contextlib import closing

import structlog

from datauploader.contracts.names import display
from datauploader.files.nofollow import leads_elsewhere
from datauploader.reliability import Store
from datauploader_watcher.adapters.disk import Page, RootDisk, changed_ns, explain, lstat_or_error, stamp_of
from datauploader_watcher.discovery.findings import Entered, Finding, Found, Omitted, Readable, RootGone, Vanished
from datauploader_watcher.domain.selection import NOT_RECORDED, Omission, Selection, unrecorded
from datauploader_watcher.domain.stability import Candidate
from datauploader_watcher.domain.versions import SIGNED, Stamp, join
from datauploader_watcher.errors import FolderError, PathMissing, RootLost
from datauploader_watcher.ledger.files import FileTable, KnownRow
from datauploader_watcher.uploads.earlier import EarlierFiles

log = structlog.get_logger()

Start = tuple[bytes, frozenset[bytes] | None]
"""A folder with the names to look at, None for all of them."""
_FOR_GOOD = ("excluded", "not-included", NOT_RECORDED)
"""Reasons that stay while the upload is open."""
SPECIAL = Omission("special-file", "it is a pipe, socket or device, which has no content to upload")
LINK_INSIDE = Omission(
    "symlink", "it is a link; the file that it points to is uploaded under its own name if it is in this folder"
)
LINK_OUTSIDE = Omission("symlink-outside", "it is a link to something outside this folder, or to nothing")
LARGEST_FILE = 2**53 - 1
"""Bytes: the largest number that every reader of JSON holds exactly; the sum of a thousand fits a column."""
TOO_LARGE = Omission("too-large", f"it says that it has more than {LARGEST_FILE:,} bytes, which no storage holds")
UNFOUND = Omission("unfound", "the folder lists it, but the system cannot find it under this name; rename it")
TOO_LONG = Omission("path-too-long", "its path is longer than 32,767 bytes or 1,000 folders; use fewer of them")
_LONGEST_PATH, _MOST_LEVELS = 32_767, 1000


class Scanner(Iterator[list[Finding]]):
    """A directory walk: yields what each page of entries came to; nothing, while the drive has not answered."""

    def __init__(
        self,
        disk: RootDisk,
        store: Store,
        upload: int,
        selection: Selection,
        starts: list[Start],
        *,
        deep: bool,
        entered: Container[bytes] = (),
        pending: Mapping[bytes, Candidate] | None = None,
        again: Collection[bytes] = (),
        earlier: EarlierFiles | None = None,
    ) -> None:
        """Prepare a scan.

        Args:
            disk: the root.
            store: where the ledger lies.
            upload: its number there.
            selection: the patterns.
            starts: where to begin.
            deep: go into every folder, not only new ones.
            entered: folders that are not new; who folds over the findings adds those that were entered.
            pending: files that are known to belong to the upload and are not finished yet; may change meanwhile.
            again: files to yield although the ledger knows them like this; may change meanwhile.
            earlier: what is in the datasets of earlier uploads and stays out of this one.
        """
        self._disk, self._store, self._upload, self._selection = disk, store, upload, selection
        self._stack = list(starts)
        self._deep, self._entered, self._pending = deep, entered, {} if pending is None else pending
        self._again, self._earlier = again, earlier
        self._doubtful: set[bytes] = set()
        self._findings: list[Finding] = []
        """Of the page that is being looked at."""
        self._lost = False
        self._walk = self._run()
        self.entries = 0
        """Entries looked at so far."""
        self.waiting = False
        """The drive has not answered yet."""

    def __next__(self) -> list[Finding]:
        return next(self._walk)

    def close(self) -> None:
        """Leave off."""
        self._walk.close()

    def _run(self) -> Generator[list[Finding], None, None]:
        while self._stack and not self._lost:
            folder, only = self._stack.pop()
            try:
                with closing(self._disk.pages(folder, only)) as pages:
                    yield from self._folder(folder, only, pages)
            except OSError as error:
                self._failed(folder, explain(error, folder))
                yield self._drain()

    def _drain(self) -> list[Finding]:
        findings, self._findings = self._findings, []
        return findings

    def _folder(
        self, folder: bytes, only: frozenset[bytes] | None, pages: Iterator[Page | None]
    ) -> Generator[list[Finding], None, None]:
        number, after = None, b""
        for page in pages:
            self.waiting = page is None
            if page is None:
                yield []
                continue
            if not after and folder in self._doubtful:
                self._findings.append(Readable(folder))
            known: Mapping[bytes, KnownRow] = {}
            with self._store.reading() as db:
                if not after:
                    number = FileTable(db).folder(self._upload, folder)
                if number is not None and only is None:
                    known = FileTable(db).known(number, after, page.last)
                elif number is not None:
                    known = FileTable(db).known_names(number, page.names)
            if (news := self._compare(folder, page, known)) and number is not None:
                with self._store.transaction() as db:
                    FileTable(db).learn_changed(number, news)
            if only is None and (left_out := [name for name, row in known.items() if row[4] == "left-out"]):
                there = set(page.names)
                self._findings.extend(Vanished(join(folder, name)) for name in left_out if name not in there)
            after = page.names[-1] if page.names else b""
            self.entries += len(page.names)
            yield self._drain()

    def _compare(self, folder: bytes, page: Page, known: Mapping[bytes, KnownRow]) -> list[tuple[int, bytes]]:
        """Compare a page; return times of change, with the names, that older releases did not keep."""
        news: list[tuple[int, bytes]] = []
        lost: list[bytes] = []
        prefix = folder + b"/" if folder else b""
        get, pending, again = known.get, self._pending, self._again
        for name, seen in zip(page.names, page.looks, strict=True):
            row = get(name)
            if isinstance(seen, OSError):
                problem = explain(seen, prefix + name)
                if isinstance(problem, PathMissing):
                    lost.append(name)
                self._failed(prefix + name, problem, row)
            elif (
                row is not None
                and row[2] == seen.st_mtime_ns
                and row[1] == seen.st_size
                and row[3] == seen.st_ino & SIGNED
                and row[4] != "gone"
                and (row[6] == seen.st_ctime_ns or not row[6])
                and not (again and prefix + name in again)
            ):
                # known as it is: the way of almost every file, a million times
                if not row[6] and (changed := changed_ns(seen)):
                    news.append((changed, name))
            elif (
                row is None
                and (waits := pending.get(prefix + name)) is not None
                and waits.stamp == stamp_of(seen)
                and not (again and prefix + name in again)
            ):
                pass  # found before, and waits as it is: the way of all files of an upload that was just opened
            elif (finding := self._one(prefix + name, seen, row)) is not None:
                self._findings.append(finding)
        if lost and not self._lost:
            # Windows does not find some names that it lists, such as those that end in a dot; a damaged folder neither
            with self._disk.folder(folder) as opened:
                listed = set(opened.names())
                self._findings.extend(
                    Omitted(prefix + name, UNFOUND, get(name))
                    for name in lost
                    if name in listed and isinstance(lstat_or_error(opened.stat, name), FileNotFoundError)
                )
        return news

    def _one(self, path: bytes, seen: os.stat_result, row: KnownRow | None) -> Finding | None:
        """Settle one entry; what goes wrong with it is on the record, and keeps no other from being looked at."""
        try:
            if len(path) > _MOST_LEVELS and (len(path) > _LONGEST_PATH or path.count(b"/") > _MOST_LEVELS):
                return Omitted(path, TOO_LONG, row, folder=stat.S_ISDIR(seen.st_mode))
            if not stat.S_ISREG(seen.st_mode):
                return self._other(path, seen, row)
            now = stamp_of(seen)
            if now.size > LARGEST_FILE:
                return Omitted(path, TOO_LARGE, row)
            if row is None or row[4] == "left-out":
                return self._new(path, now, row)
            # of a file with a value that was brought into bounds, which the short way takes for another one
            known = row[4] != "gone" and path not in self._again and now.agrees(Stamp(row[1], row[2], row[3], row[6]))
            return None if known else Found(path, now, row)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:
            if row is None or row[5] != NOT_RECORDED:
                log.exception("scan_entry_failed", path=display(path))
            return Omitted(path, unrecorded(error), row)

    def _new(self, path: bytes, now: Stamp, row: KnownRow | None) -> Finding | None:
        if row is not None and row[5] in _FOR_GOOD:
            return None
        if path in self._pending:
            return Found(path, now, row)
        omission = self._selection.omits(path)
        if omission is None and self._earlier is not None:
            omission = self._earlier.omits(path, now)
        return Found(path, now, row) if omission is None else Omitted(path, omission, row)

    def _other(self, path: bytes, seen: os.stat_result, row: KnownRow | None) -> Finding | None:
        leads = leads_elsewhere(seen)
        if leads or not stat.S_ISDIR(seen.st_mode):
            omission = self._selection.omits(path)
            if omission is None and leads:
                omission = LINK_INSIDE if self._disk.leads_inside(path) else LINK_OUTSIDE
            return Omitted(path, omission or SPECIAL, row)
        if row is not None and row[5] in _FOR_GOOD:
            return None
        omission = self._selection.omits(path, folder=True)
        if omission is not None:
            return Omitted(path, omission, row, folder=True)
        known = path in self._entered
        if self._deep or not known:
            if row is not None:
                self._doubtful.add(path)
            self._stack.append((path, None))
        if known:
            return None
        with self._store.reading() as db:
            return Entered(path, FileTable(db).knows_below(self._upload, path), changed_ns(seen))

    def _failed(self, path: bytes, problem: FolderError, row: KnownRow | None = None) -> None:
        try:
            self._disk.verify_root()
        except RootLost as lost:
            self._lost = True
            self._findings.append(RootGone(str(lost)))
            return
        if isinstance(problem, PathMissing):
            return
        if not path:
            self._lost = True
            self._findings.append(RootGone(f"the folder of the upload cannot be read: {problem}"))
        else:
            self._findings.append(Omitted(path, Omission("unreadable", f"{problem}; it is tried again"), row))
