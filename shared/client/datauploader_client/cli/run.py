"""Commands that concern this installation: run, version."""

from importlib.metadata import distributions
from typing import Annotated

import typer

from datauploader.errors import BadRequest
from datauploader.runtime import crash_points
from datauploader.runtime.config import Settings, load
from datauploader.runtime.installed import available, find
from datauploader.runtime.process import run as run_services
from datauploader_client.cli import screen
from datauploader_client.cli.options import AsJson

app = typer.Typer()
PREFIX = "ceric-datauploader"


@app.command()
def run(
    services: Annotated[
        list[str] | None, typer.Argument(metavar="SERVICE…", help="Services to run; several share one process.")
    ] = None,
) -> None:
    """Run services until SIGTERM or Ctrl-C."""
    if not services:
        raise BadRequest("no service is given", f"Installed here: {', '.join(available()) or 'none'}.")
    for name in services:
        find(name)
    settings = load(Settings)
    crash_points.arm(settings.crash_at)
    raise typer.Exit(run_services(services, settings))


@app.command()
def version(*, json: AsJson = False) -> None:
    """Show the versions of what is installed."""
    found = {each.name: each.version for each in distributions() if each.name.startswith(PREFIX)}
    if json:
        screen.as_json(dict(sorted(found.items())))
        return
    for name, number in sorted(found.items()):
        screen.say(f"{name} {number}")
