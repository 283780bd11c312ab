"""Readers of foreign files: a process of their own that is used again, bounded, and gone when it must go."""

import datetime as dt
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from datauploader.plugins.file_reader import reader_process
from datauploader.plugins.file_reader.parameter_validator import (
    LONGEST_TEXT,
    MOST_PARAMETERS,
    ParameterValidator,
)
from datauploader.plugins.file_reader.reader_process import Line, ReaderProcess
from datauploader_testing.waiting import eventually

PLUG_IN = """
import itertools, os, signal, subprocess, sys, time
from datauploader.contracts import Parameter

def read(path):
    yield Parameter(name="file", value=path.name)
    yield ("process", os.getpid())
    exec(path.read_text(), globals())
    yield from rest()
"""
"""Reads files that say in Python what is to become of their reader."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReaderProcess]:
    """Give one process for all tests of this file, which is begun anew where a test has ended it."""
    site = tmp_path_factory.mktemp("site")
    (site / "told.py").write_text(PLUG_IN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        patch.setenv("DATAUPLOADER_BROKER", "amqp://ws01:canary@broker")
        with ReaderProcess("told:read", memory=192 * 1024**2, answer=100_000) as made:
            yield made


@pytest.fixture
def ask(process: ReaderProcess, tmp_path: Path) -> Callable[..., list[Line]]:
    """Give a function that has a file read which says what its reader does."""

    def asked(body: str, within_s: float = 30.0) -> list[Line]:
        (tmp_path / "scan.odd").write_text(f"def rest():\n    {body}\n    yield ('last', 1)\n")
        return list(process.ask(os.fsencode(tmp_path), [b"scan.odd"], within_s=within_s))

    return asked


def values(lines: list[Line]) -> dict[str, object]:
    """Return what was found, by name."""
    return {str(one["parameter"]["name"]): one["parameter"]["value"] for one in lines if "parameter" in one}


def problems(lines: list[Line]) -> str:
    """Return all problems."""
    return "; ".join(one["problem"] for one in lines if "problem" in one)


def test_a_process_is_used_again_and_a_reader_sees_the_name_of_its_file(ask) -> None:
    """There are readers that go by how a name ends."""
    first, second = ask("pass"), ask("pass")
    assert values(first) == values(second) == {"file": "scan.odd", "process": values(first)["process"], "last": 1}
    assert first[-1] == {"read": "scan.odd"}


def test_a_reader_whose_end_was_seen_already_when_it_was_killed_is_told_of(ask, monkeypatch) -> None:
    """Killing looks whether the process is gone, and of one that is nothing can be learnt a second time."""

    def kill_until_gone(process: "subprocess.Popen[bytes]") -> None:
        kill(process)
        process.wait()

    kill = reader_process._kill
    monkeypatch.setattr(reader_process, "_kill", kill_until_gone)
    found = ask("yield from (('x', 'y' * 900) for _ in itertools.count())")
    assert "said more than 100000 bytes" in found[-1]["problem"]


@pytest.mark.attack("S34")
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("time.sleep(60)", "took longer than 1 s"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("bytearray(300 * 1024**2)", "more memory"),
        ("yield from (('x', 'y' * 900) for _ in itertools.count())", "said more than 100000 bytes"),
    ],
    ids=["hangs", "crashes", "eats memory", "never ends"],
)
@pytest.mark.fault("F62")
def test_what_was_read_before_a_reader_ends_badly_is_kept(ask, body, why) -> None:
    """With a sentence; the next file is read as if nothing had been."""
    ask("pass")  # the process has started
    found = ask(body, within_s=1.0 if "sleep" in body else 30.0)
    assert values(found)["file"] == "scan.odd"
    assert why in problems(found)
    assert values(ask("pass"))["last"] == 1


@pytest.mark.fault("F62")
def test_an_error_costs_what_comes_after_it_alone(ask) -> None:
    """Its sentence is the reader's own, or the type of what it did not expect; a storage's passes, its own does not."""
    found = ask("raise ValueError('the second half is damaged')")
    assert (values(found)["file"], problems(found)) == ("scan.odd", "the second half is damaged")
    assert [one["passes"] for one in found if "passes" in one] == [False]
    assert problems(ask("{}['x']")) == "its reader failed: KeyError"
    away = ask("raise OSError(116, 'Stale file handle')")
    assert [one["passes"] for one in away if "passes" in one] == [True]
    spoken = ask("raise RuntimeError('file read failed: errno = 5, error message = x')")
    assert [one["passes"] for one in spoken if "passes" in one] == [True]


@pytest.mark.attack("S34")
def test_nothing_that_a_reader_has_started_is_left(ask, tmp_path) -> None:
    """Neither a program nor a file."""
    body = f"subprocess.Popen(['sleep', '300']); open('{tmp_path}/pid', 'w').write(str(os.getpid())); time.sleep(60)"
    ask("pass")  # the process has started
    ask(body, within_s=1.5)
    group = int((tmp_path / "pid").read_text())
    eventually(lambda: not in_group(group), what="the end of all of them")


def in_group(group: int) -> list[str]:
    """Return the living processes of a group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(entry.parent.name)
    return found


@pytest.mark.attack("S26", "S34")
def test_a_reader_gets_no_secret_no_question_and_no_answer_of_ours(ask) -> None:
    """What it prints, reads from its input, or finds in its environment is none of them."""
    body = (
        "os.write(1, b'{\"end\": true}\\n'); print('x', flush=True); yield ('got', sys.stdin.read() + str(os.environ))"
    )
    found = values(ask(body))
    assert found["last"] == 1
    assert "canary" not in str(found["got"])
    assert "'HDF5_USE_FILE_LOCKING': 'FALSE'" in str(found["got"])


@pytest.mark.attack("S34", "S19")
def test_what_is_no_file_is_not_opened(process, tmp_path) -> None:
    """A pipe would wait for its writer, a link could lead anywhere; a folder that is away may come back."""
    os.mkfifo(tmp_path / "pipe.odd")
    (tmp_path / "link.odd").symlink_to("/etc/passwd")
    began = time.monotonic()
    said = {
        name: list(process.ask(os.fsencode(tmp_path), [name], within_s=20.0))
        for name in (b"pipe.odd", b"link.odd", b"gone/a.odd")
    }
    assert time.monotonic() - began < 15
    assert problems(said[b"pipe.odd"]) == "it is not a regular file"
    assert "links are not followed" in problems(said[b"link.odd"])
    assert [one["passes"] for one in said[b"gone/a.odd"]] == [True]


@pytest.mark.fault("F62")
def test_values_are_taken_for_what_they_are(tmp_path) -> None:
    """Scalars of numpy become Python's; what is no value is named in our words, and the rest is taken."""
    judge = ParameterValidator()
    given = {
        "whole": np.int64(5), "truth": np.bool_(True), "small": np.float32(0.5), "text": np.str_("x"), "bytes": b"x",
        "nan": float("nan"), "inf": np.float64("inf"), "none": None, "object": {}, "vast": 10**400, "long": "x" * 5000,
    }  # fmt: skip
    taken = [one for name, value in given.items() if (one := judge.validate_parameter((name, value))) is not None]
    kept = {one.name: one.value for one in taken}
    assert len(str(kept.pop("long"))) == LONGEST_TEXT
    assert kept == {"whole": 5, "truth": True, "small": 0.5, "text": "x", "bytes": "x"}
    assert [type(value) for value in kept.values()] == [int, bool, float, str, str]
    judge.validate_parameter(("", 1))
    judge.validate_parameter(("a", 1, "x" * 61))
    judge.validate_parameter("a")
    said = "; ".join(judge.problems())
    for name in (
        "nan is not a finite number",
        "inf is",
        "object is no text, number or truth",
        "none is empty",
        "vast",
        "long",
    ):
        assert name in said
    assert "pydantic" not in said
    assert "1 to 200 characters" in said


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "2026-01-02T03:04:05+00:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (np.datetime64("2026-01-02T03:04:05.000000007"), "2026-01-02T03:04:05.000000007"),
        (np.array(["2026-01-02", "2026-01-03"], dtype="M8[D]"), "2026-01-02, 2026-01-03"),
        (np.array([1, 2]), "1, 2"),
        (np.array([0.5, float("nan")]), "0.5, nan"),
        (np.array([5]), 5),
        ([np.int64(1), np.bool_(True), b"x", dt.date(2026, 1, 2)], "1, true, x, 2026-01-02"),
        ((0.1,), 0.1),
        (np.datetime64("NaT"), "the value of a is not a date"),
        (np.zeros(1001), "the value of a is an array of 1001 values, of which at most 1000 are taken"),
        ([1] * 1001, "the value of a is an array of 1001 values, of which at most 1000 are taken"),
        ([], "the value of a is empty"),
        (np.zeros((2, 2)), "the value of a is an array with a value of type list"),
        ([1, None], "one of the array that is the value of a is empty"),
    ],
    ids=str,
)
def test_dates_and_arrays_have_one_form(value, form) -> None:
    """ISO 8601 and a list with commas, the same from every harvester; what has none is said in our words."""
    judge = ParameterValidator()
    found = judge.validate_parameter(("a", value))
    assert form == (found.value if found else judge.problems()[0])
    assert not found or type(found.value) is type(form)


@pytest.mark.fault("F62")
def test_of_very_many_parameters_the_first_are_taken(ask) -> None:
    """Whatever comes after them is not even made."""
    found = ask("yield from (('n%d' % n, 1) for n in itertools.count())")
    assert len(values(found)) == MOST_PARAMETERS
    assert "only the first 500" in problems(found)
