"""Commands for harvesters and those who write them: try one on a file, run one over what was stored before."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from datauploader.cli import screen
from datauploader.cli.broker import reached
from datauploader.cli.exits import Code
from datauploader.cli.options import AsJson
from datauploader.config import load
from datauploader.contracts import FileStored, Parameter
from datauploader.errors import BadRequest
from datauploader.harvest import Harvester, HarvesterSettings, Kind, extract, mounts, read_file, told
from datauploader.messaging import Bus, Delivery, Start
from datauploader.service import available, find
from datauploader.wording import count, safe

app = typer.Typer(help="Metadata harvesters: try one on a file, or on what was stored before.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="HARVESTER", help="As `datauploader run` calls it: nexus-harvester.")]
UNITS_S = {"m": 60, "h": 3600, "d": 86400}
QUIET_S = 3.0
"""The end of the event log is reached when nothing has come for so long."""


@app.command(name="try")
def try_(
    name: Name,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", exists=True, dir_okay=False)],
    *,
    json: AsJson = False,
) -> None:
    """Show what a harvester reads in files here; nothing is published."""
    kind = _kind(name)
    problems = 0
    for file in files:
        parameters, problem = read_file(kind, file)
        problems += bool(problem)
        _show(str(file), parameters, problem, json=json)
    if problems:
        raise typer.Exit(Code.PARTLY if problems < len(files) else Code.FAILED)


@app.command()
def replay(
    name: Name,
    *,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back: 90m, 12h, 7d.")] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and show; publish nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Run a harvester over the files that were stored since then, by the broker's event log."""
    kind, begin = _kind(name), datetime.now(UTC) - _span(since)
    own = load(HarvesterSettings)
    files = problems = 0
    with reached() as (bus, settings):
        places = mounts(settings, own)
        for delivery in _logged(bus, begin):
            stored = delivery.event.data
            if not isinstance(stored, FileStored):
                continue
            for file in filter(kind.wants, stored.files):
                found = extract(kind, places, delivery.event, file)
                files, problems = files + 1, problems + bool(found.problem)
                _show(found.file.path, found.parameters, found.problem, json=json)
                for fact in () if dry_run else told(kind, delivery.event, found):
                    bus.publish(fact).result(30)
    screen.warn(f"{count(files, 'file')} read, {problems} with a problem{', nothing published' if dry_run else ''}.")
    if problems:
        raise typer.Exit(Code.PARTLY if problems < files else Code.FAILED)


def _kind(name: str) -> Kind:
    factory = find(name)
    if not isinstance(factory, Harvester):
        others = [each for each in available() if each != name and each.endswith("harvester")]
        raise BadRequest(f"{safe(name)} is no harvester", f"Installed here: {', '.join(others) or 'none'}.")
    return factory.kind


def _span(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS_S or not number.isdigit():
        raise BadRequest(f"--since {safe(text)} is no time span", "Write a number and m, h or d, such as 7d.")
    return timedelta(seconds=int(number) * UNITS_S[unit])


def _logged(bus: Bus, begin: datetime) -> Iterator[Delivery]:
    """Yield what the event log holds from then on, to its end.

    Raises:
        MessagingError: the log could not be read, or not to its end.
    """
    arrived, waiting = threading.Condition(), list[Delivery]()

    def keep(delivery: Delivery) -> None:
        with arrived:
            waiting.append(delivery)
            arrived.notify()

    consumer = bus.replay(Start(time=begin), keep)
    try:
        last = time.monotonic()
        while time.monotonic() - last < QUIET_S:
            with arrived:
                arrived.wait_for(lambda: waiting, QUIET_S)
                batch, waiting[:] = list(waiting), []
            for delivery in batch:
                yield delivery
                last = time.monotonic()
        if consumer.trouble is not None:  # silence was no end of the log
            raise consumer.trouble
    finally:
        consumer.stop(2)


def _show(path: str, parameters: tuple[Parameter, ...], problem: str, *, json: bool) -> None:
    if json:
        found = [parameter.model_dump(exclude_none=True) for parameter in parameters]
        screen.as_json({"path": path, "parameters": found, "problem": problem})
        return
    screen.say(safe(path))
    for parameter in parameters:
        screen.say(f"  {safe(parameter.name)}: {safe(str(parameter.value))} {safe(parameter.units or '')}".rstrip())
    if problem:
        screen.warn(f"  {safe(problem)}")
