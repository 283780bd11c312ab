"""Commands for whoever runs a catalogue, or writes a plug-in for one: try what the service relies on."""

import os
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.text import Text

from datauploader.errors import BadRequest, ConfigurationError
from datauploader.plugins.catalogue.inspection import CatalogueCheck, CheckRequest, Finding, Mark
from datauploader.runtime.config import CONFIG_VARIABLE
from datauploader.wording import safe
from datauploader_client.cli import screen
from datauploader_client.cli.exits import Code
from datauploader_client.cli.options import AsJson

GROUP = "datauploader.catalogue_check"
app = typer.Typer(help="The catalogue of the facility, asked directly.", no_args_is_help=True)
_STYLES = {Mark.HOLDS: "green", Mark.FAILS: "bold red", Mark.NOT_TRIED: "yellow"}
_WIDTH = max(map(len, Mark))


@app.callback()
def group() -> None:
    """Keep `check` a command of a group, though it is the only one."""


@app.command()
def check(
    *,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Use the settings of this file."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Make datasets, fill them, and remove them again.")] = False,
    session: Annotated[
        bool, typer.Option("--session", help="Ask for a person's session at the catalogue, without showing it.")
    ] = False,
    session_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Read the session from this file."),
    ] = None,
    user: Annotated[str, typer.Option(metavar="ID", help="The catalogue's id of a person to test with.")] = "",
    investigation: Annotated[str, typer.Option(metavar="ID", help="The investigation in which to write.")] = "",
    json: AsJson = False,
) -> None:
    """Check what the catalog service relies on: line by line what holds, and what follows from what does not.

    Without --write nothing is changed. Use a test instance, and an investigation made for it.

    Exit codes: 0 all that was tried holds, 1 something does not, 2 the catalogue is not reached or not configured.
    """
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    request = CheckRequest(_session(session_file, ask=session), user, investigation, write)
    counted: Counter[Mark] = Counter()
    with closing(_installed()(request)) as findings:
        for finding in findings:
            counted[finding.mark] += 1
            _show(finding, json=json)
    if not json:
        screen.say(", ".join(f"{counted[mark]} {mark}" for mark in Mark) + ".")
    if counted[Mark.FAILS]:
        raise typer.Exit(Code.FAILED if counted[Mark.HOLDS] else Code.USAGE)


def _session(file: Path | None, *, ask: bool) -> SecretStr | None:
    if file is not None:
        try:
            return SecretStr(file.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise BadRequest(f"{file} cannot be read: {error}") from None
    return SecretStr(screen.ask("Session", hidden=True)) if ask else None


def _installed() -> CatalogueCheck:
    for entry in entry_points(group=GROUP):
        found: CatalogueCheck = entry.load()
        return found
    raise ConfigurationError("the catalog service is not installed here; run this where it is")


def _show(finding: Finding, *, json: bool) -> None:
    if json:
        screen.as_json(asdict(finding))
        return
    line = Text(f"{finding.mark:<{_WIDTH}}  ", style=_STYLES[finding.mark])
    line.append(finding.duty, style="not bold default")
    for text in (finding.seen, finding.therefore and f"→ {finding.therefore}"):
        if text:
            line.append(f"\n{'':<{_WIDTH}}  {safe(text)}", style="not bold default dim")
    screen.console().print(line)
