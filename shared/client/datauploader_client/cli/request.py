"""The command `upload`: from paths and options to a request, and on to its end with --follow."""

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated

import typer

from datauploader.contracts.names import check_name
from datauploader.contracts.rest.previews import UploadPreview
from datauploader.contracts.rest.uploads import Upload
from datauploader.errors import BadRequest
from datauploader.runtime.config import Settings, load
from datauploader.values import read_assignment, read_value
from datauploader.wording import count, duration, safe, sentence, size
from datauploader_client.cli import screen
from datauploader_client.cli.credentials import open_gateway
from datauploader_client.cli.exits import Code, upload_code
from datauploader_client.cli.options import AsJson, AtGateway
from datauploader_client.cli.watch import follow_upload
from datauploader_client.gateway_client import GatewayClient

app = typer.Typer()

STATION_S = 5.0
"""Seconds that `upload` waits for the station to say whether it can."""


@app.command()
def upload(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Folders and files on the station.")],
    *,
    investigation: Annotated[
        str, typer.Option("--investigation", "-i", help="Investigation of the dataset; usually the proposal number.")
    ],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name of the dataset.")],
    station: Annotated[
        str, typer.Option(help="facility.beamline.station; default: this computer, or the only station.")
    ] = "",
    remote: Annotated[str, typer.Option(help="Storage; default: the only configured one.")] = "",
    sync: Annotated[
        bool, typer.Option("--sync", help="Also upload files written later, until you close the upload.")
    ] = False,
    do_follow: Annotated[bool, typer.Option("--follow", "-f", help="Show the progress until the end.")] = False,
    include: Annotated[
        list[str] | None, typer.Option(help="Upload only matching files (patterns as in .gitignore).")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out matching files (patterns as in .gitignore).")
    ] = None,
    description: Annotated[str, typer.Option(help="Description of the dataset.")] = "",
    param: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE[UNIT]", help="Metadata; repeatable.")] = None,
    delete_after: Annotated[
        bool, typer.Option("--delete-after", help="Remove local files once their stored copies are proven identical.")
    ] = False,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Continue a dataset that an earlier upload of yours started.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would happen and start nothing.")] = False,
    gateway: AtGateway = "",
    json: AsJson = False,
) -> None:
    """Upload folders and files into a dataset of an investigation."""
    root, sources = split_paths(paths)
    name, parameters = _dataset_name(dataset), [read_parameter(text) for text in param or []]
    request: dict[str, object] = {
        "investigation": investigation,
        "dataset": {"name": name, "description": description, "parameters": parameters},
        "path": root,
        "kind": _kind(root),
        "sources": sources,
        "include": include or [],
        "exclude": exclude or [],
        "mode": "sync" if sync else "batch",
        "remote": remote or None,
        "delete_after": delete_after,
    }
    request |= {"continue_dataset": True} if go_on else {}
    with open_gateway(gateway) as connection:
        request["station"] = station or _station(connection)
        if dry_run:
            raise typer.Exit(tell_preview(connection.preview_upload(request), request, machine=json))
        accepted = connection.request_upload(request, key=str(uuid.uuid4()))
        if do_follow:
            raise typer.Exit(upload_code(follow_upload(connection, accepted, machine=json, leave_when_stuck=True)))
        accepted = _await_station(connection, accepted)
    (screen.as_json if json else _tell)(accepted)
    raise typer.Exit(upload_code(accepted))


def _dataset_name(text: str) -> str:
    try:
        return check_name(text)
    except ValueError as error:
        raise BadRequest(f"the dataset cannot be named {safe(text)!r}: {error}") from None


def _kind(root: str) -> str | None:
    """Spare the gateway a question where the path is on this machine."""
    return "folder" if os.path.isdir(root) else "file" if os.path.isfile(root) else None  # noqa: PTH112, PTH113 - text


def _await_station(connection: GatewayClient, accepted: Upload) -> Upload:
    """Wait a while for the station: what it cannot do is known before the person has gone away."""
    end = time.monotonic() + STATION_S
    while accepted.state == "requested" and time.monotonic() < end:
        time.sleep(0.1)
        accepted = connection.upload(accepted.id)
    return accepted


def _tell(upload: Upload) -> None:
    if upload.over or upload.needs_person:
        for words in (sentence(upload), *upload.troubles):
            screen.warn(safe(words))
        return
    screen.say(
        f"Upload {upload.id}: {safe(upload.path)} → {safe(upload.dataset)} of {safe(upload.investigation)} has started."
    )
    if upload.state == "requested":
        screen.warn("The station has not answered yet; the upload starts when it does.")
    screen.say(f"Watch it with: datauploader watch {upload.id}")
    if upload.mode == "sync":
        screen.say(f"When the measurement is finished, run: datauploader close {upload.id}")


def split_paths(paths: list[str]) -> tuple[str, list[str] | None]:
    """Make one root and the sources below it of what was given.

    Raises:
        BadRequest: the paths have no common parent folder, or cannot travel as text.
    """
    absolute: list[str] = []
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise BadRequest(
                f"the path {safe(path)} is not valid UTF-8", "Upload the folder that contains it; the name is kept."
            ) from None
        foreign = PureWindowsPath(path).drive if os.name == "posix" else path.startswith("/")
        absolute.append(path if foreign else os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links
    if len(absolute) == 1:
        return absolute[0], None
    flavour = PureWindowsPath if PureWindowsPath(absolute[0]).drive else PurePosixPath
    parents = [flavour(path).parent for path in absolute]
    root = parents[0]
    while not all(parent.is_relative_to(root) for parent in parents):
        if root == root.parent:
            raise BadRequest("the paths have no common parent folder", "Upload them one by one.")
        root = root.parent
    if root == root.parent:
        raise BadRequest(
            "the only common parent folder of the paths is the root of the disk", "Upload them one by one."
        )
    return str(root), [flavour(path).relative_to(root).as_posix() for path in absolute]


def read_parameter(text: str) -> dict[str, object]:
    """Read `name=value[unit]` or `name=number:unit`; what looks like a number is one.

    Raises:
        BadRequest: there is no `=`, or no name before it.
    """
    found = read_assignment(text)
    if found is None:
        raise BadRequest(f"{safe(text)!r} is not a parameter", "Write it like --param energy=8.0[keV].")
    name, value, units = found
    return {"name": name, "value": read_value(value), "units": units}


def _station(gateway: GatewayClient) -> str:
    """Choose this machine's station where it is one, else the only one that there is.

    Raises:
        BadRequest: it must be said which one is meant.
    """
    known = [item.station for item in gateway.stations().items if item.has_watcher]
    here = load(Settings).here.key
    if here in known:
        return here
    if len(known) == 1:
        return known[0]
    if not known:
        raise BadRequest("no station has reported to the gateway yet", "Start the watcher on the workstation.")
    raise BadRequest("there are several stations", f"Choose one with --station: {', '.join(known)}.")


def tell_preview(preview: UploadPreview, request: Mapping[str, object], *, machine: bool) -> Code:
    """Print what an upload would do, and choose the exit code: 1 nothing to upload, 3 some files cannot be read."""
    if machine:
        screen.as_json(preview)
    else:
        screen.table(("Dry run", ""), list(_preview_rows(preview)))
        screen.warn("Dry run: nothing was started.")
    if not preview.files and request["mode"] == "batch":
        return Code.FAILED
    unreadable = any(group.reason == "unreadable" for group in preview.left_out)
    return Code.PARTLY if unreadable or preview.trouble else Code.DONE


def _preview_rows(preview: UploadPreview) -> Iterator[tuple[str, str]]:
    least = "at least " if preview.partial else ""
    yield "Files", f"{least}{count(preview.files, 'file')}, {size(preview.bytes)}"
    yield "From", preview.path
    yield "To", f"{preview.remote}: {preview.location}"
    if preview.continues:
        yield "Continues", safe(", ".join(preview.continues))
    if preview.alike:
        yield (
            "Similar name",
            f"the dataset {safe(preview.alike)} exists; if you mean it, type its name exactly as it is",
        )
    yield "Already there", _destination(preview)
    if (met := preview.conflicts) and met.differing:
        least_met = "at least " if met.partial else ""
        yield (
            "Conflicts",
            f"{least_met}{count(met.differing, 'different file')} of the same name ({', '.join(met.first)})",
        )
    for group in preview.left_out:
        yield "Left out", f"{least}{group.count:,}: {group.detail} ({', '.join(group.examples)})"
    if preview.settling:
        yield (
            "Still changing",
            f"{count(preview.settling, 'file')} changed a moment ago; uploaded once no longer changing",
        )
    for other in preview.together_with:
        whose = other.upload or "another person's upload"
        yield "Also uploaded by", f"{safe(whose)}: {count(other.files, 'file')} of these"
    if preview.seconds is not None:
        yield "Estimated time", duration(preview.seconds)
    if preview.trouble:
        yield "Problem", preview.trouble


def _destination(preview: UploadPreview) -> str:
    there = preview.destination
    if there is None:
        return f"not known: {preview.destination_trouble}"
    if not there.exists:
        return "nothing"
    least = "at least " if there.partial else ""
    return f"{least}{count(there.objects, 'object')}, {size(there.bytes)}; objects of other uploads are not overwritten"
