"""Commands that keep a server and bring it back: backup, restore."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from datauploader.errors import BackupError, BadRequest
from datauploader.messaging import Bus
from datauploader.messaging.memory.log import log_file_of
from datauploader.runtime import backup as backups
from datauploader.runtime.config import Settings, load
from datauploader.wording import count
from datauploader_client.cli import screen
from datauploader_client.cli.broker import connect_broker

app = typer.Typer()
StatesOption = Annotated[
    Path | None, typer.Option("--states", help="Folder with the state files, or with one folder for each service.")
]
LogOption = Annotated[bool, typer.Option(help="Include the event log, which history and receipts are made from.")]


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write; it contains secrets.")],
    *,
    states: StatesOption = None,
    keep: Annotated[list[Path] | None, typer.Option(help="Another file or folder to include, such as .env.")] = None,
    log: LogOption = True,
) -> None:
    """Save state files, the event log and configuration in one file; services may keep running."""
    settings = load(Settings)
    missing = [str(path) for path in keep or [] if not path.exists()]
    if missing:
        raise BadRequest(f"{missing[0]} does not exist", "Give files and folders that exist, or omit --keep.")
    with _bus(log=log) as bus:
        made = backups.make(file, states or settings.state_dir, keep or [], bus)
    events = "without the event log" if made.events is None else f"with {count(made.events, 'event')} of the log"
    screen.say(f"{file} holds {count(len(made.members), 'file')}, {events}.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive that `backup` wrote.")],
    *,
    states: StatesOption = None,
    files: Annotated[Path | None, typer.Option(help="Restore what was saved with --keep below this folder.")] = None,
    log: LogOption = True,
) -> None:
    """Restore a backup before the services are started; existing files are not overwritten."""
    settings = load(Settings)
    if not file.is_file():
        raise BackupError(f"{file} does not exist")
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".restore-") as folder:  # /tmp may be small
        restored = backups.Restored(file, Path(folder))
        with_log = log and restored.manifest.events is not None
        if with_log:  # never into the log that they came from; what stations have said since is no hindrance
            first: list[datetime] = []
            with connect_broker() as (bus, _):
                backups.read_log(bus, lambda event: first.append(event.time), most=1)
            if first and first[0] < restored.manifest.made:
                raise BackupError(
                    "the broker's event log is not lost: it holds events from before the backup, and services read it "
                    "by themselves; restore without it (--no-log)"
                )
        put = restored.states(states or settings.state_dir)
        put += restored.files(files) if files is not None else []
        events = 0
        if with_log:
            from datauploader.messaging.rabbit.administration import (  # noqa: PLC0415 - memory:// runs without pika
                restore_log,
            )

            events = restore_log(settings.broker.get_secret_value(), restored.events())
    screen.say(f"{count(len(put), 'file')} and {count(events, 'event')} of the log are restored. Start the services.")


@contextmanager
def _bus(*, log: bool) -> Iterator[Bus | None]:
    url = load(Settings).broker.get_secret_value()
    if not log or url == "memory://" or log_file_of(url):  # a process's own log lies beside its states
        yield None
        return
    with connect_broker() as (bus, _):
        yield bus
