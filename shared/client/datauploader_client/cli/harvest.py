"""Commands for harvesters and those who write them: try one on a file, run one over what was stored before."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from datauploader.contracts import Destination, FileStored, UploadRequested
from datauploader.contracts.pictures import MOST_OF_UPLOAD
from datauploader.errors import BadRequest
from datauploader.messaging import Start
from datauploader.plugins.harvester import Harvester, HarvesterSettings, Kind, mounts
from datauploader.plugins.harvester.extracting import Extractor, Reading, told
from datauploader.runtime.config import load
from datauploader.runtime.installed import available, find
from datauploader.wording import count, safe, size
from datauploader_client.cli import screen
from datauploader_client.cli.broker import connect_broker
from datauploader_client.cli.event_log import logged, span
from datauploader_client.cli.exits import Code
from datauploader_client.cli.options import AsJson
from datauploader_client.cli.reading_table import chosen, heading, row
from datauploader_client.new_harvester import broker_definitions, write_harvester

app = typer.Typer(
    help="Metadata harvesters: try one on a file, or run it on files that are already stored.", no_args_is_help=True
)

Name = Annotated[
    str,
    typer.Argument(metavar="HARVESTER", help="Name or file as in `datauploader run`: nexus-harvester, harvester.toml."),
]


@app.command(name="try")
def try_(
    name: Name,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", exists=True, help="Files; of a folder those that it would read.")
    ],
    *,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Write the pictures of the files there.")
    ] = None,
    json: AsJson = False,
    table: Annotated[
        str, typer.Option(metavar="NAMES", help="A table in Markdown, with these parameters as columns: title,sample.")
    ] = "",
) -> None:
    """Show what a harvester reads from local files; nothing is published."""
    problems = tried = 0
    kind = _kind(name)
    columns = [word.strip() for word in table.split(",") if word.strip()]
    if columns:
        typer.echo("\n".join(heading(columns)))
    with _extractor(kind) as extractor:
        for file, shown in chosen(kind, files):
            real = file.resolve()
            reading = extractor.read(os.fsencode(real.parent), os.fsencode(real.name))
            tried, problems = tried + 1, problems + bool(reading.problem)
            if columns:
                typer.echo(row(shown, real, reading, columns))
            else:
                _show(str(file), reading, json=json)
            if pictures is not None:
                _write(pictures, file.name, reading)
    if problems:
        raise typer.Exit(Code.PARTLY if problems < tried else Code.FAILED)


@app.command()
def replay(
    name: Name,
    *,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back: 90m, 12h, 7d.")] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and show; publish nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Run a harvester on the files stored since a given time, from the broker's event log."""
    kind, begin = _kind(name), datetime.now(UTC) - span(since)
    own = load(HarvesterSettings)
    files = problems = 0
    with connect_broker() as (bus, settings), _extractor(kind) as extractor:
        places = mounts(settings, own)
        asked: dict[tuple[str, str], Destination] = {}
        sent: Counter[str] = Counter()
        for delivery in logged(bus, Start(first=True)):  # in the whole log; the first request of an upload counts
            if isinstance(data := delivery.event.data, UploadRequested):
                asked.setdefault((data.upload_id, delivery.event.station.key), data.destination)
        for delivery in logged(bus, Start(time=begin)):
            event = delivery.event
            if not isinstance(event.data, FileStored):
                continue
            there = asked.get((event.data.upload_id, event.station.key))
            if there is None:
                strange = f"the log does not say who requested upload {event.data.upload_id}, and where it goes"
            else:
                strange = event.data.forbidden(there)
            for stored in filter(kind.wants, event.data.files):
                reading = Reading(problem=strange) if strange else extractor.stored(places, event, stored)
                files, problems = files + 1, problems + bool(reading.problem)
                _show(stored.file.path, reading, json=json)
                if dry_run or strange:
                    continue
                reading = reading.with_room(MOST_OF_UPLOAD - sent[event.data.upload_id])
                sent[event.data.upload_id] += len(reading.pictures)
                for fact in told(kind, event, reading.found(stored.file)):
                    bus.publish(fact).result(30)
    screen.warn(f"{count(files, 'file')} read, {problems} with a problem{', nothing published' if dry_run else ''}.")
    if problems:
        raise typer.Exit(Code.PARTLY if problems < files else Code.FAILED)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What its files are called, such as spec.")],
    *,
    command: Annotated[
        bool, typer.Option("--command", help="A program of any language that prints JSON, instead of Python.")
    ] = False,
    into: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder; ./NAME-harvester by default.")] = None,
) -> None:
    """Write the folder of a new harvester: it works at once, with tests, an image and what the broker needs."""
    folder = into or Path(f"{name}-harvester")
    written = write_harvester(name, folder, command=command)
    screen.say(f"{folder} has: {', '.join(written)}")
    screen.say(f"{folder / 'README.md'} says how to go on.")


@app.command()
def broker(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the harvester, without -harvester.")],
    *,
    vhost: Annotated[str, typer.Option(help="The virtual host.")] = "/",
) -> None:
    """Print what a broker needs for a harvester: rights, queues and bindings, for `rabbitmqctl import_definitions`."""
    typer.echo(broker_definitions(name, vhost), nl=False)


@contextmanager
def _extractor(kind: Kind) -> Iterator[Extractor]:
    extractor = Extractor(kind, load(HarvesterSettings))
    try:
        yield extractor
    finally:
        extractor.close()


def _kind(name: str) -> Kind:
    _, factory = find(name)
    if not isinstance(factory, Harvester):
        others = [each for each in available() if each != name and each.endswith("harvester")]
        raise BadRequest(f"{safe(name)} is not a harvester", f"Installed here: {', '.join(others) or 'none'}.")
    return factory.kind


def _show(path: str, reading: Reading, *, json: bool) -> None:
    if json:
        parameters = [parameter.model_dump(exclude_none=True) for parameter in reading.parameters]
        found: dict[str, Any] = {"path": path, "parameters": parameters, "problem": reading.problem}
        if reading.pictures:
            found["pictures"] = [picture.model_dump() for picture in reading.pictures]
        screen.as_json(found)
        return
    screen.say(safe(path))
    for parameter in reading.parameters:
        screen.say(f"  {safe(parameter.name)}: {safe(str(parameter.value))} {safe(parameter.units or '')}".rstrip())
    for picture in reading.pictures:
        what = f"{picture.media_type}, {picture.width} x {picture.height}, {size(len(picture.content))}"
        screen.say(f"  picture {safe(picture.title)} ({what})")
    if reading.problem:
        screen.warn(f"  {safe(reading.problem)}")
    elif not reading.parameters and not reading.pictures:
        screen.say("  nothing found")


def _write(folder: Path, name: str, reading: Reading) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(reading.pictures, 1):
        (folder / f"{name}-{number}.{picture.media_type.removeprefix('image/')}").write_bytes(picture.content)
