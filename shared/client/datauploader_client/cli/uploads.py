"""Commands about uploads that are there: status, files, close, pause, resume, cancel, retry."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from datauploader.contracts.paths import FilePath
from datauploader.contracts.rest.files import File
from datauploader.contracts.uploads import Action
from datauploader.errors import BadRequest, RequestRefused, UploadNotFound
from datauploader.wording import TIMING_COLUMNS, lasting, local, safe, size, state, step, timing_notes
from datauploader_client.cli import screen
from datauploader_client.cli.credentials import open_gateway
from datauploader_client.cli.exits import upload_code
from datauploader_client.cli.options import AsJson, AtGateway, UploadId
from datauploader_client.cli.progress import draw_upload
from datauploader_client.gateway_client import GatewayClient

app = typer.Typer()


@app.command()
def status(
    upload: Annotated[str, typer.Argument(metavar="[UPLOAD]", help="One upload; if not given, the latest ones.")] = "",
    *,
    only: Annotated[str, typer.Option("--state", help="Only uploads in this state.")] = "",
    most: Annotated[int, typer.Option("--most", min=1, max=500, help="How many uploads to list.")] = 20,
    timing: Annotated[bool, typer.Option("--timing", help="Show where the time of its files goes.")] = False,
    gateway: AtGateway = "",
    json: AsJson = False,
) -> None:
    """Show one upload, or the latest ones. Exit code for one upload: 0 no problem, 1 failed, 3 partly failed."""
    if timing and not upload:
        raise BadRequest("Say which upload's times are to be shown: datauploader status UPLOAD --timing")
    with open_gateway(gateway) as connection:
        if not upload:
            _list(connection, only, most, json=json)
            return
        answer = connection.upload(upload)
        if timing:
            _show_timing(connection, upload, json=json)
        elif json:
            screen.as_json(answer)
        else:
            failed = connection.files(upload, "failed", limit=5).items if answer.counts.failed.files else ()
            screen.console().print(draw_upload(answer, failed))
    raise typer.Exit(upload_code(answer))


def _show_timing(gateway: GatewayClient, upload: str, *, json: bool) -> None:
    try:
        found = gateway.timing(upload)
    except UploadNotFound as error:  # the upload is there
        raise RequestRefused("this gateway is too old to tell the times of an upload", "Update the gateway.") from error
    if json:
        screen.as_json(found)
        return
    rows = [
        (*step(one), f"{one.files:,}", *(lasting(seconds) for seconds in (one.p50_s, one.p95_s, one.max_s)))
        for one in found.steps
    ]
    if rows:
        screen.table(TIMING_COLUMNS, rows, right=TIMING_COLUMNS[2:])
    for note in timing_notes(found):
        screen.warn(note)


def _list(gateway: GatewayClient, only: str, most: int, *, json: bool) -> None:
    page = gateway.uploads(limit=most, **({"state": only} if only else {}))
    if json:
        screen.as_json(page)
    elif page.items:
        right = ("Files", "Size", "Failed")
        columns = ("Upload", "Dataset", "Investigation", "State", "Files", "Size", "Failed", "Started")
        rows = []
        for upload in page.items:
            counts = upload.counts
            done = f"{counts.catalogued.files:,}/{counts.found.files:,}"
            failed = f"{counts.failed.files:,}" if counts.failed.files else ""
            rows.append(
                (
                    upload.id, upload.dataset, upload.investigation, state(upload), done, size(counts.found.bytes),
                    failed, local(upload.created),
                )
            )  # fmt: skip
        screen.table(columns, rows, right)
    else:
        screen.warn("There are no uploads yet.")


@app.command()
def files(
    upload: UploadId,
    *,
    only: Annotated[str, typer.Option("--state", help="Only files in this state, such as failed.")] = "",
    gateway: AtGateway = "",
    json: AsJson = False,
) -> None:
    """List the files of an upload, failed ones first; with --json, one JSON object per line."""
    with open_gateway(gateway) as connection:
        found = _files(connection, upload, only)
        if json:
            for file in found:
                screen.as_json(file)
            return
        rows = []
        for file in found:
            metadata = f"Metadata: {file.metadata_problem}" if file.metadata_problem else ""
            happened = " ".join(part for part in (file.detail, file.hint, metadata) if part)
            rows.append((file.state, size(file.size), file.path, happened))
        screen.table(("State", "Size", "Path", "What happened"), rows, right=("Size",))


def _files(gateway: GatewayClient, upload: str, only: str) -> Iterator[File]:
    after = None
    while True:
        page = gateway.files(upload, only, after)
        yield from page.items
        if (after := page.next) is None:
            return


@app.command()
def close(upload: UploadId, *, gateway: AtGateway = "", json: AsJson = False) -> None:
    """Close a sync upload: files written so far are uploaded, later ones are not."""
    _control(upload, "close", "is being closed", gateway, json=json)


@app.command()
def pause(upload: UploadId, *, gateway: AtGateway = "", json: AsJson = False) -> None:
    """Pause an upload; nothing is lost."""
    _control(upload, "pause", "is paused", gateway, json=json)


@app.command()
def resume(upload: UploadId, *, gateway: AtGateway = "", json: AsJson = False) -> None:
    """Resume a paused upload."""
    _control(upload, "resume", "continues", gateway, json=json)


@app.command()
def cancel(upload: UploadId, *, gateway: AtGateway = "", json: AsJson = False) -> None:
    """Cancel an upload permanently; stored files and local files are kept."""
    _control(upload, "cancel", "is being cancelled", gateway, json=json)


@app.command()
def retry(upload: UploadId, *, gateway: AtGateway = "", json: AsJson = False) -> None:
    """Retry the failed files of an upload, and only these."""
    _control(upload, "retry", "retries its failed files", gateway, json=json)


Paths = Annotated[list[str], typer.Argument(help="Paths of the files, relative to the folder of the upload.")]


@app.command()
def take(upload: UploadId, paths: Paths, *, gateway: AtGateway = "", json: AsJson = False) -> None:
    """Upload files as they are now, although a program still writes them after the upload was closed."""
    _control(upload, "take", "uploads them as they are now", gateway, json=json, paths=paths)


@app.command(name="leave-out")
def leave_out(upload: UploadId, paths: Paths, *, gateway: AtGateway = "", json: AsJson = False) -> None:
    """Leave out files that a program still writes after the upload was closed."""
    _control(upload, "leave-out", "leaves them out", gateway, json=json, paths=paths)


def _control(
    upload: str, action: Action, words: str, gateway: str, *, json: bool, paths: Sequence[str] = ()
) -> None:  # fmt: skip
    with open_gateway(gateway) as connection:
        chosen: list[FilePath] = []
        for path in paths:
            # among those that are still written, so that a name that is no text can be said as it is shown
            named = next((file for file in connection.upload(upload).restless if file.path == path), None)
            chosen.append(FilePath(path=path, path_b64=named.path_b64 if named else None))
        answer = connection.control(upload, action, chosen)
    if json:
        screen.as_json(answer)
    else:
        screen.say(f"Upload {safe(answer.id)} ({safe(answer.dataset)}) {words}.")
