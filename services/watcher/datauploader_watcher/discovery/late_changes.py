"""Late changes: what came or changed in the folder of a dataset after it was complete is found and told."""

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import structlog

from datauploader.contracts.names import display, pack
from datauploader.contracts.paths import FilePath
from datauploader.contracts.uploads import UploadOutgrown
from datauploader.reliability import Store
from datauploader.reliability.hang_guard import in_a_thread
from datauploader_watcher.adapters.disk import LocalDisk, OpenDisk, RootDisk, lstat, stamp_of
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.discovery.findings import Finding, Found, RootGone, fold
from datauploader_watcher.discovery.scanner import Scanner
from datauploader_watcher.domain.versions import Stamp, split
from datauploader_watcher.errors import FolderError
from datauploader_watcher.ledger.files import FileTable
from datauploader_watcher.ledger.uploads import UploadRow, UploadTable
from datauploader_watcher.outgoing.publishing import say
from datauploader_watcher.uploads.admission import UploadAdmission
from datauploader_watcher.uploads.earlier import REASON, earlier_of

log = structlog.get_logger()

NAMED = 10
_BLOCK = 1 << 20
_DRIVE_S = 0.05
"""Pause while the drive has not answered."""


@dataclass(slots=True)
class LateChanges:
    """Late changes: what a scan finds that is new, that has another size, and that must be read to know."""

    sizes: dict[bytes, int] = field(default_factory=dict)
    doubtful: dict[bytes, Stamp] = field(default_factory=dict)
    root_gone: bool = False

    def take_finding(self, finding: Finding) -> None:
        """Take a file; what was left out on purpose, or is being removed, is no news."""
        if isinstance(finding, RootGone):
            self.root_gone = True
        if not isinstance(finding, Found):
            return
        path, seen, row = finding
        state, reason = (row[4], row[5]) if row is not None else ("", None)
        if state == "releasing" or (state == "left-out" and reason not in ("unreadable", REASON)):
            return
        if row is None or state in ("left-out", "gone", "released") or row[1] != seen.size:
            self.sizes[path] = seen.size
        else:
            self.doubtful[path] = seen


def find_late_changes(
    store: Store, admission: UploadAdmission, upload: UploadRow, disks: OpenDisk, ended: threading.Event
) -> LateChanges | None:
    """Compare a folder with what was uploaded of it; None where it is away, or the watcher ends meanwhile.

    A file of the same size whose stamp has changed, or that a program had open when it was read, is read again: a
    change of its permissions is no change of the dataset.
    """
    plan = admission.resumed(upload)
    disk, later = plan.disk(disks), LateChanges()
    earlier = earlier_of(store, plan.root, upload.request)
    scanner = Scanner(disk, store, upload.number, plan.selection, list(plan.sources), deep=True, earlier=earlier)
    with closing(scanner):
        for findings in scanner:
            fold(findings, later.take_finding)
            if later.root_gone or ended.is_set():
                return None
            if scanner.waiting:
                ended.wait(_DRIVE_S)
    with store.reading() as db:
        for row in FileTable(db).written(upload.number):
            if row.path not in later.sizes and row.state == "catalogued":
                later.doubtful.setdefault(row.path, row.stamp)
    for path, seen in later.doubtful.items():
        if ended.is_set():
            return None
        if not _is_same(store, upload.number, disk, path, seen):
            later.sizes[path] = seen.size
    return later


def changed_since(store: Store, admission: UploadAdmission, upload_id: str) -> bool:
    """Tell whether a folder has changed since its dataset was closed.

    A file that was removed after its upload leaves no trace here.
    """
    with store.reading() as db:
        upload = UploadTable(db).get(upload_id)
    if upload is None:
        return False
    later = find_late_changes(store, admission, upload, LocalDisk, threading.Event())
    return later is not None and bool(later.sizes)


def _is_same(store: Store, number: int, disk: RootDisk, path: bytes, seen: Stamp) -> bool:
    """Read a file and compare it with what was uploaded; one that is not there, or cannot be read, is no news."""
    folder, name = split(path)
    digest = hashlib.sha256()
    try:
        now = stamp_of(lstat(disk, path))
        with disk.folder(folder) as opened:
            descriptor = opened.open(name)
        try:
            while data := os.read(descriptor, _BLOCK):
                digest.update(data)
        finally:
            os.close(descriptor)
    except (FolderError, OSError):
        return True
    with store.transaction() as db:
        place = FileTable(db).folder(number, folder)
        known = FileTable(db).find_in(place, name) if place is not None else None
        same = known is not None and known.digests.sha256 == digest.digest()
        if same and place is not None and now == seen:
            FileTable(db).restamp(place, name, now)
    return same


class LateChangeScan:
    """Scans for late changes, one folder after the other, each in a thread that nobody waits for."""

    def __init__(self, context: WatcherContext) -> None:
        """Take the station."""
        self._context = context
        self._waits = context.settings.look_again_s
        self._ended = threading.Event()
        self._looking: tuple[UploadRow, Future[LateChanges | None]] | None = None

    def stop(self) -> None:
        """Look no further; what was not looked at to its end is looked at again."""
        self._ended.set()

    def scan_due(self) -> None:
        """Go on: take what a look has found, or begin the next one that is due."""
        context = self._context
        if self._looking is None:
            now = context.clock.now_ns() / 1e9
            with context.store.reading() as db:
                upload = UploadTable(db).to_look_at(now, 2 * max(self._waits, default=0.0))
            if upload is not None:
                look = partial(find_late_changes, context.store, context.admission, upload, context.disks, self._ended)
                self._looking = upload, in_a_thread(look)
        elif self._looking[1].done():
            upload, answer = self._looking
            self._looking = None
            self._take(upload, answer.result)

    def _take(self, upload: UploadRow, result: Callable[[], LateChanges | None]) -> None:
        try:
            later = result()
        except (FolderError, OSError) as problem:
            log.info("late_change_scan_failed", upload_id=upload.upload_id, problem=str(problem))
            later = None
        except Exception:  # the boundary of one look: an unknown error must not keep the others from theirs
            log.exception("late_change_scan_failed", upload_id=upload.upload_id)
            later = None
        now = self._context.clock.now_ns() / 1e9
        with self._context.store.transaction() as db:
            looks, before = UploadTable(db).looked(upload.number, len(later.sizes) if later else 0)
            if later is not None and (later.sizes or before):
                outgrown = UploadOutgrown(
                    upload_id=upload.upload_id,
                    files=len(later.sizes),
                    bytes=sum(later.sizes.values()),
                    first=tuple(
                        FilePath(path=display(path), path_b64=pack(path)) for path in sorted(later.sizes)[:NAMED]
                    ),
                    looked_at=datetime.fromtimestamp(now, UTC),
                )
                say(db, upload, outgrown, str(looks))
                log.info("upload_outgrown", upload_id=upload.upload_id, files=len(later.sizes))
            more = self._waits[looks:]
            UploadTable(db).next_look(upload.number, now + more[0] - self._waits[looks - 1] if more else None)
        self._context.outbox.wake()
