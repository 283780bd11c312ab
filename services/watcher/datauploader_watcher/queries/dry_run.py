"""The dry run of an upload: the same scan, whose findings are counted and not kept."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial

from datauploader.contracts.names import display, escape
from datauploader.contracts.previews import LeftOutGroup, Overlap, Preview, Refused
from datauploader.contracts.questions import PreviewUpload
from datauploader.contracts.uploads import UploadRequested
from datauploader.errors import QuestionRefused
from datauploader.reliability.hang_guard import DriveTimeout, HangGuard
from datauploader_watcher.adapters.disk import is_below, prefix_below
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.discovery.findings import Entered, Finding, Found, Omitted, RootGone, fold
from datauploader_watcher.discovery.scanner import Scanner, Start
from datauploader_watcher.domain.versions import Stamp
from datauploader_watcher.errors import UploadRefused
from datauploader_watcher.ledger.uploads import OPEN, UploadRow, UploadTable
from datauploader_watcher.uploads.admission import UploadPlan
from datauploader_watcher.uploads.earlier import earlier_of
from datauploader_watcher.uploads.rescan_queue import covers

AT_ONCE = 2
"""Dry runs at the same time: they read the disk that the uploads read."""
FIRST = 10
EXAMPLES = 3
MOST_OVERLAPS = 20
LONGEST = 1000
"""Characters of a path in the answer."""
YOUNG_S = 2.0
"""A file that was changed within so many seconds may still be written, whatever quiet period was asked for."""
AHEAD_S = 60.0
"""A file from further in the future was copied from a clock that goes wrong; it says nothing about now."""
NO_UPLOAD = -1
"""No row of the ledger belongs to it, so the scan knows nothing beforehand."""


class DryRuns:
    """Dry runs: answers the query `watcher.preview` with what an upload would find."""

    def __init__(self, context: WatcherContext) -> None:
        """Take the station's rules, disks and ledger."""
        self._context = context
        self._hang_guard = HangGuard()
        self._free = threading.BoundedSemaphore(AT_ONCE)

    def __call__(self, question: PreviewUpload) -> Preview:
        """Scan as the upload would, within the question's bounds.

        Raises:
            QuestionRefused: other dry runs take all the time of this station.
        """
        deadline = time.monotonic() + question.within_s
        if not self._free.acquire(timeout=question.within_s / 2):
            raise QuestionRefused("busy", "this station is busy with other requests; try again in a few seconds")
        try:
            plan = self.plan(question.request)
            held = {one.path: one.size for one in question.held}
            report = DryRunReport(
                plan, question.request, self._context.clock.now_ns(), self._overlapping(plan, deadline), held
            )
            entries, partial = scan_within(
                self._context, plan, question.request, report.take_finding, question.most_entries, deadline
            )
            return report.answer(entries, partial=partial)
        except UploadRefused as refusal:
            return Preview(refused=Refused(reason=refusal.reason, detail=refusal.detail, hint=refusal.hint))
        finally:
            self._free.release()

    def plan(self, request: UploadRequested) -> UploadPlan:
        """Check a request as an upload's, and wait only so long for its drive.

        Raises:
            Refusal: it would be rejected.
        """
        try:
            return self._hang_guard.call_with_deadline(request.root, lambda: self._context.admission.plan(request))
        except DriveTimeout as error:
            raise UploadRefused("root-silent", f"{request.root} does not answer.", "Check the network.") from error

    def _overlapping(self, plan: UploadPlan, deadline: float) -> list["OverlappingUpload"]:
        """Find open uploads that may take files of the same folders."""
        with self._context.store.reading() as db:
            uploads = UploadTable(db).in_states(OPEN)
        found: list[OverlappingUpload] = []
        for upload in uploads:
            if len(found) == MOST_OVERLAPS or time.monotonic() > deadline:
                break
            resumed = partial(self._context.admission.resumed, upload)
            try:
                plan_there = self._hang_guard.call_with_deadline(upload.request.root, resumed)
            except (DriveTimeout, UploadRefused, OSError, ValueError):
                continue
            overlapping = OverlappingUpload(upload, plan_there)
            if overlapping.may_meet(plan.root):
                found.append(overlapping)
        return found


def scan_within(
    context: WatcherContext,
    plan: UploadPlan,
    request: UploadRequested,
    take: Callable[[Finding], None],
    most: int,
    deadline: float,
) -> tuple[int, bool]:
    """Scan as an upload does, within bounds; return the entries that were seen, and whether there may be more."""
    entered = {folder for folder, names in plan.sources if names is None}
    scanner = Scanner(
        context.disks(plan.root, plan.mount), context.store, NO_UPLOAD, plan.selection, starts(plan.sources),
        deep=False, entered=entered, earlier=earlier_of(context.store, plan.root, request),
    )  # fmt: skip
    with closing(scanner):
        for findings in scanner:
            entered.update(finding.path for finding in findings if isinstance(finding, Entered))
            fold(findings, take)
            if scanner.entries >= most or time.monotonic() >= deadline:
                return scanner.entries, True
    return scanner.entries, False


def starts(sources: Sequence[Start]) -> list[Start]:
    """Leave out files that lie in a source that is scanned anyway, so that nothing is counted twice."""
    whole = [(folder, names) for folder, names in sources if names is None]
    return [
        (folder, names) for folder, names in sources
        if names is None or not any(covers(source, folder) for source in whole)
    ]  # fmt: skip


class OverlappingUpload:
    """An overlapping upload: one that is open, and how many of the files belong to it already."""

    def __init__(self, upload: UploadRow, plan: UploadPlan) -> None:
        """Take the upload and what it means on this disk."""
        self._upload, self._plan = upload, plan
        self._prefix = prefix_below(plan.root)
        self.files = 0

    def may_meet(self, root: bytes) -> bool:
        """Tell whether one of the two folders lies in the other."""
        return is_below(root, self._plan.root) or is_below(self._plan.root, root)

    def count_file(self, path: bytes) -> None:
        """Count a file, by its absolute path, where it belongs to the upload."""
        if not path.startswith(self._prefix):
            return
        below = path[len(self._prefix) :].replace(os.fsencode(os.sep), b"/")
        if not any(covers(source, below) for source in self._plan.sources):
            return
        parts, omits = below.split(b"/"), self._plan.selection.omits
        folders = (b"/".join(parts[:count]) for count in range(1, len(parts)))
        if not any(omits(folder, folder=True) for folder in folders) and not omits(below):
            self.files += 1

    def overlap(self) -> Overlap:
        """Say what was counted."""
        return Overlap(
            upload_id=self._upload.upload_id, requested_by=self._upload.request.requested_by.id, files=self.files
        )


class DryRunReport:
    """The report of a dry run: the findings of a scan that leaves no trace, counted."""

    def __init__(
        self,
        plan: UploadPlan,
        request: UploadRequested,
        now_ns: int,
        overlapping: Sequence[OverlappingUpload],
        held: Mapping[str, int],
    ) -> None:
        """Begin with nothing seen; `held` are the sizes of what the storage has, by escaped paths below the root."""
        self._held = held
        self._same_size = self._differing = 0
        self._differing_first: list[str] = []
        self._root, self._overlapping, self._now_ns = plan.root, overlapping, now_ns
        self._young_ns = int(max(request.quiet_period_s, YOUNG_S) * 1e9)
        self._groups: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self._files = self._bytes = self._stability = 0
        self._first: list[str] = []
        self._settling_first: list[str] = []
        self._times: tuple[int, int] | None = None
        self._trouble = ""

    def take_finding(self, finding: Finding) -> None:
        """Count what a scan has found."""
        match finding:
            case Found(path, seen, _):
                self._count_file(path, seen)
            case Omitted(path, omission, _, folder):
                detail = omission.detail
                if omission.reason == "unreadable":
                    detail = "it is in use or cannot be read now; the upload will try again"
                count, examples = self._groups.get((omission.reason, detail), (0, []))
                if len(examples) < EXAMPLES:
                    examples.append(shown(path) + ("/" if folder else ""))
                self._groups[omission.reason, detail] = count + 1, examples
            case RootGone(problem):
                self._trouble = problem

    def _count_file(self, path: bytes, seen: Stamp) -> None:
        self._files += 1
        self._bytes += seen.size
        if len(self._first) < FIRST:
            self._first.append(shown(path))
        oldest, newest = self._times or (seen.mtime_ns, seen.mtime_ns)
        self._times = min(oldest, seen.mtime_ns), max(newest, seen.mtime_ns)
        if -AHEAD_S * 1e9 < self._now_ns - seen.mtime_ns < self._young_ns:
            self._stability += 1
            if len(self._settling_first) < EXAMPLES:
                self._settling_first.append(shown(path))
        if self._held and (size := self._held.get(escape(path))) is not None:
            same = size == seen.size
            self._same_size += same
            self._differing += not same
            if not same and len(self._differing_first) < FIRST:
                self._differing_first.append(shown(path))
        if self._overlapping:
            full = os.path.join(self._root, path.replace(b"/", os.fsencode(os.sep)))  # noqa: PTH118 - bytes
            for overlapping in self._overlapping:
                overlapping.count_file(full)

    def answer(self, entries: int, *, partial: bool) -> Preview:
        """Say what was seen."""
        oldest, newest = self._times or (None, None)
        left_out = tuple(
            LeftOutGroup(reason=reason, detail=detail, count=count, examples=tuple(examples))
            for (reason, detail), (count, examples) in sorted(self._groups.items(), key=lambda item: -item[1][0])
        )
        return Preview(
            files=self._files, bytes=self._bytes, first=tuple(self._first), left_out=left_out,
            settling=self._stability, settling_first=tuple(self._settling_first), oldest_mtime_ns=oldest,
            newest_mtime_ns=newest, overlaps=tuple(one.overlap() for one in self._overlapping if one.files),
            differing=self._differing, differing_first=tuple(self._differing_first), same_size=self._same_size,
            entries=entries, partial=partial or bool(self._trouble), trouble=self._trouble[:LONGEST],
        )  # fmt: skip


def shown(path: bytes) -> str:
    """Return a path as text of bounded length."""
    return display(path)[:LONGEST]
