"""Arguments and options that several commands share."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
AtGateway = Annotated[str, typer.Option("--gateway", metavar="URL", help="Use this gateway instead of the usual one.")]
UploadId = Annotated[str, typer.Argument(metavar="UPLOAD", help="The upload's id; `datauploader status` lists them.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
