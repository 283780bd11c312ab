"""The command that runs everything on one workstation: desktop."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Protocol

import typer

from datauploader.errors import ConfigurationError

app = typer.Typer()
GROUP = "datauploader.desktop"


class Run(Protocol):
    """Runs the desktop; what the entry point of the group `datauploader.desktop` names."""

    def __call__(self, folder: Path | None, port: int | None, *, browse: bool, end: bool, say: "Say") -> int:
        """Run until it is quit, or have the one that runs end; return the exit code."""


class Say(Protocol):
    """Tells the person at the terminal a sentence."""

    def __call__(self, sentence: str) -> None:
        """Print it."""


@app.command()
def desktop(
    *,
    folder: Annotated[Path | None, typer.Option(help="Folder for configuration and state.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the page; 0 for any free port.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    quit: Annotated[  # noqa: A002
        bool, typer.Option("--quit", help="Stop the running DataUploader, and wait until it has stopped.")
    ] = False,
) -> None:
    """Run everything on this computer, without a server; the page opens in the browser."""
    for entry in entry_points(group=GROUP):
        run: Run = entry.load()
        raise typer.Exit(run(folder, port, browse=browser, end=quit, say=_say))
    raise ConfigurationError(
        "the desktop is not installed here; install it with: pipx install ceric-datauploader-desktop"
    )


def _say(sentence: str) -> None:
    typer.echo(sentence)  # rich would break a long link into lines
