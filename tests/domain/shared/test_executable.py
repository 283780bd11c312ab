"""Programs of any language as readers: what they print is taken, and how they end is said at the file."""

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from datauploader.errors import ConfigurationError
from datauploader.plugins.file_reader.executable import LONGEST_OUTPUT, HarvesterOutput
from datauploader.plugins.file_reader.reader_process import Line, ReaderProcess
from datauploader.plugins.harvester import Kind
from datauploader.plugins.harvester.harvester_file import load_harvester
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.posix
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\2\0\0\0\2\x08\0\0\0\0" + b"\0\0\0\0IEND\xaeB`\x82"
"""As much of a picture as is looked at: two pixels by two."""
TOLD = 'name = "odd"\npatterns = ["*.ODD"]\ncommand = ["./program.sh", "{path}"]\n'


class Folder:
    """The folder of a harvester's author, with a file that is read."""

    def __init__(self, place: Path) -> None:
        self.place, self.process = place, None
        self.program = place / "program.sh"
        (place / "it's; a $(scan).odd").write_text("content\n")

    def write(self, body: str, told: str = TOLD) -> Kind:
        """Write the program, and load the harvester."""
        self.program.write_text(f"#!/bin/sh\n{body}\n")
        self.program.chmod(0o755)
        (self.place / "harvester.toml").write_text(told)
        return load_harvester(self.place / "harvester.toml").kind

    def read(self, kind: Kind, within_s: float = 30.0, name: str = "it's; a $(scan).odd") -> list[Line]:
        """Have the file read as a service has it."""
        with ReaderProcess(kind.reader, memory=192 * 1024**2) as process:
            return list(process.ask(os.fsencode(self.place), [name.encode()], within_s=within_s))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Give a folder with a file to be read."""
    return Folder(tmp_path)


@pytest.fixture
def run(folder: Folder) -> Callable[..., list[Line]]:
    """Give a function that has the file read by a program of these lines."""
    return lambda body, **how: folder.read(folder.write(body), **how)


def values(lines: list[Line]) -> dict[str, object]:
    """Return what was found, by name."""
    return {str(one["parameter"]["name"]): one["parameter"]["value"] for one in lines if "parameter" in one}


def problems(lines: list[Line]) -> str:
    """Return all problems."""
    return "; ".join(one["problem"] for one in lines if "problem" in one)


def test_what_a_program_prints_is_what_the_file_says(run) -> None:
    """One value a line, a list, or one value over many lines as jq prints it; all that the path is, is one word."""
    lines = run(
        r"""
        printf '\357\273\277{"name": "content", "value": "%s"}\n' "$(cat "$1")"
        printf '{"name": "file", "value": "%s", "units": null}\n' "${1##*/}"
        echo '[{"name": "t", "value": 293.5, "units": "K"}, {"name": "list", "value": [1, 2.5, true, "x"]}]'
        printf '{\n "name": "long",\n "value": 1\n}\n{"name": "last", "value": false}'
        """
    )
    assert values(lines) == {
        "content": "content", "file": "it's; a $(scan).odd", "t": 293.5, "list": "1, 2.5, true, x", "long": 1,
        "last": False,
    }  # fmt: skip
    assert [one["parameter"]["units"] for one in lines if "parameter" in one][2] == "K"
    assert not problems(lines)


@pytest.mark.fault("F62")
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("echo 'no #D line' >&2; echo >&2; exit 3", "its program program.sh ended with exit code 3: no #D line"),
        ("""echo '{"problem": "half of it is missing"}'; exit 1""", "half of it is missing"),
        ("""echo '{"problem": "half of it is missing"}'""", "half of it is missing"),
        (
            "echo Temperature: 5",
            "is not JSON: Expecting value: line 1 column 1 (char 0), in 'Temperature: 5'",
        ),
        ("""printf '[{"name": "a",'""", "printed what is not JSON"),
        ("printf '%0100000d' 0 | tr 0 '['", "printed what is not JSON"),
        ("yes x | head -c 5000000", "has printed more than 4 MiB"),
        ("sleep 60", "took longer than 2 s"),
        ("kill -SEGV $$", "was ended by SIGSEGV"),
        ("""echo '[5, {"value": 1}, {"name": "a"}, {"name": "b", "value": NaN}]'""", "b is not a finite number"),
    ],
    ids=["code", "told code", "told", "text", "half", "deep", "much", "late", "crash", "values"],
)
def test_what_was_printed_before_a_program_fails_is_kept_with_a_sentence(run, body, why) -> None:
    """Whatever it does; none of that is the storage's fault, so the file is not read again for it."""
    lines = run(f"""echo '{{"name": "first", "value": 1}}'\n{body}""", within_s=2.0 if "sleep" in body else 30.0)
    assert values(lines) == {"first": 1}
    assert why in problems(lines)
    assert not any(one.get("passes") for one in lines)


@pytest.mark.fault("F62")
def test_a_program_prints_pictures_in_base64_and_what_is_none_is_said(run) -> None:
    """Each that is whole and small enough, up to four; the rest is taken all the same."""
    wrong = '{"picture": "AAAA", "title": "b"} {"picture": "no base64"} {"name": "n", "value": 1}'
    good = json.dumps({"picture": base64.b64encode(PNG).decode(), "title": "frame 1"})
    lines = run(f"printf '%s\\n' '{wrong}' '{good}' '{good}' '{good}' '{good}' '{good}'")
    pictures = [line["picture"] for line in lines if "picture" in line]
    assert [(one["title"], one["media_type"], one["width"]) for one in pictures] == [("frame 1", "image/png", 2)] * 4
    assert values(lines) == {"n": 1}
    said = "; ".join(line["problem"] for line in lines if "problem" in line)
    assert "its picture 'b' is not taken: it is no whole PNG, JPEG or WebP" in said
    assert "a picture that its program printed is not base64" in said
    assert "only the first 4 pictures are taken" in said


def test_a_program_that_finds_the_storage_away_has_the_file_read_again(run) -> None:
    """It says so by the exit code that mail programs say it with."""
    lines = run("echo 'not mounted yet' >&2; exit 75")
    assert [one["passes"] for one in lines if "passes" in one] == [True]
    assert "not mounted yet" in problems(lines)


@pytest.mark.attack("S26", "S34")
def test_a_program_gets_no_secret_and_no_input_and_waits_for_nobody(run, monkeypatch) -> None:
    """Neither our environment nor our questions; and what it says on standard error has room."""
    monkeypatch.setenv("DATAUPLOADER_BROKER", "amqp://ws01:canary@broker")
    body = """yes | head -c 1000000 >&2; printf '{"name": "got", "value": "%s"}' "$(cat; env | tr -d '"\n')" """
    found = values(run(body))["got"]
    assert "PATH=" in str(found)
    assert "canary" not in str(found)


@pytest.mark.attack("S34")
def test_what_a_program_has_started_ends_with_it(run, folder) -> None:
    """Also where it is killed because it is late."""
    run(f"sleep 300 & echo $! > {folder.place}/pid; sleep 300", within_s=2.0)
    pid = int((folder.place / "pid").read_text())
    eventually(lambda: not running(pid), what="the end of what it has started")


@pytest.mark.attack("S34")
@pytest.mark.parametrize("end", ["sleep 300", "exit 0"])
def test_what_has_left_the_group_of_its_program_ends_with_it_as_well(folder, end) -> None:
    """A daemon of its own session, without a parent: after the time is over, and after each file."""
    daemon = f"setsid sh -c 'sleep 301 & echo $! > {folder.place}/pid; echo > {folder.place}/ready; wait' &"
    kind = folder.write(f"({daemon})\nwhile [ ! -e {folder.place}/ready ]; do sleep 0.01; done\n{end}")
    name = b"it's; a $(scan).odd"
    with ReaderProcess(kind.reader) as process:
        lines = list(process.ask(os.fsencode(folder.place), [name], within_s=2.0 if end == "sleep 300" else 30.0))
        assert ("took longer than 2 s" in problems(lines)) == (end == "sleep 300")
        assert not running(int((folder.place / "pid").read_text()))


def running(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.attack("S34")
def test_a_program_takes_no_more_memory_than_a_reader(folder) -> None:
    """The limit is that of the process that started it."""
    told = TOLD.replace('"./program.sh"', '"python3", "-c", "bytearray(400 * 1024**2)"')
    assert "MemoryError" in problems(folder.read(folder.write("", told)))


def test_a_program_is_what_its_hash_says_or_is_not_started(folder) -> None:
    """At the start of the service, and before each file; what was put right is found by itself."""
    body = """echo '{"name": "a", "value": 1}'"""
    digest = hashlib.sha256(f"#!/bin/sh\n{body}\n".encode()).hexdigest()
    pinned = f'{TOLD}[sha256]\n"./program.sh" = "{digest}"\n'
    kind = folder.write(body, pinned)
    with ReaderProcess(kind.reader) as process:
        ask = lambda: list(process.ask(os.fsencode(folder.place), [b"it's; a $(scan).odd"], within_s=30))  # noqa: E731
        assert values(ask()) == {"a": 1}
        with pytest.raises(ConfigurationError, match=r"program\.sh is not the file that was configured"):
            folder.write("touch started", pinned)
        lines = ask()
        assert "its SHA-256 is" in problems(lines)
        assert [one["passes"] for one in lines if "passes" in one] == [True]
        assert not (folder.place / "started").exists()
        folder.program.unlink()
        assert "cannot be read" in problems(ask())
        folder.write(body, pinned)
        assert values(ask()) == {"a": 1}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ('name = "odd"\npatterns = []\ncommand = []', "patterns: "),
        (TOLD.replace("odd", "Odd Name"), "name: "),
        (TOLD + "secs = 5\n", "secs: "),
        (TOLD.replace(', "{path}"', ""), 'command needs the word "{path}"'),
        (TOLD.replace("./program.sh", "./gone"), r"there is no program \./gone"),
        (TOLD.replace("./program.sh", "program.sh"), r"write \./program\.sh"),
        (TOLD.replace("./program.sh", "./plain"), r"chmod \+x"),
        (TOLD.replace("./program.sh", "./run.bat"), "a file's name could be a command"),
        (TOLD + '[sha256]\n"gone" = "' + "0" * 64 + '"\n', "gone of its program cannot be read"),
        ("name =", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_harvesters_file_is_said(folder, told, why) -> None:
    """Before anything runs, with what to write instead."""
    (folder.place / "plain").touch()
    (folder.place / "run.bat").touch(mode=0o755)
    with pytest.raises(ConfigurationError, match=why):
        folder.write("true", told)


def test_patterns_are_compared_in_small_letters(folder) -> None:
    """As file names are."""
    kind = folder.write("true")
    assert (kind.name, kind.patterns, kind.service) == ("odd", ("*.odd",), "odd-harvester")


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ({"name": "a", "value": 1, "units": "K"}, True),
        ([{"name": "a", "value": [1, "x"]}, {"problem": "half"}], True),
        ({"picture": "AAAA", "title": "frame 1"}, True),
        ({"picture": 1}, False),
        ({"name": "a"}, False),
        ({"name": "a", "value": {"b": 1}}, False),
        ([[1]], False),
    ],
)
def test_the_published_schema_says_what_is_taken(value, right) -> None:
    """An author checks what his program prints with it."""
    try:
        HarvesterOutput.model_validate_json(json.dumps(value))
    except ValidationError:
        assert not right
    else:
        assert right


def test_the_limit_of_the_output_leaves_room_for_all_that_is_taken(run) -> None:
    """500 texts of 4,000 characters."""
    assert LONGEST_OUTPUT > 500 * 4100
    began = time.monotonic()
    lines = run("""for n in $(seq 500); do printf '{"name": "%s", "value": "%04000d"}\n' "$n" 0; done""")
    assert len(values(lines)) in range(100, 501), time.monotonic() - began
