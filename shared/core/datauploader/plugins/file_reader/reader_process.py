"""Has files read in a process of its own, which is used again while it behaves and killed when it does not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Self, TypedDict

import structlog

from datauploader.plugins.file_reader.descendants import end_descendants

log = structlog.get_logger()

MEMORY = 256 * 1024**2
"""Bytes that a reader's process may take; a harvester has two of them."""
LONGEST_ANSWER = 512 * 1024
"""Bytes that are taken of the answer to one question, unless told otherwise."""
MOST_USES = 1000
"""Questions after which a process is exchanged: what libraries leak goes with it."""
_KILLED_S = 2.0
_KEPT = (
    "PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "HDF5_PLUGIN_PATH", "SYSTEMROOT",
)  # fmt: skip
"""What a reader gets of the environment: foreign code needs none of our secrets."""
_SET = {"HDF5_USE_FILE_LOCKING": "FALSE", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Locks are for writers, and storages refuse them; each thread of a library takes memory."""


class Line(TypedDict, total=False):
    """One line of an answer."""

    opened: str
    parameter: dict[str, object]
    picture: dict[str, object]
    problem: str
    source: str
    passes: bool
    """The problem is the storage's, and may be over later."""
    trace: str
    read: str
    end: bool
    ended: bool
    """The process is no more: too slow, too greedy, crashed."""
    late: bool
    """The time was over."""


class ReaderProcess:
    """A reader process: a child process for readers; questions are asked by one thread, and `interrupt` by any."""

    def __init__(self, reader: str = "", *, memory: int = MEMORY, answer: int = LONGEST_ANSWER) -> None:
        """Start nothing yet.

        Args:
            reader: `module:function`, or an `Executable` as JSON; "" chooses among the installed readers by the
                files' names.
            memory: bytes that it may take.
            answer: bytes that are taken of one answer.
        """
        self._reader, self._memory, self._answer = reader, memory, answer
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        self._uses = 0
        self._lock = threading.Lock()
        self._over = self._full = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, root: bytes, files: Iterable[bytes], *, within_s: float, most: int = 1) -> Iterator[Line]:
        """Yield what readers say of the first `most` files that one of them reads, until the time is over.

        Args:
            root: a folder; a link in its own path is followed, none below it.
            files: paths below it.
            within_s: seconds after which the process is killed.
            most: files that are read.
        """
        asked = {"root": os.fsdecode(root), "files": [os.fsdecode(path) for path in files], "most": most}
        process = self._ready()
        if process is None:
            yield {"problem": "it was told to read nothing more", "ended": True}
            return
        alarm = threading.Timer(max(0.1, within_s), _kill, (process,))
        alarm.start()
        whole, begun = False, time.monotonic()
        try:
            for line in self._said(process, json.dumps(asked | {"within_s": within_s}).encode() + b"\n"):
                whole = bool(line.get("end"))
                if not whole:
                    yield line
            if not whole:
                how = self._how(process)
                late = time.monotonic() - begun >= within_s
                problem = f"reading it took longer than {within_s:g} s" if late else how
                yield {"problem": problem, "ended": True, "late": late}
        finally:
            alarm.cancel()
            alarm.join()  # it may be about to kill what the next question would be asked
            if not whole or time.monotonic() - begun >= within_s or self._uses >= MOST_USES:
                self.close()

    def interrupt(self) -> None:
        """End what is being read, and read nothing more."""
        with self._lock:
            self._over = True
            if self._process is not None:
                _kill(self._process)

    def close(self) -> None:
        """End the process and everything that it has started, and remove what it has left."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        _kill(process)
        try:
            process.wait(_KILLED_S)
        except subprocess.TimeoutExpired:  # nobody can end a process that waits for a drive
            log.warning(
                "reader_kill_timed_out", pid=process.pid, hint="it ends when the drive that it waits for answers"
            )
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ready(self) -> "subprocess.Popen[bytes] | None":
        with self._lock:
            if self._over:
                return None
            if self._process is None:
                self._folder, self._uses = tempfile.mkdtemp(prefix="datauploader-reading-"), 0
                environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | _SET
                environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._folder)
                program = [sys.executable, "-P", "-m", "datauploader.plugins.file_reader.process"]
                self._process = subprocess.Popen(  # noqa: S603 - ourselves
                    [*program, self._reader, str(self._memory)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    env=environment, start_new_session=True,
                )  # fmt: skip
            self._uses += 1
            return self._process

    def _said(self, process: "subprocess.Popen[bytes]", asked: bytes) -> Iterator[Line]:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(asked)
            process.stdin.flush()
        except OSError:  # it is gone: there will be no answer either
            return
        room, self._full = self._answer, False
        while (raw := process.stdout.readline(room)).endswith(b"\n"):
            room -= len(raw)
            line: Line = json.loads(raw)
            yield line
            if line.get("end"):
                return

        self._full = bool(raw) or room <= 0
        if self._full:
            _kill(process)

    def _how(self, process: "subprocess.Popen[bytes]") -> str:
        """Say how a process has ended, which must not be waited for before those that it has started are killed."""
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):  # it was killed with its group, and seen to be gone
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        _kill(process)
        code = process.wait()
        if self._full:
            return f"its reader has said more than {self._answer} bytes"
        try:
            named = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        except ValueError:
            named = f"signal {-code}"
        return f"its reader ended without an answer ({named}); the file may be damaged, or need more memory"


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if sys.platform != "win32" and process.returncode is None:  # until it was waited for, its number is nobody else's
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGSTOP)  # it starts nothing more, and takes what is left without a parent
            end_descendants(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
