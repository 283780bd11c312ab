"""What the chosen files say about themselves, read by plug-ins in a process that cannot hurt this one."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from pydantic import ValidationError

from datauploader.contracts.names import display
from datauploader.contracts.previews import FoundValue, FoundValues
from datauploader.contracts.questions import ReadValues
from datauploader.errors import QuestionRefused
from datauploader.reading import there_are_readers
from datauploader_watcher.domain.versions import Stamp
from datauploader_watcher.errors import Refusal
from datauploader_watcher.ground import Ground
from datauploader_watcher.ledger.files import KnownRow
from datauploader_watcher.opening import Plan
from datauploader_watcher.previewing import YOUNG_S, Previews, Sketch, walk

MOST_ENTRIES = 20_000
MOST_CANDIDATES = 2000
"""Files among which the readers choose."""
MOST_VALUES = 200
LONGEST_ANSWER = 512 * 1024
"""Bytes that are taken from the readers' process."""
WALK_SHARE = 0.3
"""Part of the time for finding the files."""
_KEPT = (
    "PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "HDF5_PLUGIN_PATH", "SYSTEMROOT", "TEMP",
    "TMP", "TMPDIR",
)  # fmt: skip
"""What a reader gets of the environment: foreign code needs none of our secrets."""


class Values:
    """Answers what files say about themselves."""

    def __init__(self, ground: Ground, previews: Previews) -> None:
        """Take the station, and who checks requests."""
        self._ground, self._previews = ground, previews
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
            raise QuestionRefused("busy", "this station reads files for others now; try again in a few seconds")
        try:
            plan = self._previews.plan(question.request)
            files = self._candidates(plan, question, time.monotonic() + question.within_s * WALK_SHARE)
            return _gathered(_read(plan.root, files, question.most_files, deadline))
        except Refusal as refusal:
            raise QuestionRefused(refusal.reason, refusal.detail) from refusal
        finally:
            self._free.release()

    def _candidates(self, plan: Plan, question: ReadValues, deadline: float) -> list[bytes]:
        rested = Rested(plan, question, self._ground.clock.now_ns())
        walk(self._ground, plan, question.request, rested, MOST_ENTRIES, deadline)
        return sorted(rested.files)


class Rested(Sketch):
    """Keeps the names of files that nobody has changed lately."""

    def __init__(self, plan: Plan, question: ReadValues, now_ns: int) -> None:
        """Begin with none."""
        super().__init__(plan, question.request, now_ns, (), {})
        self._before_ns = now_ns - int(max(question.request.quiet_period_s, YOUNG_S) * 1e9)
        self.files: list[bytes] = []

    def regular(self, path: bytes, seen: Stamp, row: KnownRow | None) -> None:  # noqa: ARG002 - as `Findings` has it
        """Keep a file that rests."""
        if seen.mtime_ns < self._before_ns and seen.size and len(self.files) < MOST_CANDIDATES:
            self.files.append(path)


def _read(root: bytes, files: list[bytes], most: int, deadline: float) -> Iterator[dict[str, object]]:
    """Let the readers' process read, until it ends or its time is over; yield what it has said until then."""
    if not files:
        return
    asked = {"root": os.fsdecode(root), "files": [os.fsdecode(path) for path in files], "most": most}
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "datauploader_watcher.readers"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment | {"HDF5_USE_FILE_LOCKING": "FALSE"},
    )  # fmt: skip
    alarm = threading.Timer(max(0.1, deadline - time.monotonic()), process.kill)
    alarm.start()
    try:
        yield from _said(process, json.dumps(asked).encode())
        if process.wait() != 0:
            yield {"problem": "Reading the files took too long or failed; their values are to be entered by hand."}
    finally:
        alarm.cancel()
        process.kill()
        process.wait()


def _said(process: subprocess.Popen[bytes], asked: bytes) -> Iterator[dict[str, object]]:
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            process.stdin.write(asked)
            process.stdin.close()
        except BrokenPipeError:
            return
        room = LONGEST_ANSWER
        while room > 0 and (line := process.stdout.readline(room)).endswith(b"\n"):
            room -= len(line)
            yield from _lines(line)


def _lines(raw: bytes) -> Iterator[dict[str, object]]:
    try:
        line = json.loads(raw)
    except ValueError:
        return
    if isinstance(line, dict):
        yield line


def _gathered(lines: Iterator[dict[str, object]]) -> FoundValues:
    """Take of each name the first value; what is no value is left aside."""
    values: dict[str, FoundValue] = {}
    problems: list[str] = []
    files = 0
    for line in lines:
        if "problem" in line:
            problems.append(display(str(line["problem"]).encode("utf-8", "replace"))[:500])
        elif "read" in line:
            files += 1
        elif len(values) < MOST_VALUES and (found := _value(line)) is not None:
            values.setdefault(found.parameter.name, found)
    return FoundValues(values=tuple(values.values()), problems=tuple(problems[:20]), files=files)


def _value(line: dict[str, object]) -> FoundValue | None:
    try:
        return FoundValue.model_validate(line)
    except ValidationError:
        return None
