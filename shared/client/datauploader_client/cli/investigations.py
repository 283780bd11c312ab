"""Commands about what is measured: the investigations of a person, and what a dataset is."""

from typing import Annotated

import typer

from datauploader.values import show_value
from datauploader.wording import local, safe
from datauploader_client.cli import screen
from datauploader_client.cli.credentials import open_gateway
from datauploader_client.cli.options import AsJson, AtGateway, UploadId
from datauploader_client.cli.request import read_parameter

app = typer.Typer()

_COLUMNS = ("Investigation", "Title", "State", "Beamline", "Days", "Principal investigator", "Last used", "Note")
_STATES = {"catalogued": "It is in the catalogue.", "waiting": "It is not yet in the catalogue."}


@app.command()
def investigations(
    text: Annotated[str, typer.Argument(metavar="[TEXT]", help="Only those with all of these words.")] = "",
    *,
    gateway: AtGateway = "",
    json: AsJson = False,
) -> None:
    """List your investigations: today's at this beamline first, then the last used, closed ones at the end."""
    with open_gateway(gateway) as connection:
        answer = connection.investigations(text)
    if json:
        screen.as_json(answer)
    elif answer.items:
        rows = []
        for one in answer.items:
            state, note = ("open", "today" if one.section == "today" else "") if one.open else ("closed", one.reason)
            days = " to ".join(day.isoformat() for day in (one.start, one.end) if day)
            title, used = one.title or one.name, local(one.last_used)
            rows.append((one.id, title, state, one.beamline, days, one.principal_investigator, used, note))
        screen.table(_COLUMNS, rows)
        if answer.total > len(answer.items):
            screen.warn(f"There are {answer.total:,} in total; add search words to find the others.")
    elif text:
        screen.warn("None of your investigations has all of these words.")
    else:
        screen.warn("There is no investigation that you can upload to. Ask your user office.")


@app.command()
def describe(
    upload: UploadId,
    *,
    description: Annotated[str | None, typer.Option(help="New description; if not given, it stays as it is.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "--param", metavar="NAME=VALUE[:UNIT]", help="Metadata; repeatable."),
    ] = None,
    gateway: AtGateway = "",
    json: AsJson = False,
) -> None:
    """Change the description or metadata of a dataset, also after the upload; without options, show them."""
    asked: dict[str, object] = {} if description is None else {"description": description}
    if parameter:
        asked["parameters"] = [read_parameter(each) for each in parameter]
    with open_gateway(gateway) as connection:
        answer = connection.describe(upload, asked) if asked else connection.description(upload)
    if json:
        screen.as_json(answer)
        return
    for line in answer.description.splitlines() or ["(no description)"]:
        screen.say(safe(line))
    rows = [(each.name, show_value(each.value), each.units) for each in answer.parameters]
    if rows:
        screen.table(("Parameter", "Value", "Unit"), rows)
    if answer.state == "refused":
        screen.warn(f"The catalogue refuses it: {safe(answer.refusal)}")
    else:
        screen.warn(_STATES.get(answer.state, ""))
