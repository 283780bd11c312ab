"""The process in which plug-ins read files, asked on stdin and killed when late.

It is run as `python -m datauploader.plugins.file_reader.process`.

Foreign files make foreign libraries hang, crash or eat memory; here nothing else is lost with them.
"""

import errno
import importlib
import json
import os
import signal
import stat
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast

from pydantic import ValidationError

from datauploader.contracts.names import display
from datauploader.files import nofollow, win32
from datauploader.plugins.file_reader import Found, QuickLook, Read, Reader, passes, readers
from datauploader.plugins.file_reader.descendants import adopt_orphans, end_children
from datauploader.plugins.file_reader.executable import Executable
from datauploader.plugins.file_reader.parameter_validator import MOST_PARAMETERS, ParameterValidator, why_not

LONGEST = 2000
"""Characters of one sentence."""
LARGEST_FILE = 1024**3
"""Bytes of one file that a reader, or a program that it has started, may write."""


def main() -> None:
    """Answer each line of questions with lines of what was found, of which the last one says `end`."""
    questions, say = _apart()
    win32.end_together()
    adopt_orphans()
    if sys.argv[1].startswith("{"):
        known = [Reader(("*",), Executable.model_validate_json(sys.argv[1]).read)]
    elif sys.argv[1]:  # one function for all files
        known = [Reader(("*",), _function(sys.argv[1]))]
    else:
        known = readers()
    _limit(int(sys.argv[2]))
    for line in questions:
        asked = json.loads(line)
        _within(float(asked["within_s"]) + 1)
        say.left = int(asked["most"])
        for name in asked["files"]:
            path = os.fsencode(name)
            reader = next((one for one in known if one.fits(display(path.rpartition(b"/")[2]))), None)
            if reader is not None and say.left > 0:
                say.left -= 1
                _read(os.fsencode(asked["root"]), path, reader, say)
                end_children()
        _within(0)
        say(end=True)


def _function(name: str) -> Read:
    """Load `module:function`; where it is not installed, give one that says so at each file."""
    module, _, function = name.partition(":")
    try:
        return cast("Read", getattr(importlib.import_module(module), function))
    except (ImportError, AttributeError, SyntaxError) as error:
        why = OSError(errno.EAGAIN, f"its reader {name} cannot be loaded: {error}; install its package")

        def cannot(_: Path) -> Iterator[Found]:
            raise why

        return cannot


class _Saying:
    """Writes lines to whoever has asked."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.left = 0
        """Files that may still be read."""
        self.pictures = bool(sys.argv[1])
        """Whether they are asked for: before an upload they are not."""

    def __call__(self, **line: object) -> None:
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


def _read(root: bytes, path: bytes, reader: Reader, say: _Saying) -> None:
    source = display(path)[:1000]
    judge, shown, failed = ParameterValidator(), "", False
    try:
        with _opened(root, path) as place:
            shown = str(place)
            say(opened=source)
            room = MOST_PARAMETERS
            for one in reader.read(place):
                if isinstance(one, QuickLook):
                    if say.pictures and (picture := judge.validate_picture(one)) is not None:
                        say(picture=picture.model_dump(mode="json"), source=source)
                    continue
                if room == 0:
                    say(problem=f"only the first {MOST_PARAMETERS} parameters are taken", source=source)
                    break
                room -= 1
                if (parameter := judge.validate_parameter(one)) is not None:
                    say(parameter=parameter.model_dump(mode="json"), source=source)
    except Exception as error:  # noqa: BLE001 - a reader is somebody else's code
        failed = True
        sentence = _sentence(error).replace(shown, source) if shown else _sentence(error)
        trace = "" if isinstance(error, OSError | ValueError) else traceback.format_exc(limit=-5)[-LONGEST:]
        say(problem=sentence[:LONGEST], source=source, passes=passes(error), trace=trace)
    for problem in judge.problems():
        say(problem=problem[:LONGEST], source=source)
    if not failed:
        say(read=source)


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return why_not(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOTDIR, errno.ELOOP):
        return "a part of its path is a link, and links are not followed"
    if isinstance(error, OSError | ValueError):
        return str(getattr(error, "strerror", "") or error) or type(error).__name__
    return (
        "it needs more memory than a reader may take"
        if isinstance(error, MemoryError)
        else f"its reader failed: {type(error).__name__}"
    )


@contextmanager
def _opened(root: bytes, path: bytes) -> Iterator[Path]:
    """Open a file below the root, following no link, and give a path that means this file and no other.

    The path ends in the file's own name, because there are readers that go by that. On Windows and macOS it is the
    file's path itself.
    """
    full = os.path.join(os.path.realpath(root), path)  # noqa: PTH118 - bytes
    descriptor = nofollow.open_file(full)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        mine = Path(f"/proc/{os.getpid()}/fd/{descriptor}")  # which a program that the reader starts can open as well
        if not mine.exists():
            yield Path(os.fsdecode(full))
            return
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            named = Path(folder) / os.fsdecode(path.rpartition(b"/")[2])
            named.symlink_to(mine)
            yield named
    finally:
        os.close(descriptor)


def _apart() -> tuple[TextIO, _Saying]:
    """Keep questions and answers for this module: what a reader reads or prints is neither."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return questions, _Saying(answers)


def _limit(memory: int) -> None:
    """Take so many bytes and no more, leave no image of them behind, and be the first to go where memory is short."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - there is none on Windows

    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    os.nice(10)


def _within(seconds: float) -> None:
    """End this process after so long, should nobody be left to end it; 0: no more."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main()
