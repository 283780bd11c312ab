"""Commands for the broker's exchanges, queues and bindings: check, apply, export."""

import json as jsonlib
from typing import Annotated

import typer

from datauploader.errors import BadRequest, ConfigurationError
from datauploader.runtime.config import Settings, load
from datauploader_client.cli import screen
from datauploader_client.cli.exits import Code
from datauploader_client.cli.options import AsJson

app = typer.Typer(help="The broker's exchanges, queues and bindings.", no_args_is_help=True)


def _rabbit(settings: Settings) -> str:
    url = settings.broker.get_secret_value()
    if url.startswith("memory:"):
        raise ConfigurationError(
            "memory:// creates its queues automatically; set DATAUPLOADER_BROKER to amqp://… or amqps://…"
        )
    return url


@app.command()
def check(*, json: AsJson = False) -> None:
    """Show what is missing on the broker, without changing anything."""
    settings = load(Settings)
    url = _rabbit(settings)
    from datauploader.messaging.rabbit.administration import check_topology  # noqa: PLC0415 - memory:// runs without pika

    missing = check_topology(url, settings.all_stations)
    if json:
        screen.as_json({"ok": not missing, "missing": missing})
    else:
        for sentence in missing:
            screen.say(f"Wrong: {sentence}.")
        screen.say("Create it with: datauploader topology apply" if missing else "Nothing is missing.")
    if missing:
        raise typer.Exit(Code.FAILED)


@app.command()
def apply() -> None:
    """Create what is missing on the broker; what exists is not changed."""
    settings = load(Settings)
    url = _rabbit(settings)
    from datauploader.messaging.rabbit.administration import apply_topology  # noqa: PLC0415 - memory:// runs without pika

    apply_topology(url, settings.all_stations)
    screen.say("Nothing is missing.")


@app.command()
def export(
    user: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:ROLE[:WHICH]",
            help="A user's rights, such as ws01:station:elettra.xrd1.ws01, nexus:harvester:nexus or cat:catalog.",
        ),
    ] = None,
    vhost: Annotated[str, typer.Option(help="The virtual host.")] = "/",
) -> None:
    """Print definitions.json, which a broker loads at start. The administrator sets the passwords."""
    from datauploader.messaging.definitions import definitions  # noqa: PLC0415 - memory:// runs without pika
    from datauploader.messaging.rights import BrokerUser  # noqa: PLC0415 - memory:// runs without pika

    users = []
    for text in user or []:
        name, _, role = text.partition(":")
        try:
            users.append(BrokerUser.parse(name, role))
        except ValueError as error:
            remedy = "Write it like ws01:station:elettra.xrd1.ws01 or cat:catalog."
            raise BadRequest(f"{text!r} is not a user of the broker: {error}", remedy) from None
    document = definitions(load(Settings).all_stations, users, vhost=vhost)
    typer.echo(jsonlib.dumps(document, indent=2))
