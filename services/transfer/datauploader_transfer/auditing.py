"""Compares what really lies on a storage with what the catalog says should: two threads, one audit at a time each.

Audits that only list are apart from those that read, which may take hours.
"""

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from typing import NotRequired

import structlog
from typing_extensions import TypedDict

from datauploader.contracts import AuditReported, AuditRequested, Event
from datauploader.contracts.envelope import natural_id
from datauploader.contracts.model import WireModel
from datauploader.contracts.names import escape, unescape, unpack
from datauploader.contracts.questions import ListDatafiles
from datauploader.contracts.uploads import manifest_entry
from datauploader.errors import MessagingError, QuestionRefused
from datauploader.messaging.port import Bus
from datauploader.reliability import Outbox, Store
from datauploader.reliability.worker import WorkerThread
from datauploader.runtime.crash_points import crash_point
from datauploader_transfer import audits
from datauploader_transfer.audits import PendingAudit, PendingAudits
from datauploader_transfer.comparing import Comparison, ExpectedObject
from datauploader_transfer.errors import TransferError
from datauploader_transfer.ledger import JobTable, object_path
from datauploader_transfer.owners import ObjectOwners
from datauploader_transfer.ports import Listed, Mover, Stored

log = structlog.get_logger()

LOOK_S = 0.5
"""How often it is looked for audits whose time has come."""
AGAIN_S = 3.0
"""After so long a storage is looked at once more before a difference is told: some list late what they have taken."""
ANSWER_S = 20.0
HASHED_BYTES = 2 * 1024**3
"""Up to so many bytes a local disk is asked for hashes without being told to read: that takes seconds."""
BY_FOLDER = 20_000
"""With more files than these, folders are listed one after the other."""


class _File(TypedDict):
    path: str
    path_b64: NotRequired[str | None]
    size: int
    sha256: str
    md5: NotRequired[str | None]
    sha1: NotRequired[str | None]


class _Stored(TypedDict):
    file: _File
    object: str


class _Item(TypedDict):
    stored: _Stored


class _Page(WireModel):
    """What a comparison needs of `Datafiles`: of a million files it is read as fast as that can be."""

    items: tuple[_Item, ...] = ()
    next: str = ""


class _Unknown(Exception):
    """There is no list to compare with; the message says why, for people."""


class Auditor:
    """Does what was asked for, and says what was found."""

    def __init__(
        self, store: Store, outbox: Outbox, mover: Mover, bus: Bus, moving: Callable[[], Mapping[str, int]]
    ) -> None:
        """Prepare; nothing runs before `start`. `moving` says of which uploads files are on their way."""
        self._store, self._outbox, self._mover, self._bus, self._moving = store, outbox, mover, bus, moving
        self._ended = threading.Event()
        self._changed = threading.Condition()
        self._threads = [
            WorkerThread(partial(self._run, slow=slow), name=f"auditor.{name}")
            for slow, name in ((False, "listing"), (True, "reading"))
        ]

    def start(self) -> None:
        """Begin, with what a former run left."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that there may be something to do."""
        with self._changed:
            self._changed.notify_all()

    def stop(self, deadline_s: float) -> None:
        """Begin nothing more; what was not finished is begun again at the next start."""
        self._ended.set()
        self.wake()
        end = time.monotonic() + deadline_s
        for thread in self._threads:
            if thread.ident is not None and deadline_s:
                thread.join(max(0.0, end - time.monotonic()))

    def _run(self, *, slow: bool) -> None:
        while not self._ended.is_set():
            try:
                done = self._step(slow=slow)
            except Exception:  # the boundary of one audit: the thread must outlive it
                log.exception("audit_failed")
                done = False
            with self._changed:
                if not done and not self._ended.is_set():
                    self._changed.wait(LOOK_S)

    def _step(self, *, slow: bool) -> bool:
        """Do the next audit; return whether there was one."""
        now = time.time()
        with self._store.reading() as db:
            audit = PendingAudits(db).next_audit(now, slow=slow)
        if audit is None:
            return False
        request = audit.request.data
        with structlog.contextvars.bound_contextvars(upload_id=request.upload_id, audit=request.audit):
            if request.manifest_sha256 is not None:
                with self._store.reading() as db:
                    waiting = JobTable(db).has_files_waiting(request.upload_id)
                # a mover holds its lock while it reads, not the reverse
                if waiting or request.upload_id in self._moving():  # the storage would be looked at meanwhile
                    self._postpone(request, now + 1.0, audit.trouble, tried=False)
                    return False
            try:
                self._audit(audit)
            except (TransferError, MessagingError) as error:
                self._later(audit, error)
            except sqlite3.DatabaseError as error:
                self._later(audit, TransferError(f"The list could not be kept on this machine's disk: {error}."))
            except _Unknown as error:
                self._say(audit.request, AuditReported(**_named(request), trouble=str(error)[:2000]), ())
        return True

    def _audit(self, audit: PendingAudit) -> None:
        request, began = audit.request.data, time.monotonic()
        remote, location = request.destination.remote, request.destination.location

        def hash_objects(objects: Sequence[tuple[str, int]]) -> Sequence[Stored | None]:
            named = [(f"{location}/{name}", size) for name, size in objects]
            return self._mover.hash_all(remote, named, ("sha256", "md5"))

        def find_ours(names: Sequence[str]) -> set[str]:
            by_object = {object_path(location, escape(os.fsencode(name))): name for name in names}
            with self._store.reading() as db:
                return {by_object[name] for name in ObjectOwners(db).written_objects(remote, by_object)}

        with Comparison() as compared:
            looked = datetime.now(UTC)
            manifest, found = self._gather(compared, audit.request)
            compared.add_found(found)
            compared.find_differences(
                sizes=lambda names: self._mover.find_sizes(remote, [f"{location}/{name}" for name in names]),
                hashes=hash_objects if request.read else None,
                ours=find_ours,
            )
            report = AuditReported(
                **_named(request) | {"looked": looked}, manifest_sha256=manifest,
                files=compared.count_rows("wanted"), bytes=compared.wanted_bytes,
                objects=compared.count_rows("found"), hashes=compared.hashes(), read=compared.read,
                differences=compared.differences(), seconds=round(time.monotonic() - began, 3),
            )  # fmt: skip
            crash_point("transfer.audited")
            if audit.attempts == 0 and any(one.blocks for one in report.differences):
                self._postpone(request, time.time() + AGAIN_S, "")
                return
            self._say(audit.request, report, compared.lacking())
        log.info("audit_finished", objects=report.objects, files=report.files, well=report.well, s=report.seconds)

    def _gather(self, compared: Comparison, request: Event[AuditRequested]) -> tuple[str, Iterable[Listed]]:
        """Take over what should lie there, and have the storage listed; return the digest of the one and the other.

        Both take their time: where it is known before how much there will be, they are asked for at once.
        """
        wanted = request.data

        def listed(files: int, size: int) -> Iterator[Listed]:
            return self._mover.list_objects(
                wanted.destination.remote, wanted.destination.location,
                hashing=wanted.read or size <= HASHED_BYTES, by_folder=files > BY_FOLDER,
            )  # fmt: skip

        if wanted.bytes is None:
            manifest = self._expect(compared, request)
            return manifest, listed(compared.count_rows("wanted"), compared.wanted_bytes)
        with ThreadPoolExecutor(1, "audit-manifest") as beside:
            expecting = beside.submit(self._expect, compared, request)
            found = listed(wanted.files, wanted.bytes)
            first = list(islice(found, 1))
            return expecting.result(), chain(first, found)

    def _expect(self, compared: Comparison, request: Event[AuditRequested]) -> str:
        """Take over what should lie there, page by page; return its digest.

        Raises:
            _Unknown: the catalog has no such list, or another one than was asked about.
            MessagingError: it does not answer.
        """
        wanted, location, digest = request.data, f"{request.data.destination.location}/", hashlib.sha256()
        after, files = "", 0
        while True:
            question = ListDatafiles(upload_id=wanted.upload_id, after=after)
            asked = self._bus.ask(question, _Page, station=request.station, timeout_s=ANSWER_S)
            page = asked.result(2 * ANSWER_S)
            expected = []
            for item in page.items:
                file = item["stored"]["file"]
                digest.update(manifest_entry(unpack(file["path"], file.get("path_b64")), file["sha256"]))
                name = os.fsdecode(unescape(item["stored"]["object"].removeprefix(location)))
                digests = {"sha256": file["sha256"], "md5": file.get("md5"), "sha1": file.get("sha1")}
                known = {kind: value for kind, value in digests.items() if value}
                expected.append(ExpectedObject(name, file["size"], known))
            compared.add_wanted(expected)
            files, after = files + len(page.items), page.next
            if not after:
                break
        found = digest.hexdigest()
        if wanted.files and not files:
            raise _Unknown(
                "The catalog service no longer has the list of this dataset's files, so there is nothing to "
                "compare with."
            )
        if wanted.manifest_sha256 not in (None, found):
            raise _Unknown(
                f"The catalog service lists {files} files, which are not the {wanted.files} of the sealed "
                "manifest, so the storage cannot be compared with that list."
            )
        return found

    def _later(self, audit: PendingAudit, error: Exception) -> None:
        """Try again by and by; what keeps it from being done is told once."""
        request = audit.request.data
        if self._ended.is_set():
            return
        final = isinstance(error, QuestionRefused) and error.code != "unavailable"
        trouble = f"The storage could not be compared with the manifest: {error}"[:2000]
        if trouble != audit.trouble:
            log.warning("audit_retry_scheduled", problem=str(error), final=final)
        said = AuditReported(**_named(request), trouble=trouble, final=final)
        if final:
            self._say(audit.request, said, ())
            return
        pause = audits.BACKOFF.wait_s(audit.attempts + 1)
        with self._store.transaction() as db:
            PendingAudits(db).postpone_audit(request.audit, time.time() + pause, trouble)
            if trouble != audit.trouble:
                Outbox.put(db, audit.request.follow(said, service="transfer"))
        self._outbox.wake()

    def _postpone(self, request: AuditRequested, due: float, trouble: str, *, tried: bool = True) -> None:
        with self._store.transaction() as db:
            PendingAudits(db).postpone_audit(request.audit, due, trouble, tried=tried)

    def _say(self, request: Event[AuditRequested], report: AuditReported, lacking: Iterable[bytes]) -> None:
        identity = natural_id(AuditReported, report.upload_id, report.audit, report.looked.isoformat())
        event = request.follow(report, service="transfer", id=identity)
        with self._store.transaction() as db:
            PendingAudits(db).note_report(event, report.audit, lacking)
            Outbox.put(db, event)
        crash_point("transfer.audit-told")
        self._outbox.wake()


def _named(request: AuditRequested) -> dict[str, object]:
    """Return what every report of an audit carries."""
    return {
        "upload_id": request.upload_id, "audit": request.audit, "looked": datetime.now(UTC),
        "accepted": request.accept, "requested_by": request.requested_by,
    }  # fmt: skip
