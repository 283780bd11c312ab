"""Where a command's words go, for people or as JSON, errors beside them; and where one line is asked for."""

import json
import sys
from collections.abc import Iterable, Sequence

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from datauploader.contracts.rest.model import RestModel
from datauploader.errors import BadRequest
from datauploader.wording import safe
from datauploader_client.cli.exits import code_for

PLAIN_WIDTH = 160
"""Columns where there is no terminal to ask."""


def console(*, stderr: bool = False) -> Console:
    """Open a stream of text; nothing in it is taken for markup."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width, soft_wrap=not stream.isatty())


def say(text: str) -> None:
    """Print one sentence for people."""
    console().print(Text(text))


def warn(text: str) -> None:
    """Print one sentence beside the output."""
    console(stderr=True).print(Text(text, style="yellow"))


def ask(what: str, *, hidden: bool) -> str:
    """Ask a person for one line, or read it from a program; what is hidden is not shown while it is typed."""
    if sys.stdin.isatty():
        return str(typer.prompt(what, hide_input=hidden, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise BadRequest(f"{what} was expected on standard input, but nothing was received")
    return line


def link(address: str) -> None:
    """Print an address beside the output, on one line however long it is, so that it can be clicked and copied."""
    console(stderr=True).print(Text(address), soft_wrap=True)


def as_json(value: RestModel | dict[str, object]) -> None:
    """Print one JSON object on one line, at once."""
    text = value.model_dump_json() if isinstance(value, RestModel) else json.dumps(value, default=str)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print rows under their headings; in a pipe tab-separated, so that `cut` and `awk` can read them."""
    out = console()
    if not out.is_terminal:
        for row in rows:
            sys.stdout.write("\t".join(safe(cell) for cell in row) + "\n")
        return
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(safe(cell)) for cell in row))
    out.print(grid)


def complain(error: Exception, *, machine: bool) -> None:
    """Print what went wrong and what to do about it."""
    hint = getattr(error, "hint", "")
    if machine:
        document = {"error": str(error), "hint": hint, "exit": int(code_for(error))}
        sys.stderr.write(json.dumps(document) + "\n")
        return
    out = console(stderr=True)
    lines = [safe(line) for line in str(error).splitlines()] or [type(error).__name__]
    out.print(Text(f"Error: {lines[0]}", style="bold red"))
    for line in lines[1:]:
        out.print(Text(f"  {line}"))
    if hint:
        out.print(Text(safe(hint)))
