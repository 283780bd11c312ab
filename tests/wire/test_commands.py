"""Every command of the documents: the program takes its words, and a test runs it or the document says why none does.

A block of commands is followed by a mark, which readers do not see: `<!-- run: tests/… -->` names the tests that run
them, with `::` and a function where that helps; `<!-- not run: … -->` gives the reason.
"""

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
import typer

from datauploader_client.cli.app import app

TREE = Path(__file__).parents[2]
DOCUMENTS = [
    path.relative_to(TREE).as_posix()
    for path in (*sorted((TREE / "docs").rglob("*.md")), TREE / "README.md", TREE / "CONTRIBUTING.md")
    if path.parent.name not in ("adr", "reference", "schemas") and "node_modules" not in path.parts
]
BLOCK = re.compile(r"(?ms)^ *```(?:sh|bash|console|bat|powershell)\n(.*?)^ *```\n(?:\s*<!-- (.*?) -->)?")
TASKS = {*runpy.run_path(str(TREE / "deploy" / "tasks.py"))["TASKS"], "help"}
OURS = {"datauploader": [], "./admin": ["admin"], "./install": ["admin", "install"]}
"""What starts the program, and the words that are said for the person."""
CONTAINED = ("datauploader", "operator")
"""The same within containers; the service `operator` is the program itself."""
PROGRAM: Any = typer.main.get_command(app)
REFUSED: type[Any] = typer.BadParameter.__bases__[0]
"""What the program raises when it does not take words: the parent of all such errors."""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_block_of_commands_is_run_by_a_test_or_says_why_not(name: str) -> None:
    """A command that nobody runs is the first that is wrong."""
    for code, mark in BLOCK.findall((TREE / name).read_text("utf-8")):
        kind, _, said = mark.partition(": ")
        first = code.strip().splitlines()[0]
        assert kind in ("run", "not run"), (
            f"{name}: below the block that begins with `{first}`, write <!-- run: tests/… --> with the test that runs "
            "it, or <!-- not run: and the reason -->"
        )
        assert said, f"{name}: {mark}"
        for test in said.split(", ") if kind == "run" else ():
            path, _, function = test.partition("::")
            assert (TREE / path).exists(), f"{name}: there is no {path}"
            assert not function or f"def {function}(" in (TREE / path).read_text("utf-8"), f"{name}: there is no {test}"


def commands(text: str) -> Iterator[list[str]]:
    """Find the commands in the blocks of a document, and those within its sentences, of which short ones are names."""
    for code, _ in BLOCK.findall(text):
        for line in re.sub(r"\$\([^)]*\)", "X", code.replace("\\\n", " ")).splitlines():
            for part in re.split(r"\s(?:\||&&|;)\s|;$", line.strip()):
                yield shlex.split(re.split(r" [<>] ", part)[0], comments=True, posix="\\" not in part)
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", text)
    for span in re.findall(r"`((?:datauploader|\./admin|\./install|\./dev) [^`…\[\]|]+)`", prose):
        words = shlex.split(span)
        yield words if words[0] == "./dev" or len(words) > 3 else [*words, "--help"]


def words_of_ours(command: list[str]) -> list[str] | None:
    """Return what the program is told in a command, also within a container; None where it is another's."""
    while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
        command = command[1:]
    if command[:2] == ["docker", "compose"]:
        at = next((at for at, word in enumerate(command) if word in CONTAINED), None)
        return None if at is None else command[at + 1 :]
    first = "".join(command[:1]).strip('"')
    known = OURS.get(PureWindowsPath(first).name if "\\" in first else first)
    return None if known is None else known + command[1:]


def complaint(words: list[str]) -> str:
    """Say what the program has against these words; "" where it takes them. Nothing is run."""
    command, context = PROGRAM, None
    try:
        while command is not None:
            context = command.make_context("", list(words), parent=context)
            rest = [*context._protected_args, *context.args] if hasattr(command, "resolve_command") else []
            _, command, words = command.resolve_command(context, rest) if rest else ("", None, [])
    except typer.Exit:  # the end of --help
        return ""
    except REFUSED as problem:
        return "" if "does not exist" in problem.message else f"{type(problem).__name__}: {problem.message}"
    return ""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_program_takes_every_command_of_the_documents(name: str) -> None:
    """A command or an option that was renamed is found where it is written."""
    wrong = []
    for command in commands((TREE / name).read_text("utf-8")):
        if command[:1] == ["./dev"] and not set(command[1:2]) <= TASKS:
            wrong.append(f"{shlex.join(command)}: ./dev has no such task")
        words = words_of_ours(command)
        if words is not None and (problem := complaint(words)):
            wrong.append(f"{shlex.join(command)}: {problem}")
    assert wrong == []


def test_the_check_reads_commands_and_tells_wrong_ones() -> None:
    """Else it would say nothing."""
    block = "datauploader close U \\\n   --json  # ends it\ndocker compose exec x datauploader doctor | grep a\n"
    found = list(commands(f"```sh\n{block}```\nSay `datauploader status` or `datauploader status …`.\n"))
    assert [words_of_ours(one) for one in found] == [["close", "U", "--json"], ["doctor"], None, ["status", "--help"]]
    assert complaint(["close", "U", "--json"]) == ""
    assert "--nonsense" in complaint(["close", "U", "--nonsense"])
    assert complaint(["admin", "no-such-command"])
    assert complaint(["close"])
