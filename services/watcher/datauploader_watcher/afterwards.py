"""One more look at the folder of a dataset that is complete: what came or changed since then is told."""

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import structlog

from datauploader.contracts.names import display, pack
from datauploader.contracts.paths import FilePath
from datauploader.contracts.uploads import UploadOutgrown
from datauploader.patience import in_a_thread
from datauploader.state import Store
from datauploader_watcher.adapters.disk import Disk, look, stamp_of
from datauploader_watcher.domain.selection import Omission
from datauploader_watcher.domain.versions import Stamp, split
from datauploader_watcher.earlier import REASON, Earlier, earlier_of
from datauploader_watcher.errors import FolderError, RootLost
from datauploader_watcher.ground import Ground
from datauploader_watcher.ledger.files import Files, KnownRow
from datauploader_watcher.ledger.uploads import Upload, Uploads
from datauploader_watcher.opening import Plan
from datauploader_watcher.publishing import say
from datauploader_watcher.scan import Scan

log = structlog.get_logger()

NAMED = 10
_BLOCK = 1 << 20
_DRIVE_S = 0.05
"""Pause while the drive has not answered."""


@dataclass(slots=True)
class Later:
    """What a walk finds that is new, that has another size, and that must be read to know."""

    sizes: dict[bytes, int] = field(default_factory=dict)
    doubtful: dict[bytes, Stamp] = field(default_factory=dict)

    def regular(self, path: bytes, seen: Stamp, row: KnownRow | None) -> None:
        """See `Findings.regular`; what was left out on purpose, or is being removed, is no news."""
        state, reason = (row[4], row[5]) if row is not None else ("", None)
        if state == "releasing" or (state == "left-out" and reason not in ("unreadable", REASON)):
            return
        if row is None or state in ("left-out", "gone", "released") or row[1] != seen.size:
            self.sizes[path] = seen.size
        else:
            self.doubtful[path] = seen

    def expects(self, path: bytes) -> bool:  # noqa: ARG002 - the interface
        """See `Findings.expects`."""
        return False

    def omit(self, path: bytes, omission: Omission, row: KnownRow | None, *, folder: bool = False) -> None:
        """See `Findings.omit`."""

    def vanished(self, path: bytes) -> None:
        """See `Findings.vanished`."""

    def enter(self, path: bytes) -> bool:  # noqa: ARG002 - the interface
        """See `Findings.enter`."""
        return True

    def readable(self, path: bytes) -> None:
        """See `Findings.readable`."""

    def lose(self, problem: RootLost) -> None:
        """See `Findings.lose`."""


def compare(
    store: Store, number: int, plan: Plan, disk: Disk, ended: threading.Event, earlier: Earlier | None
) -> Later | None:
    """Compare a folder with what was uploaded of it; None where it is away, or the watcher ends meanwhile.

    A file of the same size whose stamp has changed, or that a program had open when it was read, is read again: a
    change of its permissions is no change of the dataset.
    """
    later = Later()
    scan = Scan(disk, store, number, plan.selection, later, list(plan.sources), deep=True, earlier=earlier)
    while not ended.is_set() and scan.step():
        if scan.waiting:
            ended.wait(_DRIVE_S)
    scan.close()
    if scan.lost or ended.is_set():
        return None
    with store.reading() as db:
        for row in Files.written(db, number):
            if row.path not in later.sizes and row.state == "catalogued":
                later.doubtful.setdefault(row.path, row.stamp)
    for path, seen in later.doubtful.items():
        if ended.is_set():
            return None
        if not _is_same(store, number, disk, path, seen):
            later.sizes[path] = seen.size
    return later


def _is_same(store: Store, number: int, disk: Disk, path: bytes, seen: Stamp) -> bool:
    """Read a file and compare it with what was uploaded; one that is not there, or cannot be read, is no news."""
    folder, name = split(path)
    try:
        now = stamp_of(look(disk, path))
        sha256 = _sha256(disk, folder, name)
    except (FolderError, OSError):
        return True
    with store.transaction() as db:
        place = Files.folder(db, number, folder)
        known = Files.find_in(db, place, name) if place is not None else None
        same = known is not None and known.digests.sha256 == sha256
        if same and place is not None and now == seen:
            Files.restamp(db, place, name, now)
    return same


def _sha256(disk: Disk, folder: bytes, name: bytes) -> bytes:
    with disk.folder(folder) as opened:
        descriptor = opened.open(name)
    try:
        digest = hashlib.sha256()
        while data := os.read(descriptor, _BLOCK):
            digest.update(data)
        return digest.digest()
    finally:
        os.close(descriptor)


class Afterwards:
    """Looks at one folder after the other, each in a thread that nobody waits for."""

    def __init__(self, ground: Ground) -> None:
        """Take the station."""
        self._ground = ground
        self._waits = ground.settings.look_again_s
        self._ended = threading.Event()
        self._looking: tuple[Upload, Future[Later | None]] | None = None

    def stop(self) -> None:
        """Look no further; what was not looked at to its end is looked at again."""
        self._ended.set()

    def look(self) -> None:
        """Go on: take what a look has found, or begin the next one that is due."""
        if self._looking is None:
            self._begin()
        elif self._looking[1].done():
            upload, answer = self._looking
            self._looking = None
            self._take(upload, answer.result)

    def _begin(self) -> None:
        now = self._ground.clock.now_ns() / 1e9
        with self._ground.store.reading() as db:
            upload = Uploads.to_look_at(db, now, 2 * max(self._waits, default=0.0))
        if upload is not None:
            self._looking = upload, in_a_thread(partial(self._compare, upload))

    def _compare(self, upload: Upload) -> Later | None:
        ground = self._ground
        plan = ground.opening.resumed(upload)
        earlier = earlier_of(ground.store, plan.root, upload.request)
        return compare(ground.store, upload.number, plan, plan.disk(ground.disks), self._ended, earlier)

    def _take(self, upload: Upload, result: Callable[[], Later | None]) -> None:
        try:
            later = result()
        except (FolderError, OSError) as problem:
            log.info("folder_not_looked_at", upload_id=upload.upload_id, problem=str(problem))
            later = None
        except Exception:  # the boundary of one look: an unknown error must not keep the others from theirs
            log.exception("folder_not_looked_at", upload_id=upload.upload_id)
            later = None
        now = self._ground.clock.now_ns() / 1e9
        with self._ground.store.transaction() as db:
            looks, before = Uploads.looked(db, upload.number, len(later.sizes) if later else 0)
            if later is not None and (later.sizes or before):
                say(db, upload, _outgrown(upload, later, now), str(looks))
                log.info("upload_outgrown", upload_id=upload.upload_id, files=len(later.sizes))
            more = self._waits[looks:]
            Uploads.next_look(db, upload.number, now + more[0] - self._waits[looks - 1] if more else None)
        self._ground.outbox.wake()


def _outgrown(upload: Upload, later: Later, now: float) -> UploadOutgrown:
    first = sorted(later.sizes)[:NAMED]
    return UploadOutgrown(
        upload_id=upload.upload_id,
        files=len(later.sizes),
        bytes=sum(later.sizes.values()),
        first=tuple(FilePath(path=display(path), path_b64=pack(path)) for path in first),
        looked_at=datetime.fromtimestamp(now, UTC),
    )
