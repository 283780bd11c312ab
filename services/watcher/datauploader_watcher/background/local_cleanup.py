"""Local cleanup: removes files of completed datasets one by one, each after its stored copy was hashed again."""

import hashlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from os import read

import structlog

from datauploader.contracts.files import FileReleased
from datauploader.contracts.questions import HashStored, StoredHash
from datauploader.errors import MessagingError, QuestionRefused
from datauploader.messaging.port import Bus
from datauploader.reliability.backoff import Backoff
from datauploader.reliability.worker import PeriodicTask
from datauploader.runtime.crash_points import crash_point
from datauploader_watcher.adapters.disk import RootDisk, lstat, stamp_of
from datauploader_watcher.adapters.removal import HeldFile
from datauploader_watcher.adapters.sharing import is_locked
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.domain.versions import Digests, Stamp, join, split
from datauploader_watcher.errors import FolderError, PathMissing, RootLost
from datauploader_watcher.ledger.files import FileRow, FileTable
from datauploader_watcher.ledger.uploads import UploadRow, UploadTable
from datauploader_watcher.outgoing.publishing import say
from datauploader_watcher.settings import HIDDEN_PREFIX
from datauploader_watcher.uploads.sealing import counts

log = structlog.get_logger()

AT_ONCE = 8
"""Objects that the storage is asked to hash at the same time."""
BACKOFF = Backoff(first_s=10.0, longest_s=3600.0)
UNLINKING = "unlinking"
"""Stands in the row while its file is being removed, so that a crash in between is understood afterwards."""
_BLOCK = 1 << 20
CHANGED = "it has changed since it was uploaded"
OPEN = "another program has it open for writing"
UNKNOWN = (
    "nobody can tell here whether a program still has it open for writing: that takes a local drive, and an account "
    "that owns the file or has the capability CAP_LEASE"
)


@dataclass(frozen=True, slots=True)
class Removal:
    """The removal of one local file, that of a row in state `releasing`."""

    disk: RootDisk
    row: FileRow
    stopping: Callable[[], bool]

    @property
    def hidden(self) -> bytes:
        """The name that the file has for a moment before it is gone: the same after a crash."""
        version = self.row.version
        text = f"{version.key}\0{version.revision}".encode() + b"\0" + self.row.path
        return HIDDEN_PREFIX + hashlib.sha256(text).hexdigest()[:16].encode()

    def left_hidden(self) -> bool:
        """Tell whether a former run died after it had hidden the file.

        Raises:
            FolderError: its folder could not be looked at.
        """
        try:
            lstat(self.disk, join(split(self.row.path)[0], self.hidden))
        except PathMissing:
            return False
        return True

    def remove(self, mark: Callable[[], None]) -> str:
        """Remove the file if nothing speaks against it; return why it stays.

        Args:
            mark: called before it is touched, to leave a note for the case of a crash.

        Raises:
            MessagingError: the watcher stops.
        """
        folder, name = split(self.row.path)
        try:
            with self.disk.folder(folder) as opened, opened.hold(name) as held:
                if why := self._objection(held, self.row.stamp):
                    return why
                mark()
                return held.remove(self.hidden)
        except OSError as error:
            return _problem(error)

    def finish(self) -> str:
        """Remove the file that was hidden already, or give it its name again; return why it stays.

        Raises:
            MessagingError: the watcher stops.
        """
        folder, name = split(self.row.path)
        stamp = self.row.stamp._replace(ctime_ns=0)  # the hiding has changed it
        try:
            with self.disk.folder(folder) as opened:
                with opened.hold(self.hidden) as held:
                    why = self._objection(held, stamp) or held.remove(self.hidden)
                return why and why + opened.put_back(self.hidden, name)
        except OSError as error:
            return _problem(error)

    def _objection(self, held: HeldFile, stamp: Stamp) -> str:
        """Say what speaks against the removal of the file that is held, after reading it whole."""
        if held.free is None:
            return UNKNOWN
        if not stamp.agrees(stamp_of(os.fstat(held.descriptor))):
            return CHANGED
        digest = hashlib.sha256()
        while held.free and (data := read(held.descriptor, _BLOCK)):
            if self.stopping():
                raise MessagingError("the watcher stops")
            digest.update(data)
        if not held.free:
            return OPEN
        same = digest.digest() == self.row.digests.sha256 and stamp.agrees(stamp_of(os.fstat(held.descriptor)))
        return "" if same else CHANGED


@dataclass(frozen=True, slots=True)
class _Asked:
    row: FileRow
    answer: "Future[StoredHash]"


class LocalCleanup(PeriodicTask):
    """Cleanup of local copies: a thread that works off the rows in state `releasing`."""

    def __init__(self, context: WatcherContext, bus: Bus) -> None:
        """Take what it needs to ask, to remove and to tell."""
        super().__init__("release")
        self._store, self._outbox, self._bus, self._here = context.store, context.outbox, bus, context.here
        self._settings, self._admission, self._disks = context.settings, context.admission, context.disks
        self._rounds = 0
        """Since datasets were completed last."""

    def start(self) -> None:
        """Begin, with what a former run left."""
        if self._settings.allow_delete:
            super().start()

    def wake(self) -> None:
        """Look for datasets that have been completed."""
        self._rounds = 0
        super().wake()

    def take_turn(self) -> float | None:
        """Work off every upload; come again when something is left."""
        try:
            left = any(list(map(self._release, self._uploads())))
        except sqlite3.OperationalError as error:
            log.warning("cleanup_write_failed", problem=str(error))
            left = True
        self._rounds += 1
        return BACKOFF.wait_s(self._rounds) if left else None

    def _uploads(self) -> list[UploadRow]:
        with self._store.reading() as db:
            completed = UploadTable(db).in_states(("completed",))
            return [one for one in completed if FileTable(db).in_state(one.number, "releasing", 1)]

    def _release(self, upload: UploadRow) -> bool:
        """Work off one upload; True when something is left for later."""
        disk = self._admission.resumed(upload).disk(self._disks)
        kept: list[str] = []
        while not self._stopping:
            with self._store.reading() as db:
                rows = FileTable(db).in_state(upload.number, "releasing", AT_ONCE)
            if not rows:
                break
            try:
                disk.verify_root()
                self._some(upload, disk, rows, kept)
            except RootLost as problem:
                log.info("cleanup_retry_scheduled", upload_id=upload.upload_id, problem=str(problem))
                return True
            except QuestionRefused as refusal:
                log.warning("cleanup_refused", upload_id=upload.upload_id, problem=str(refusal))
                return True
            except MessagingError as problem:
                log.info("cleanup_retry_scheduled", upload_id=upload.upload_id, problem=str(problem))
                return True
        if kept:
            more = (f"{len(kept) - 10} more files were kept.",) if len(kept) > 10 else ()  # noqa: PLR2004 - a list to read
            with self._store.transaction() as db:
                say(db, upload, counts(db, upload, troubles=(*kept[:10], *more)))
            self._outbox.wake()
        return False

    def _some(self, upload: UploadRow, disk: RootDisk, rows: list[FileRow], kept: list[str]) -> None:
        """Ask for some rows at once, then act on each answer.

        Raises:
            MessagingError: nobody answers; the rows stay as they are.
        """
        timeout_s = self._settings.release_timeout_s
        asked = []
        for row in rows:
            if not self._is_finished(upload, disk, row, kept):
                question = HashStored(remote=upload.request.destination.remote, object=row.object or "")
                answer = self._bus.ask(question, StoredHash, station=self._here, timeout_s=timeout_s)
                asked.append(_Asked(row, answer))
        for one in asked:
            stored = None
            while stored is None:
                if self._stopping:
                    raise MessagingError("the watcher stops")
                with suppress(TimeoutError):
                    stored = one.answer.result(0.5)
            why = objection(one.row.digests, one.row.stamp.size, stored)
            if not why:
                why = self._removal(disk, one.row).remove(partial(self._note_removal, one.row))
            if why:
                self._keep(one.row, why, kept)
            else:
                crash_point("watcher.unlinked")
                self._released(upload, one.row)

    def _is_finished(self, upload: UploadRow, disk: RootDisk, row: FileRow, kept: list[str]) -> bool:
        """Deal with a row whose file is not there, or not what was uploaded; False when it may be asked for."""
        if not row.object:
            self._keep(row, "its place on the storage is not known", kept)
            return True
        try:
            if row.reason == UNLINKING and (removal := self._removal(disk, row)).left_hidden():
                # a former run has hidden it, and died
                if why := removal.finish():
                    self._keep(row, why, kept)
                else:
                    self._released(upload, row)
                return True
            now = stamp_of(lstat(disk, row.path))
        except PathMissing:
            if row.reason == UNLINKING:
                self._released(upload, row)
            else:
                self._keep(row, "it no longer exists", kept)
            return True
        except FolderError as problem:
            self._keep(row, str(problem), kept)
            return True
        if not row.stamp.agrees(now):
            self._keep(row, CHANGED, kept)
            return True
        return False

    def _removal(self, disk: RootDisk, row: FileRow) -> Removal:
        return Removal(disk, row, lambda: self._stopping)

    def _note_removal(self, row: FileRow) -> None:
        with self._store.transaction() as db:
            FileTable(db).set_reason(row, UNLINKING)
        crash_point("watcher.unlinking")

    def _released(self, upload: UploadRow, row: FileRow) -> None:
        with self._store.transaction() as db:
            FileTable(db).set_state(row.folder, row.name, "released")
            say(db, upload, FileReleased(upload_id=upload.upload_id, files=(row.version,)), row.version.key)
        crash_point("watcher.released")
        self._outbox.wake()

    def _keep(self, row: FileRow, why: str, kept: list[str]) -> None:
        log.warning("local_copy_kept", path=row.version.path, reason=why)
        with self._store.transaction() as db:
            FileTable(db).set_state(row.folder, row.name, "catalogued")
            FileTable(db).set_reason(row, "kept", why)
        kept.append(f"{row.version.path} was kept on this station, because {why}.")


def objection(digests: Digests, size: int, stored: StoredHash) -> str:
    """Say why the local copy must stay, "" where nothing speaks against its removal."""
    if not stored.found:
        return "the object is no longer on the storage"
    if stored.size != size:
        return f"the stored copy has {stored.size} bytes, the local one {size}"
    ours = {name: digest.hex() for name, digest in digests._asdict().items() if digest}
    both = [name for name in ours if stored.digests.get(name)]
    if not both:
        return "the storage could not hash its copy"
    differ = [name for name in both if stored.digests[name].lower() != ours[name]]
    return f"the stored copy has a different {differ[0]}" if differ else ""


def _problem(error: OSError) -> str:
    return OPEN if is_locked(error) else f"it could not be removed: {error.strerror}"
