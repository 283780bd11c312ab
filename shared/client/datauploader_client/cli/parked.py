"""Commands for the messages that nobody could handle: list, show, replay, drop; straight on the broker."""

import json as jsonlib
from collections.abc import Sequence
from typing import Annotated

import structlog
import typer

from datauploader.errors import BadRequest, BrokerRefused
from datauploader.messaging import Bus, ParkedMessage
from datauploader.messaging.parked_groups import group
from datauploader.messaging.topology import (
    ASTRAY,
    Queue,
    astray_queue,
    consumer_queue,
    facility_queues,
    harvester_queue,
)
from datauploader.runtime import logging
from datauploader.runtime.config import Settings
from datauploader.runtime.installed import available
from datauploader.wording import count, local, safe
from datauploader_client.cli import screen
from datauploader_client.cli.broker import connect_broker, operator_name
from datauploader_client.cli.exits import Code
from datauploader_client.cli.options import AsJson, Yes

log = structlog.get_logger()

app = typer.Typer(
    help="Parked messages (dead letters): messages that could not be handled, with the reason.", no_args_is_help=True
)

OneQueue = Annotated[
    str,
    typer.Option(
        "--queue",
        "-q",
        help="Only this queue, such as catalog.work; harvester.NAME or consumer.NAME for one not installed here.",
    ),
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID…]", help="Ids as `parked list` shows them.")]
Like = Annotated[
    str,
    typer.Option(
        "--like",
        metavar="ID",
        help="All messages of the same queue and reason as this one.",
    ),
]
PLUG_INS = ("harvester.", "consumer.")
PORTION = 200
"""Messages that are settled, and logged, together."""


def _queues(settings: Settings, only: str) -> list[Queue]:
    """Choose queues: AMQP knows no list of them, so of the plug-ins it is those registered or installed here."""
    registered = settings.registered
    names = dict.fromkeys((*registered.harvesters, *_installed("-harvester")))
    plug_ins = [harvester_queue(name, ()) for name in names]
    names = dict.fromkeys((*(one.name for one in registered.consumers), *_installed("-consumer")))
    plug_ins += [consumer_queue(name) for name in names]
    known = [*facility_queues(settings.all_stations), *plug_ins, astray_queue()]
    if only.startswith(PLUG_INS):
        return [Queue(only, ())]
    if not only:
        return known
    chosen = [queue for queue in known if queue.name == only]
    if not chosen:
        raise BadRequest(f"there is no queue {safe(only)!r}", f"There are: {', '.join(q.name for q in known)}.")
    return chosen


def _installed(ending: str) -> list[str]:
    return [name.removesuffix(ending) for name in available() if name.endswith(ending)]


def _find(bus: Bus, settings: Settings, only: str) -> list[tuple[Queue, ParkedMessage]]:
    return [(queue, message) for queue in _queues(settings, only) for message in _parked(bus, queue, only)]


def _parked(bus: Bus, queue: Queue, only: str) -> Sequence[ParkedMessage]:
    """Look into a queue; one of a plug-in that does not run at this facility holds nothing, unless it was named.

    Nor is there anything astray on a broker whose definitions are of a former release.
    """
    try:
        return bus.parked(queue)
    except BrokerRefused:
        if only or not queue.name.startswith((*PLUG_INS, ASTRAY)):
            raise
        return ()


@app.command(name="list")
def list_(*, queue: OneQueue = "", json: AsJson = False) -> None:
    """List parked messages, without removing them; with --json, one JSON object per line."""
    with connect_broker() as (bus, settings):
        found = _find(bus, settings, queue)
    if json:
        for _, message in found:
            screen.as_json(_document(message))
    elif found:
        rows = [(m.id, m.queue, local(m.time), str(m.attempts), m.reason) for _, m in found]
        screen.table(("Id", "Queue", "Parked", "Attempts", "Reason"), rows, right=("Attempts",))
    else:
        screen.warn("No messages are parked.")


def _document(message: ParkedMessage) -> dict[str, object]:
    return {
        "id": message.id,
        "queue": message.queue,
        "reason": message.reason,
        "time": message.time.isoformat(),
        "attempts": message.attempts,
        "replayable": message.replayable,
        "trace_id": message.trace_id,
        "body": message.body.decode("utf-8", "backslashreplace"),
    }


@app.command()
def groups(*, queue: OneQueue = "", json: AsJson = False) -> None:
    """List parked messages by queue and reason, the most first; with --json, one JSON object per line."""
    with connect_broker() as (bus, settings):
        found = group((q.name, message) for q, message in _find(bus, settings, queue))
    if json:
        for one in found:
            screen.as_json(
                {"queue": one.queue, "reason": one.reason, "messages": len(one.ids), "replayable": one.replayable,
                 "like": one.ids[0]}
            )  # fmt: skip
    elif found:
        rows = [(str(len(one.ids)), one.queue, local(one.examples[0].time), one.ids[0], one.reason) for one in found]
        screen.table(("Messages", "Queue", "Oldest", "Its id", "Reason"), rows, right=("Messages",))
    else:
        screen.warn("No messages are parked.")


@app.command()
def show(id: Annotated[str, typer.Argument(metavar="ID")], *, queue: OneQueue = "", json: AsJson = False) -> None:  # noqa: A002 - the message's own word
    """Show one parked message with its whole body."""
    with connect_broker() as (bus, settings):
        found = [message for _, message in _find(bus, settings, queue) if message.id == id]
    if not found:
        raise BadRequest(
            f"there is no parked message with the id {safe(id)}", "List the ids with: datauploader parked list"
        )
    for message in found:
        document = _document(message)
        if json:
            screen.as_json(document)
            continue
        body = str(document.pop("body"))
        for name, value in document.items():
            screen.say(f"{name:9} {safe(str(value))}")
        try:
            pretty = jsonlib.dumps(jsonlib.loads(body), indent=2)
        except (ValueError, RecursionError):
            pretty = safe(body)
        screen.say(pretty)


@app.command()
def replay(ids: Ids = None, *, like: Like = "", queue: OneQueue = "", json: AsJson = False) -> None:
    """Put parked messages back into their queues; each is handled again. Fix the cause first."""
    _settle(_chosen(ids, like), like, queue, "replayed", json=json)


@app.command()
def drop(ids: Ids = None, *, like: Like = "", queue: OneQueue = "", yes: Yes = False, json: AsJson = False) -> None:
    """Delete parked messages permanently. Asks first."""
    chosen = _chosen(ids, like)
    what = count(len(set(chosen)), "message") if not like else f"all messages with the queue and reason of {safe(like)}"
    if not yes and not typer.confirm(f"Delete {what} permanently?", err=True):
        raise typer.Exit(Code.FAILED)
    _settle(chosen, like, queue, "dropped", json=json)


def _chosen(ids: list[str] | None, like: str) -> list[str]:
    if bool(ids) == bool(like):
        raise BadRequest("name either ids, or one id with --like", "`datauploader parked groups` lists them by reason.")
    return ids or [like]


def _settle(ids: list[str], like: str, only: str, verb: str, *, json: bool) -> None:
    done, missing = 0, set(ids)
    with connect_broker() as (bus, settings):
        logging.configure("cli", as_json=settings.log_json)
        for queue in _queues(settings, only):  # an event may lie in several
            parked = [m for m in _parked(bus, queue, only) if m.replayable or verb != "replayed"]
            here = sorted({message.id for message in parked} & set(ids))
            if not here:
                continue
            missing -= set(here)
            if like:
                groups = group((queue.name, message) for message in parked)
                here = sorted({ident for one in groups if like in one.ids for ident in one.ids})
            for first in range(0, len(here), PORTION):
                portion = here[first : first + PORTION]
                number = bus.replay_parked(queue, portion) if verb == "replayed" else bus.drop_parked(queue, portion)
                log.info(
                    "parked_messages_settled", verb=verb, queue=queue.name, ids=portion, messages=number,
                    by=operator_name(),
                )  # fmt: skip
                done += number
    if json:
        screen.as_json({verb: done, "not_found": sorted(missing)})
    else:
        screen.say(f"{count(done, 'message')} {verb}.")
        for each in sorted(missing):
            screen.warn(f"There is no parked message with the id {safe(each)} that can be {verb}.")
    if missing:
        raise typer.Exit(Code.PARTLY if done else Code.FAILED)
