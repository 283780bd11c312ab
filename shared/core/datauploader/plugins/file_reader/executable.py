"""A program of any language as a reader: it is given a path and prints JSON, as `harvester.output.json` describes.

It runs below the process that reads, so its time, its memory, its environment and its end are those of any reader.
"""

import base64
import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel

from datauploader.contracts.model import Sentence
from datauploader.contracts.pictures import LONGEST_BASE64, LONGEST_TITLE
from datauploader.plugins.file_reader import Found, QuickLook
from datauploader.plugins.file_reader.descendants import end_descendants
from datauploader.plugins.file_reader.parameter_validator import MOST_VALUES

PLACE = "{path}"
"""What stands for the file's path in the words of a command."""
LONGEST_OUTPUT = 4 * 1024**2
"""Bytes that a program may print about one file."""
TRY_AGAIN = 75
"""The exit code that says that the storage is the trouble: EX_TEMPFAIL of BSD's sysexits.h."""
_LONGEST_WORDS = 300
"""Characters that are told of what a program says on standard error."""
_BEGIN = re.compile(r"[^ \t\r\n]")

Scalar = str | int | float | bool


class PrintedParameter(BaseModel):
    """One thing that the file says about itself."""

    name: str = Field(min_length=1, max_length=200)
    value: Scalar | Annotated[list[Scalar], Field(min_length=1, max_length=MOST_VALUES)]
    """A text longer than 4,000 characters is shortened; of an array with several values their list becomes a text."""
    units: str = Field(default="", max_length=60)


class PrintedProblem(BaseModel):
    """Why something is missing: a sentence for whoever looks at this file."""

    problem: Sentence


class PrintedPicture(BaseModel):
    """A small picture of what is in the file, for people."""

    picture: str = Field(max_length=LONGEST_BASE64, json_schema_extra={"contentEncoding": "base64"})
    """A PNG, JPEG or WebP of at most 32 KiB, with sides of at most 1,024 pixels, in base64."""
    title: str = Field(default="", max_length=LONGEST_TITLE)
    """What is seen, such as `frame 12 of 25`."""


Printed = PrintedParameter | PrintedPicture | PrintedProblem


class HarvesterOutput(RootModel[Printed | list[Printed]]):
    """One of the JSON values that a harvester's program prints, one after the other."""


class Executable(BaseModel):
    """A program with its arguments, and what its files must be."""

    model_config = ConfigDict(frozen=True)

    command: tuple[str, ...]
    """The program's own path and its arguments."""
    folder: Path
    """Where it is started."""
    sha256: dict[Path, str] = Field(default_factory=dict)
    """Files that are compared before each start."""

    _seen: dict[Path, tuple[int, ...]] = PrivateAttr(default_factory=dict)

    def changed(self) -> str:
        """Say which file is not what it must be, "" for none; what has kept its time and size is not read again."""
        for path, wanted in self.sha256.items():
            try:
                its = path.stat()
                state = (its.st_dev, its.st_ino, its.st_size, its.st_mtime_ns, its.st_ctime_ns)
                if self._seen.get(path) == state:
                    continue
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                return f"{path.name} of its program cannot be read: {error.strerror}"
            if found != wanted:
                return (
                    f"{path.name} is not the file that was configured: its SHA-256 is {found}, not {wanted}; "
                    f"put the right file there, or configure this one"
                )
            self._seen[path] = state
        return ""

    def read(self, path: Path) -> Iterator[Found]:
        """Yield what the program prints about a file.

        Raises:
            OSError: it could not be started, or asks to be started again later.
            ValueError: it failed, or said a problem; comes last, after all that it printed.
        """
        if problem := self.changed():
            raise _later(problem)
        words = [word.replace(PLACE, str(path)) for word in self.command]
        try:
            program = subprocess.Popen(  # noqa: S603 - the operator's own
                words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise _later(f"its program {self._name} cannot be started: {error.strerror or error}") from None
        assert program.stdout is not None
        assert program.stderr is not None
        last_words = _LastWords(program.stderr)
        ending = threading.Thread(target=_end_with, args=(program,), daemon=True)
        ending.start()
        try:
            problem = yield from self._printed(program.stdout)
            code = program.wait()
        finally:
            program.stdout.close()
            program.kill()
            program.wait()
            ending.join()  # before it could take the next one for something that was left
        if code:
            problem = problem if code > 0 and problem else self._ended(code, last_words.text())
            raise _later(problem) if code == TRY_AGAIN else ValueError(problem)
        if problem:
            raise ValueError(problem)

    @property
    def _name(self) -> str:
        return Path(self.command[0]).name

    def _printed(self, out: IO[bytes]) -> Generator[Found, None, str]:
        """Yield the parameters; return what else was said.

        What is complete on one line is yielded at once, so that it is kept whatever comes; of a value that spans lines
        the end is known at the end of the output alone.
        """
        problems: list[str] = []
        rest = bytearray()
        room = LONGEST_OUTPUT
        while line := out.readline(room + 1):
            room -= len(line)
            if room < 0:
                raise ValueError(f"its program {self._name} has printed more than {LONGEST_OUTPUT // 1024**2} MiB")
            if rest:
                rest += line
                continue
            try:
                values = list(_values(line))
            except (ValueError, RecursionError):
                rest += line
            else:
                yield from _found(values, problems)
        try:
            yield from _found(_values(bytes(rest)), problems)
        except (ValueError, RecursionError) as error:
            shown = _printable(bytes(rest[:240]).partition(b"\n")[0])[:60]
            problems.append(f"its program {self._name} printed what is not JSON: {error}, in {shown!r}")
        return "; ".join(problems)

    def _ended(self, code: int, words: str) -> str:
        try:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        except ValueError:
            how = f"was ended by signal {-code}"
        return f"its program {self._name} {how}{': ' if words else ''}{words}"


def _end_with(program: "subprocess.Popen[bytes]") -> None:
    """End what a program has left behind when it ends: nobody waits for those who still hold its output."""
    program.wait()
    end_descendants(os.getpid())


def _later(sentence: str) -> OSError:
    """Make the error of what is not this file's fault: it is read again later."""
    return OSError(errno.EAGAIN, sentence)


def _printable(line: bytes) -> str:
    return "".join(char if char.isprintable() else " " for char in line.decode("utf-8", "replace")).strip()


def _values(printed: bytes) -> Iterator[object]:
    """Yield the JSON values that stand one after the other."""
    text, decoder, at = printed.decode("utf-8-sig", "replace"), json.JSONDecoder(), 0
    while found := _BEGIN.search(text, at):
        value, at = decoder.raw_decode(text, found.start())
        yield value


def _found(values: Iterator[object] | list[object], problems: list[str]) -> Iterator[Found]:
    """Yield parameters and pictures among values, and note problems; what is neither is judged as any reader's."""
    for value in values:
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and "problem" in one:
                problems.append(str(one["problem"]))
            elif isinstance(one, dict) and "name" in one:
                yield one["name"], one.get("value"), one.get("units") or ""
            elif isinstance(one, dict) and "picture" in one:
                yield from _picture(one, problems)
            else:
                yield cast("Found", one)  # which it is not, as the validator says


def _picture(said: dict[str, object], problems: list[str]) -> Iterator[QuickLook]:
    try:
        data = base64.b64decode(str(said["picture"]), validate=True)
    except ValueError:
        problems.append("a picture that its program printed is not base64")
    else:
        yield QuickLook(data, str(said.get("title") or ""))


class _LastWords:
    """Reads standard error, so that a program never waits for somebody to do so, and keeps its end."""

    def __init__(self, said: IO[bytes]) -> None:
        self._end = b""
        self._said = said
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError), self._said:
            while said := os.read(self._said.fileno(), 4096):
                self._end = (self._end + said)[-4096:]

    def text(self) -> str:
        """Return the last line with something on it; somebody else may still hold the pipe, who is not waited for."""
        self._thread.join(1.0)
        lines = reversed(self._end.split(b"\n"))
        return next(filter(None, map(_printable, lines)), "")[:_LONGEST_WORDS]
