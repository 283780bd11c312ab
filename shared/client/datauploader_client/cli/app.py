"""The program `datauploader`: its commands in the order of a day's work, and the end of every error."""

import os
import sys
from collections.abc import Sequence

import typer

from datauploader.errors import DataUploaderError
from datauploader.runtime import logging
from datauploader_client.cli import (
    account,
    admin,
    backup,
    catalogue,
    checks,
    consumer,
    desktop,
    documents,
    harvest,
    investigations,
    parked,
    request,
    run,
    screen,
    stations,
    topology,
    uploads,
    verify,
    watch,
)
from datauploader_client.cli.exits import Code, code_for

DEBUG = "DATAUPLOADER_DEBUG"

app = typer.Typer(
    name="datauploader",
    help="Upload instrument data to the facility's storage and catalogue, and verify it.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 partly done, 4 not allowed, 5 unreachable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group in (account, investigations, request, uploads, watch, verify):
    app.add_typer(group.app)
app.add_typer(stations.app, name="station")
app.add_typer(parked.app, name="parked")
app.add_typer(harvest.app, name="harvest")
app.add_typer(consumer.app, name="consumer")
app.add_typer(topology.app, name="topology")
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(admin.app, name="admin")
app.add_typer(documents.app, name="documents", hidden=True)
for group in (checks, run, backup, desktop):
    app.add_typer(group.app)
app.add_typer(checks.config, name="config")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # a terminal without UTF-8 shows an escape, not a traceback
    logging.configure("cli", level="ERROR")  # what commands print is theirs alone; `run` says more
    try:
        app(args=given, prog_name="datauploader")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Code.FAILED
    except DataUploaderError as error:
        screen.complain(error, machine="--json" in given)
        return code_for(error)
    except KeyboardInterrupt:
        return Code.INTERRUPTED
    except Exception as error:  # the end of the program: people get a sentence, not a traceback
        if os.environ.get(DEBUG):
            raise
        problem = DataUploaderError(
            f"an unexpected error occurred ({type(error).__name__}: {error}); "
            f"please report it with what `{DEBUG}=1` shows"
        )
        screen.complain(problem, machine="--json" in given)
        return Code.FAILED
    return Code.DONE
