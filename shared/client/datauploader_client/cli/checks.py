"""Commands that say what is wrong: config check, doctor."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from datauploader.errors import BadRequest, ConfigurationError
from datauploader.runtime.config import ClientSettings, Settings, load
from datauploader.runtime.service import Check
from datauploader.runtime.settings_index import settings_in_use, unknown_variables
from datauploader.wording import safe
from datauploader_client.cli import screen
from datauploader_client.cli.credentials import read_login
from datauploader_client.cli.exits import Code
from datauploader_client.cli.options import AsJson, AtGateway
from datauploader_client.doctor import examine
from datauploader_client.gateway_client import GatewayClient
from datauploader_client.report import write_report

app = typer.Typer()
config = typer.Typer(help="The configuration.", no_args_is_help=True)


@config.command()
def check(*, json: AsJson = False) -> None:
    """Check all settings of what is installed, and show what is wrong."""
    found = list(_configuration())
    _report(found, json=json)
    if not all(each.ok for each in found):
        raise typer.Exit(Code.USAGE)


def _configuration() -> Iterator[Check]:
    for name, kind in settings_in_use().items():
        try:
            load(kind)
        except ConfigurationError as error:
            yield Check(name, ok=False, detail=str(error))
        else:
            yield Check(name, ok=True)
    for variable in unknown_variables(os.environ):
        yield Check(
            variable,
            ok=True,
            detail="this setting is not used: it is misspelt, or belongs to a service that is not installed",
        )


@app.command()
def doctor(
    *,
    gateway: AtGateway = "",
    json: AsJson = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report for troubleshooting, without secrets.")
    ] = None,
) -> None:
    """Check everything that this machine needs, and show what is wrong and what to do."""
    found = list(_configuration())
    if all(each.ok for each in found if each.name in ("common", "client")):
        client = load(ClientSettings)
        stored = read_login(client)
        url = gateway or client.gateway or (stored.gateway if stored else "")
        with (GatewayClient(url) if url else None) or nullcontext() as connection:
            found += examine(load(Settings), connection)
    if report is not None:
        try:
            write_report(report, found)
        except OSError as error:
            raise BadRequest(f"{report} cannot be written: {error.strerror or error}") from None
        if not json:
            screen.say(
                f"Wrote {report}. Read it before you send it: it contains names of folders, files and people, but "
                f"no passwords."
            )
    _report(found, json=json)
    if not all(each.ok for each in found):
        raise typer.Exit(Code.FAILED)


def _report(found: list[Check], *, json: bool) -> None:
    if json:
        checks = [{"name": each.name, "ok": each.ok, "detail": each.detail} for each in found]
        screen.as_json({"ok": all(each.ok for each in found), "checks": checks})
        return
    out = screen.console()
    for each in sorted(found, key=lambda each: each.ok):
        text = Text("ok     " if each.ok else "failed ", style="green" if each.ok else "bold red")
        text.append(each.name, style="not bold default")
        if each.detail:
            text.append(
                "  " + "\n         ".join(safe(line) for line in each.detail.splitlines()),
                style="not bold default dim" if each.ok else "not bold default",
            )
        out.print(text)
