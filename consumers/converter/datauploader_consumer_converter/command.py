"""A command that is given its time, whose output is logged, and which leaves nothing behind when it ends."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any

from datauploader.plugins.consumer import Retry
from datauploader.reliability.hang_guard import in_a_thread

TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: the command asks to be started again later."""
LATER = timedelta(minutes=10)
MOST_LINES = 1000
"""Lines of output that are logged of one run; the last one is kept whatever comes."""
_LONGEST_LINE = 1000
_LOOK_S = 0.2
_OWN = "DATAUPLOADER_"
"""Our settings, the broker's password among them, are not the command's to see."""


class CommandFailed(Exception):
    """The command ended with an error; after five times the event is parked."""


def run_command(words: Sequence[str], folder: Path, *, seconds: float, log: Any, stopping: threading.Event) -> None:
    """Run a command to its end.

    Raises:
        Retry: it asks for that, or the service stops.
        CommandFailed: it could not be started, ended with an error, or took too long.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own, and no shell sees it
            words, cwd=folder, env=kept, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise CommandFailed(f"{words[0]} cannot be started: {error.strerror or error}") from None
    assert process.stdout is not None
    output = _Output(log)
    read = in_a_thread(partial(output.read, process.stdout))
    try:
        _wait(process, seconds, stopping)
    finally:
        _end_all(process)
        with suppress(TimeoutError):
            read.result(1.0)  # somebody who left the session may hold the pipe, and is not waited for
    name, code = Path(words[0]).name, process.returncode
    log.info("command_ended", command=name, exit_code=code)
    if code == TRY_AGAIN:
        raise Retry(f"{name} asks to be started again later: {output.last or 'it says nothing'}", LATER)
    if code:
        raise CommandFailed(f"{name} ended with exit code {code}: {output.last or 'it says nothing'}")


def _wait(process: "subprocess.Popen[bytes]", seconds: float, stopping: threading.Event) -> None:
    until = time.monotonic() + seconds
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_S)
            return
        if stopping.is_set():
            raise Retry("the service stops; the command is started again afterwards")
        if time.monotonic() > until:
            raise CommandFailed(f"it took longer than {seconds:g} s and was ended: see seconds in [converter]")


def _end_all(process: "subprocess.Popen[bytes]") -> None:
    """End the command with everything that it has started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


class _Output:
    def __init__(self, log: Any) -> None:
        self._log, self._lines, self.last = log, 0, ""

    def read(self, out: IO[bytes]) -> None:
        """Log line by line; of a line that never ends, parts."""
        with out:
            while said := out.readline(_LONGEST_LINE):
                line = "".join(char if char.isprintable() else " " for char in said.decode("utf-8", "replace")).strip()
                if not line:
                    continue
                self.last = line
                self._lines += 1
                if self._lines <= MOST_LINES:
                    self._log.info("command_says", line=line)
                elif self._lines == MOST_LINES + 1:
                    self._log.warning("command_says_more", lines_logged=MOST_LINES)
