"""The converter with real programs: how each end is told, within which bounds, and that nothing stays behind."""

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from datauploader.plugins.consumer import HandlerContext, Retry
from datauploader_consumer_converter.app import ConverterSettings, app, convert
from datauploader_consumer_converter.command import MOST_LINES
from datauploader_testing import builders
from datauploader_testing.consumers import hand
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.posix
DONE = builders.dataset_completed()


def python(code: str, *words: str, **settings: object) -> ConverterSettings:
    """Configure a command that is some Python, in which braces are written as they are."""
    escaped = code.replace("{", "{{").replace("}", "}}")
    return ConverterSettings(command=(sys.executable, "-c", escaped, *words), **settings)


def test_the_command_gets_what_it_asks_for_and_its_output_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started in its folder, and sees no setting of ours."""
    monkeypatch.setenv("DATAUPLOADER_BROKER", "amqp://consumer.converter:s3cr3t@broker/x")
    code = (
        "import os, sys; print(*sys.argv[1:]); print(os.getcwd(), file=sys.stderr)\n"
        "print([name for name in os.environ if name.startswith('DATAUPLOADER_')])"
    )
    words = ("{dataset_id}", "{upload_id}-{station}", "--key={key}", "; touch x")
    event = builders.event(DONE, id="id-1")
    trial = hand(app, event, python(code, *words, folder=tmp_path))
    assert trial.verdict == "done", trial.reason
    said = {line["line"] for line in trial.log if line["event"] == "command_says"}
    assert said == {"42 upload-0001-elettra.xrd1.ws01 --key=id-1 ; touch x", str(tmp_path), "[]"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "verdict", "delay_s", "why"),
    [
        ("print('no space'); raise SystemExit(3)", "again", 1, "ended with exit code 3: no space"),
        ("print('come later'); raise SystemExit(75)", "again", 600, "asks to be started again later: come later"),
        ("import os; os.kill(os.getpid(), 9)", "again", 1, "ended with exit code -9: it says nothing"),
        ("while True: pass", "again", 1, "it took longer than 0.5 s and was ended"),
    ],
    ids=["failure", "later", "killed", "endless"],
)
def test_how_a_command_ends_is_told(code: str, verdict: str, delay_s: float, why: str) -> None:
    """An error counts as a failure, of which the fifth is parked with the last line; 75 asks for more time."""
    trial = hand(app, DONE, python(code, seconds=0.5 if "while" in code else 60))
    assert (trial.verdict, trial.delay_s) == (verdict, delay_s)
    assert why in trial.reason


def test_a_program_that_is_not_there_is_told() -> None:
    """By its name."""
    trial = hand(app, DONE, ConverterSettings(command=("/no/such/program",)))
    assert "/no/such/program cannot be started: No such file or directory" in trial.reason


def test_output_without_end_is_cut_and_its_last_line_kept() -> None:
    """Neither a line that never ends nor millions of them fill the log."""
    trial = hand(app, DONE, python(f"print('x' * 5000)\nfor n in range({MOST_LINES}): print(n)\nraise SystemExit(1)"))
    said = [line for line in trial.log if line["event"] == "command_says"]
    assert len(said) == MOST_LINES
    assert max(len(line["line"]) for line in said) == 1000
    assert str(MOST_LINES - 1) in trial.reason


def test_what_the_command_has_started_ends_with_it(tmp_path: Path) -> None:
    """When it ends in order, when its time is over, and when the service stops."""
    child = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); open(sys.argv[1], 'w').write(str(p.pid))"
    hand(app, DONE, python(child, str(tmp_path / "a")))
    stopping = threading.Event()
    settings = python(f"{child}\nwhile True: pass", str(tmp_path / "b"))
    context = replace(HandlerContext(settings, "key"), stopping=stopping)
    watcher = threading.Timer(0, lambda: (eventually((tmp_path / "b").exists, what="it runs"), stopping.set()))
    watcher.start()
    with pytest.raises(Retry, match="the service stops"):
        convert(builders.event(DONE), context)
    watcher.join()

    def gone(name: str) -> bool:
        """Tell whether a process has ended; init may not have taken notice of it yet."""
        status = Path("/proc") / (tmp_path / name).read_text() / "stat"
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"

    for name in "ab":
        eventually(lambda name=name: gone(name), what="what it has started ends")


@pytest.mark.parametrize("word", ["{file}", "{", "{upload_id.x}", "{0}"])
def test_a_command_that_asks_for_what_there_is_not_is_told_at_the_start(word: str) -> None:
    """Not when the first dataset is complete."""
    with pytest.raises(ValidationError, match=r"can hold \{upload_id\}, \{dataset_id\}"):
        ConverterSettings(command=("convert", word))
