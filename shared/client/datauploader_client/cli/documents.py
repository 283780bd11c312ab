"""Commands for those who develop DataUploader: write the generated documents, or find where they have drifted."""

from pathlib import Path
from typing import Annotated

import typer

from datauploader.documents.generated import documents, drift
from datauploader.wording import count
from datauploader_client.cli import screen
from datauploader_client.cli.exits import Code

app = typer.Typer(help="The generated documents of a source tree.", no_args_is_help=True)
Tree = Annotated[Path, typer.Argument(metavar="DIR", help="The top of the source tree.", exists=True, file_okay=False)]


@app.command()
def write(tree: Tree) -> None:
    """Write every generated document."""
    found = documents(tree)
    for name, text in found.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    for name in drift(tree):
        (tree / name).unlink()  # what is left differs only by being there
    screen.say(f"{count(len(found), 'document')} written.")


@app.command()
def check(tree: Tree) -> None:
    """Say which documents are not what the code says."""
    different = drift(tree)
    for name in different:
        screen.say(f"{name} is not up to date")
    if different:
        screen.say("Update them with: datauploader documents write .")
        raise typer.Exit(Code.FAILED)
