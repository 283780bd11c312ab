"""Commands for consumers that are no harvesters, and those who write them: try, replay, new, broker."""

from collections import deque
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from datauploader.contracts.address import matches
from datauploader.contracts.envelope import Event, decode
from datauploader.contracts.model import EventData
from datauploader.contracts.registry import topic
from datauploader.documents.examples import example
from datauploader.errors import BadRequest
from datauploader.messaging import Start
from datauploader.messaging.rights import BrokerUser
from datauploader.plugins.consumer import ConsumerPlugIn, Trial, event_kind, try_event
from datauploader.runtime.installed import available, find
from datauploader.wording import count, safe
from datauploader_client.cli import screen
from datauploader_client.cli.broker import connect_broker
from datauploader_client.cli.event_log import logged, span
from datauploader_client.cli.exits import Code
from datauploader_client.cli.options import AsJson
from datauploader_client.new_consumer import consumer_definitions, write_consumer

app = typer.Typer(
    help="Consumers of events that are no harvesters: try one on a message, or give it past events.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The consumer's name, such as notifier.")]
Events = Annotated[
    str, typer.Option(help="The events that it gets, separated by commas, such as dataset.completed.v1.")
]
ENDING = "-consumer"
VERDICTS = {"done": "handled", "again": "to be tried again", "park": "to be parked for a person"}
WINDOW = 200
"""Messages that may be on their way to the broker at once."""


@app.command(name="try")
def try_(
    name: Name,
    messages: Annotated[
        list[str],
        typer.Argument(metavar="MESSAGE…", help="Files with an event, or names such as dataset.completed.v1."),
    ],
    *,
    json: AsJson = False,
) -> None:
    """Call a consumer's function for messages, without a broker. What the function does, it really does."""
    plug_in, failed = _plug_in(name), 0
    for message in messages:
        trial = try_event(plug_in, _event(message))
        failed += trial.verdict != "done"
        _show(message, trial, json=json)
    if failed:
        raise typer.Exit(Code.PARTLY if failed < len(messages) else Code.FAILED)


@app.command()
def replay(
    name: Name,
    *,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back: 90m, 12h, 7d.")] = "",
    from_offset: Annotated[int | None, typer.Option(min=0, help="From this entry of the event log on.")] = None,
    events: Annotated[
        str, typer.Option(help="The events to give it, for a consumer that is not installed here; separated by commas.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the events only.")] = False,
    json: AsJson = False,
) -> None:
    """Put past events into a consumer's queue, from the broker's event log; what it has handled already it skips."""
    if bool(since) == (from_offset is not None):
        raise BadRequest("a replay needs a beginning", "Give either --since 7d or --from-offset NUMBER.")
    start = Start(time=datetime.now(UTC) - span(since)) if since else Start(offset=from_offset)
    kinds = _kinds(events) if events else _plug_in(name).topics
    queue = BrokerUser.of_consumer(name.removesuffix(ENDING), kinds).queue
    given, sent = 0, deque[Future[None]]()
    with connect_broker() as (bus, _):
        if not bus.queues([queue.name])[0].there:
            raise BadRequest(f"the broker has no queue {queue.name}", "Make it with: ./admin add-consumer")
        for delivery in logged(bus, start):
            if not any(matches(pattern, delivery.event.routing_key) for pattern in queue.bindings):
                continue
            given += 1
            _tell(delivery.offset, delivery.event, json=json)
            if not dry_run:
                sent.append(bus.redeliver(queue, delivery))
            while len(sent) > WINDOW:
                sent.popleft().result(30)
        for one in sent:
            one.result(30)
    screen.warn(f"{count(given, 'event')} {'found, nothing sent' if dry_run else f'given to {queue.name}'}.")


@app.command()
def new(
    name: Name,
    *,
    event: Annotated[str, typer.Option(help="The event that it is called for.")] = "dataset.completed.v1",
    into: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder; ./NAME-consumer by default.")] = None,
) -> None:
    """Write the folder of a new consumer: it works at once, with a test, an image and what the broker needs."""
    folder = into or Path(f"{name}{ENDING}")
    written = write_consumer(name, folder, event)
    screen.say(f"{folder} has: {', '.join(written)}")
    screen.say(f"{folder / 'README.md'} says how to go on.")


@app.command()
def broker(
    name: Name,
    *,
    events: Events,
    log: Annotated[bool, typer.Option("--log", help="It may read the event log as well.")] = False,
    vhost: Annotated[str, typer.Option(help="The virtual host.")] = "/",
) -> None:
    """Print what a broker needs for a consumer: rights, queues and bindings, for `rabbitmqctl import_definitions`."""
    typer.echo(consumer_definitions(name, _kinds(events), vhost, reads_log=log), nl=False)


def _kinds(events: str) -> list[str]:
    kinds = [topic(event_kind(one.strip())) for one in events.split(",") if one.strip()]
    if not kinds:
        raise BadRequest("--events names no event", "Write some, such as dataset.completed.v1,dataset.refused.v1.")
    return kinds


def _plug_in(name: str) -> ConsumerPlugIn[Any]:
    service = f"{name.removesuffix(ENDING)}{ENDING}"
    if service not in available():
        others = [each.removesuffix(ENDING) for each in available() if each.endswith(ENDING)]
        raise BadRequest(f"no consumer {safe(name)} is installed here", f"Installed: {', '.join(others) or 'none'}.")
    _, factory = find(service)
    if not isinstance(factory, ConsumerPlugIn):
        raise BadRequest(f"{safe(service)} is no consumer", "Its entry point must name what consumer(…) has returned.")
    return factory


def _event(message: str) -> Event[EventData]:
    path = Path(message)
    if not path.is_file():
        return example(topic(event_kind(message)))
    return decode(path.read_bytes())


def _show(message: str, trial: Trial, *, json: bool) -> None:
    if json:
        ended = {"message": message, "verdict": trial.verdict, "reason": trial.reason, "delay_s": trial.delay_s}
        screen.as_json(ended | {"log": [{key: str(value) for key, value in line.items()} for line in trial.log]})
        return
    for line in trial.log:
        rest = " ".join(f"{key}={safe(str(value))}" for key, value in line.items() if key not in ("event", "level"))
        screen.say(f"  {line['level']}: {safe(str(line.get('event', '')))} {rest}".rstrip())
    said = f"{message}: {VERDICTS[trial.verdict]}"
    if trial.verdict == "done":
        screen.say(said)
    else:
        after = f" after {trial.delay_s:g} s" if trial.verdict == "again" else ""
        screen.warn(f"{said}{after}: {safe(trial.reason)}")


def _tell(offset: int | None, event: Event[EventData], *, json: bool) -> None:
    if json:
        screen.as_json({
            "offset": offset, "time": event.time.isoformat(), "event": topic(type(event.data)), "id": event.id,
            "upload_id": event.data.upload_id,
        })  # fmt: skip
    else:
        screen.say(f"{offset} {event.time.isoformat(timespec='seconds')} {event.routing_key} {event.id}")
