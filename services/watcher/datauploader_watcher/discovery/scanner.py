"""A walk over the folders of one upload, in slices: the truth that events only hasten."""

import os
import sqlite3
import stat
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from typing import Protocol

import structlog

from datauploader.contracts.names import display
from datauploader.files.nofollow import leads_elsewhere
from datauploader.reliability import Store
from datauploader_watcher.adapters.disk import Page, RootDisk, changed_ns, explain, lstat_or_error, stamp_of
from datauploader_watcher.domain.selection import NOT_RECORDED, Omission, unrecorded
from datauploader_watcher.domain.versions import SIGNED, Stamp, join
from datauploader_watcher.errors import FolderError, RootLost, Vanished
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


class Findings(Protocol):
    """Who is told what the walk sees."""

    def regular(self, path: bytes, seen: Stamp, row: KnownRow | None) -> None:
        """A file that the ledger does not know like this."""

    def expects(self, path: bytes) -> bool:
        """Tell whether the file is known to belong to the upload and is not finished yet."""

    def omit(self, path: bytes, omission: Omission, row: KnownRow | None, *, folder: bool = False) -> None:
        """Something that stays out."""

    def vanished(self, path: bytes) -> None:
        """Something that is on the record as left out is not there any more."""

    def enter(self, path: bytes) -> bool:
        """Ask whether a folder is new; it counts as seen from now on."""

    def readable(self, path: bytes) -> None:
        """A folder that is on the record as unreadable could be opened."""

    def lose(self, problem: RootLost) -> None:
        """The root is away."""


class Scan:
    """One walk; each step looks at a page of entries."""

    def __init__(
        self,
        disk: RootDisk,
        store: Store,
        upload: int,
        omits: "Omits",
        findings: Findings,
        starts: list[Start],
        *,
        deep: bool,
        again: Collection[bytes] = (),
        earlier: EarlierFiles | None = None,
    ) -> None:
        """Prepare a walk.

        Args:
            disk: the root.
            store: where the ledger lies.
            upload: its number there.
            omits: the patterns.
            findings: is told what is seen.
            starts: where to begin.
            deep: enter every folder, not only new ones.
            again: files to tell of although the ledger knows them like this; may change meanwhile.
            earlier: what is in the datasets of earlier uploads and stays out of this one.
        """
        self._disk, self._store, self._upload = disk, store, upload
        self._omits, self._findings = omits, findings
        self._stack = list(starts)
        self._deep, self._again, self._earlier = deep, again, earlier
        self._doubtful: set[bytes] = set()
        self._walk = self._run()
        self.entries = 0
        """Entries looked at so far."""
        self.lost = False
        """The root went away meanwhile."""
        self.waiting = False
        """The drive has not answered yet."""

    def step(self) -> bool:
        """Look at some more entries; False when everything was looked at."""
        return next(self._walk, None) is not None

    def close(self) -> None:
        """Leave off."""
        self._walk.close()

    def _run(self) -> Generator[int, None, None]:
        while self._stack and not self.lost:
            folder, only = self._stack.pop()
            try:
                yield from self._folder(folder, only)
            except OSError as error:
                self._failed(folder, explain(error, folder))

    def _folder(self, folder: bytes, only: frozenset[bytes] | None) -> Iterator[int]:
        number, after = None, b""
        with closing(self._disk.pages(folder, only)) as pages:
            for page in pages:
                self.waiting = page is None
                if page is None:
                    yield 0
                    continue
                if not after:
                    number = self._opened(folder)
                known = self._known(number, after, page, only)
                if news := self._compare(folder, page, known):
                    self._learn(number, news)
                if only is None:
                    self._missing(folder, page.names, known)
                after = page.names[-1] if page.names else b""
                self.entries += len(page.names)
                yield len(page.names)

    def _opened(self, folder: bytes) -> int | None:
        if folder in self._doubtful:
            self._findings.readable(folder)
        with self._store.reading() as db:
            return FileTable.folder(db, self._upload, folder)

    def _known(
        self, number: int | None, after: bytes, page: Page, only: frozenset[bytes] | None
    ) -> Mapping[bytes, KnownRow]:
        if number is None:
            return {}
        with self._store.reading() as db:
            if only is None:
                return FileTable.known(db, number, after, page.last)
            return FileTable.known_names(db, number, page.names)

    def _compare(self, folder: bytes, page: Page, known: Mapping[bytes, KnownRow]) -> list[tuple[int, bytes]]:
        """Compare a page; return times of change, with the names, that older releases did not keep."""
        news: list[tuple[int, bytes]] = []
        lost: list[bytes] = []
        prefix = folder + b"/" if folder else b""
        get = known.get
        for name, seen in zip(page.names, page.looks, strict=True):
            row = get(name)
            if isinstance(seen, OSError):
                problem = explain(seen, prefix + name)
                if isinstance(problem, Vanished):
                    lost.append(name)
                self._failed(prefix + name, problem, row)
            elif (
                row is not None
                and row[2] == seen.st_mtime_ns
                and row[1] == seen.st_size
                and row[3] == seen.st_ino & SIGNED
                and row[4] != "gone"
                and (row[6] == seen.st_ctime_ns or not row[6])
                and not (self._again and prefix + name in self._again)
            ):
                # known as it is: the way of almost every file, a million times
                if not row[6] and (changed := changed_ns(seen)):
                    news.append((changed, name))
            else:
                self._one(prefix + name, seen, row)
        if lost and not self.lost:
            self._look_for(folder, prefix, lost, known)
        return news

    def _look_for(self, folder: bytes, prefix: bytes, lost: list[bytes], known: Mapping[bytes, KnownRow]) -> None:
        """Tell names that are gone by now from those that are listed and cannot be looked at.

        Windows does not find some names that it lists, such as those that end in a dot; a damaged folder neither.
        """
        with self._disk.folder(folder) as opened:
            listed = set(opened.names())
            for name in lost:
                if name in listed and isinstance(lstat_or_error(opened.stat, name), FileNotFoundError):
                    self._findings.omit(prefix + name, UNFOUND, known.get(name))

    def _one(self, path: bytes, seen: os.stat_result, row: KnownRow | None) -> None:
        """Settle one entry; what goes wrong with it is on the record, and keeps no other from being looked at."""
        try:
            if len(path) > _LONGEST_PATH or path.count(b"/") > _MOST_LEVELS:
                self._findings.omit(path, TOO_LONG, row, folder=stat.S_ISDIR(seen.st_mode))
            else:
                self._unknown(path, seen, row)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:
            if row is None or row[5] != NOT_RECORDED:
                log.exception("scan_entry_failed", path=display(path))
            self._findings.omit(path, unrecorded(error), row)

    def _learn(self, folder: int | None, news: list[tuple[int, bytes]]) -> None:
        if folder is not None:
            with self._store.transaction() as db:
                FileTable.learn_changed(db, folder, news)

    def _unknown(self, path: bytes, seen: os.stat_result, row: KnownRow | None) -> None:
        if not stat.S_ISREG(seen.st_mode):
            self._other(path, seen, row)
            return
        now = stamp_of(seen)
        if now.size > LARGEST_FILE:
            self._findings.omit(path, TOO_LARGE, row)
        elif row is None or row[4] == "left-out":
            self._new(path, now, row)
        elif not self._is_known(path, now, row):
            self._findings.regular(path, now, row)

    def _is_known(self, path: bytes, now: Stamp, row: KnownRow) -> bool:
        """Tell it of a file with a value that was brought into bounds, which the short way takes for another one."""
        return row[4] != "gone" and path not in self._again and now.agrees(Stamp(row[1], row[2], row[3], row[6]))

    def _new(self, path: bytes, now: Stamp, row: KnownRow | None) -> None:
        if row is not None and row[5] in _FOR_GOOD:
            return
        expected = self._findings.expects(path)
        omission = None if expected else self._omits.omits(path)
        if omission is None and not expected and self._earlier is not None:
            omission = self._earlier.omits(path, now)
        if omission is None:
            self._findings.regular(path, now, row)
        else:
            self._findings.omit(path, omission, row)

    def _other(self, path: bytes, seen: os.stat_result, row: KnownRow | None) -> None:
        leads = leads_elsewhere(seen)
        if stat.S_ISDIR(seen.st_mode) and not leads:
            self._subfolder(path, row)
        elif (omission := self._omits.omits(path)) is not None:
            self._findings.omit(path, omission, row)
        elif leads:
            self._findings.omit(path, self._link(path), row)
        else:
            self._findings.omit(path, SPECIAL, row)

    def _subfolder(self, path: bytes, row: KnownRow | None) -> None:
        if row is not None and row[5] in _FOR_GOOD:
            return
        omission = self._omits.omits(path, folder=True)
        if omission is not None:
            self._findings.omit(path, omission, row, folder=True)
        elif self._findings.enter(path) or self._deep:
            if row is not None:
                self._doubtful.add(path)
            self._stack.append((path, None))

    def _link(self, path: bytes) -> Omission:
        return LINK_INSIDE if self._disk.leads_inside(path) else LINK_OUTSIDE

    def _missing(self, folder: bytes, names: list[bytes], known: Mapping[bytes, KnownRow]) -> None:
        left_out = [name for name, row in known.items() if row[4] == "left-out"]
        if left_out:
            there = set(names)
            for name in left_out:
                if name not in there:
                    self._findings.vanished(join(folder, name))

    def _failed(self, path: bytes, problem: FolderError, row: KnownRow | None = None) -> None:
        try:
            self._disk.verify_root()
        except RootLost as lost:
            self.lost = True
            self._findings.lose(lost)
            return
        if not path and not isinstance(problem, Vanished):
            self.lost = True
            self._findings.lose(RootLost(f"the folder of the upload cannot be read: {problem}"))
        elif not isinstance(problem, Vanished):
            self._findings.omit(path, Omission("unreadable", f"{problem}; it is tried again"), row)


class Omits(Protocol):
    """The patterns of an upload, as far as the walk asks them."""

    def omits(self, path: bytes, *, folder: bool = False) -> Omission | None:
        """Say why a path is left out."""
