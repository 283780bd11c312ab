"""Commands about the workstations."""

import typer

from datauploader.wording import local, size
from datauploader_client.cli import screen
from datauploader_client.cli.credentials import open_gateway
from datauploader_client.cli.options import AsJson, AtGateway

app = typer.Typer(help="The workstations that files come from.", no_args_is_help=True)


@app.command(name="list")
def list_(*, gateway: AtGateway = "", json: AsJson = False) -> None:
    """List the stations, their services and their problems."""
    with open_gateway(gateway) as connection:
        answer = connection.stations()
    if json:
        screen.as_json(answer)
        return
    rows = [
        (
            station.station,
            f"{service.service} {service.version}",
            "not responding" if station.silent or service.silent else service.state,
            f"{service.backlog_files:,}",
            size(service.backlog_bytes),
            local(station.last_report),
            " ".join(service.troubles),
        )
        for station in answer.items
        for service in station.services
    ]
    if rows:
        columns = ("Station", "Service", "State", "Waiting", "Bytes", "Last report", "Problems")
        screen.table(columns, rows, right=("Waiting", "Bytes"))
    else:
        screen.warn("No station has reported yet.")
