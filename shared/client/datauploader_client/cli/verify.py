"""The command `verify`: have what lies on the storage compared with the manifest, and wait for what was found."""

import re
import time
from typing import Annotated

import typer

from datauploader.contracts.rest.audits import Audit
from datauploader.contracts.rest.uploads import Upload
from datauploader.errors import BadRequest, UploadNotFound
from datauploader.wording import safe
from datauploader_client.cli import screen
from datauploader_client.cli.credentials import open_gateway
from datauploader_client.cli.exits import Code
from datauploader_client.cli.options import AsJson, AtGateway
from datauploader_client.gateway_client import GatewayClient

app = typer.Typer()

LOOK_S = 0.5
"""How often the gateway is asked whether there is an answer."""
_UPLOAD = re.compile(r"[A-Za-z0-9_-]{8,64}")
_KINDS = {
    "missing": "is not on the storage",
    "cut": "has another size on the storage",
    "altered": "has different content on the storage",
    "doubled": "shares its object on the storage with another file",
    "foreign": "is an unexpected object on the storage",
    "ours": "is stored, but not in the dataset",
    "leftover": "was left over by an interrupted transfer",
    "respelt": "is spelt differently by the storage",
}


@app.command()
def verify(
    dataset: Annotated[str, typer.Argument(metavar="DATASET|UPLOAD", help="A dataset's name, or an upload's id.")],
    *,
    read: Annotated[
        bool, typer.Option("--read", help="Read back every object for which the storage has no checksum.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Complete the dataset although the storage contains unexpected objects.")
    ] = False,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for the answer.")] = 600.0,
    gateway: AtGateway = "",
    json: AsJson = False,
) -> None:
    """Compare the storage with the manifest. Exit codes: 0 no difference, 1 differences, 5 not compared."""
    with open_gateway(gateway) as connection:
        upload = find_upload(connection, dataset)
        asked = connection.compare(upload.id, read=read, accept=accept)
        end = time.monotonic() + patience
        while True:  # until its last word; what keeps it from being done is a word as well
            found = next((one for one in connection.audits(upload.id).items if one.audit == asked.audit), None)
            if found is not None or time.monotonic() > end:
                break
            time.sleep(LOOK_S)
    if json and found is not None:
        screen.as_json(found)
    elif found is None:
        screen.warn(
            f"No answer within {patience:g} s; the comparison continues. See the result with: datauploader "
            f"status {upload.id}"
        )
    else:
        _tell(upload, found)
    if found is None or found.trouble:
        raise typer.Exit(Code.UNREACHABLE)
    raise typer.Exit(Code.DONE if found.well else Code.FAILED)


def find_upload(gateway: GatewayClient, name: str) -> Upload:
    """Return the upload of this id, or the latest one of the dataset of this name.

    Raises:
        NotFound: there is none that this person may see.
        BadRequest: datasets of this name are in several investigations.
    """
    if _UPLOAD.fullmatch(name):
        try:
            return gateway.upload(name)
        except UploadNotFound:
            pass  # then it is a dataset's name
    found = [one for one in gateway.uploads(limit=500, text=name).items if one.dataset == name]
    if not found:
        raise UploadNotFound(
            f"there is no upload or dataset {safe(name)} that you may see", "List them with: datauploader status"
        )
    if len({one.investigation for one in found}) > 1:
        ids = ", ".join(f"{one.id} ({safe(one.investigation)})" for one in found[:5])
        raise BadRequest(
            f"several investigations have a dataset named {safe(name)}", f"Give the id of the upload: {ids}."
        )
    return found[0]


def _tell(upload: Upload, found: Audit) -> None:
    say = screen.say if found.well else screen.warn
    say(f"{safe(upload.dataset)} of {safe(upload.investigation)} ({upload.id}): {safe(found.says)}")
    for one in found.differences:
        for path in one.first:
            screen.warn(f"{safe(path)} {_KINDS.get(one.kind, one.kind)}")
        if (more := one.files - len(one.first)) > 0:
            screen.warn(f"… and {more:,} more: {_KINDS.get(one.kind, one.kind)}")
