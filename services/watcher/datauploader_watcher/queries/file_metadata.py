"""Metadata of the chosen files, read by plug-ins in a process that cannot hurt this one."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from pydantic import ValidationError

from datauploader.contracts.names import display
from datauploader.contracts.previews import FoundValue, FoundValues
from datauploader.contracts.questions import ReadValues
from datauploader.errors import QuestionRefused
from datauploader.plugins.file_reader import there_are_readers
from datauploader.plugins.file_reader.reader_process import Line, ReaderProcess
from datauploader_watcher.context import WatcherContext
from datauploader_watcher.discovery.findings import Finding, Found
from datauploader_watcher.errors import UploadRefused
from datauploader_watcher.queries.dry_run import YOUNG_S, DryRuns, scan_within

MOST_ENTRIES = 20_000
MOST_CANDIDATES = 2000
"""Files among which the readers choose."""
MOST_VALUES = 200
WALK_SHARE = 0.3
"""Part of the time for finding the files."""


class MetadataExtractor:
    """Metadata extraction: answers the query `watcher.read-values` with what files say about themselves."""

    def __init__(self, context: WatcherContext, previews: DryRuns) -> None:
        """Take the station, and who checks requests."""
        self._context, self._previews = context, previews
        self._free = threading.BoundedSemaphore(1)

    def __call__(self, question: ReadValues) -> FoundValues:
        """Read some files that an upload would take and that rest.

        Raises:
            QuestionRefused: the upload would be rejected, or files are read for others now.
        """
        deadline = time.monotonic() + question.within_s
        if not there_are_readers():
            return FoundValues()
        if not self._free.acquire(timeout=question.within_s / 2):
            raise QuestionRefused("busy", "this station is busy with other requests; try again in a few seconds")
        try:
            plan = self._previews.plan(question.request)
            until = time.monotonic() + question.within_s * WALK_SHARE
            stable = StableFiles(question, self._context.clock.now_ns())
            scan_within(self._context, plan, question.request, stable.take_finding, MOST_ENTRIES, until)
            if not stable.files:
                return FoundValues()
            with ReaderProcess() as readers:
                left = max(0.1, deadline - time.monotonic())
                files = sorted(stable.files)
                return _gathered(readers.ask(plan.root, files, within_s=left, most=question.most_files))
        except UploadRefused as refusal:
            raise QuestionRefused(refusal.reason, refusal.detail) from refusal
        finally:
            self._free.release()


class StableFiles:
    """Stable files: of what a scan finds, the names of files that nobody has changed lately."""

    def __init__(self, question: ReadValues, now_ns: int) -> None:
        """Begin with none."""
        self._before_ns = now_ns - int(max(question.request.quiet_period_s, YOUNG_S) * 1e9)
        self.files: list[bytes] = []

    def take_finding(self, finding: Finding) -> None:
        """Keep a file that rests."""
        if not isinstance(finding, Found) or len(self.files) == MOST_CANDIDATES:
            return
        if finding.stamp.mtime_ns < self._before_ns and finding.stamp.size:
            self.files.append(finding.path)


def _gathered(lines: Iterator[Line]) -> FoundValues:
    """Take of each name the first value; what is no value is left aside."""
    values: dict[str, FoundValue] = {}
    problems: list[str] = []
    files = 0
    for line in lines:
        if line.get("ended"):
            problems.append("Reading the files took too long or failed; enter the values by hand.")
        elif "problem" in line:
            problem = f"{line['source'][:200]}: {line['problem']}"
            problems.append(display(problem.encode("utf-8", "replace"))[:500])
        elif "read" in line:
            files += 1
        elif "parameter" in line and len(values) < MOST_VALUES:
            with suppress(ValidationError):
                found = FoundValue.model_validate(line)
                values.setdefault(found.parameter.name, found)
    return FoundValues(values=tuple(values.values()), problems=tuple(problems[:20]), files=files)
