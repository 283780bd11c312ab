"""Commands that look on: `watch`, and what `upload --follow` does after the request."""

import sys
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Annotated, Protocol, Self

import typer
from rich import box
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from datauploader.contracts.rest.files import File
from datauploader.contracts.rest.uploads import Upload
from datauploader.errors import DataUploaderError, GatewayError
from datauploader.wording import left, safe, sentence, size, state
from datauploader_client.cli import screen
from datauploader_client.cli.credentials import open_gateway
from datauploader_client.cli.exits import upload_code
from datauploader_client.cli.options import AsJson, AtGateway
from datauploader_client.cli.progress import draw_upload, progress_line
from datauploader_client.gateway_client import GatewayClient
from datauploader_client.reading import read_answer
from datauploader_client.sse import ServerEvent

app = typer.Typer()

STEADY_S = 10.0
"""Seconds between two lines in a pipe."""
SHOWN_FAILURES = 5


class View(Protocol):
    """Something that shows what the stream says."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End, and leave the last state visible."""

    def show(self, event: ServerEvent | None) -> None:
        """Show one event; None: the gateway is away."""


class Lines:
    """Plain lines at a steady, low rate; changes of state and errors at once."""

    def __init__(self, first: Upload, every_s: float = STEADY_S) -> None:
        """Begin with what is known."""
        self._upload = first
        self._every_s = every_s
        self._next = 0.0
        self._said = ""

    def __enter__(self) -> Self:
        """Say where it begins."""
        self._say()
        return self

    def __exit__(self, *_: object) -> None:
        """Say where it ended."""
        self._say()
        for words in (sentence(self._upload), self._upload.dataset_url):
            if words:
                screen.say(safe(words))

    def show(self, event: ServerEvent | None) -> None:
        """Print a line if it is time, or if something happened."""
        if event is None:
            self._say("the gateway does not answer at the moment; the upload continues without it")
        elif event.event == "files" and event.data.get("state") == "failed":
            names = ", ".join(safe(str(path)) for path in event.data.get("paths", [])[:SHOWN_FAILURES])
            self._say(f"{self._upload.id} failed: {names}: {safe(str(event.data.get('detail', '')))}")
        elif event.event in ("upload", "end"):
            before, self._upload = self._upload, read_answer(Upload, event.data)
            changed = (before.state, before.paused, before.closing) != (
                self._upload.state, self._upload.paused, self._upload.closing,
            )  # fmt: skip
            for trouble in self._upload.troubles:
                if trouble not in before.troubles:
                    self._say(f"{self._upload.id} {safe(trouble)}")
            if changed or time.monotonic() >= self._next:
                self._say()

    def _say(self, text: str = "") -> None:
        if not text:
            text, self._next = progress_line(self._upload), time.monotonic() + self._every_s
        if text != self._said:
            screen.say(text)
            sys.stdout.flush()
        self._said = text


class JsonLines:
    """One JSON object a line: what came, with its kind in `event`."""

    def __enter__(self) -> Self:
        """Begin silently."""
        return self

    def __exit__(self, *_: object) -> None:
        """End silently."""

    def show(self, event: ServerEvent | None) -> None:
        """Print the event."""
        screen.as_json({"event": event.event, **event.data} if event else {"event": "gateway-away"})


class _Drawing:
    """A part of the terminal that is drawn again and again in its place."""

    def __init__(self, first: RenderableType) -> None:
        """Begin with this."""
        self._live = Live(first, console=screen.console(), refresh_per_second=4)

    def __enter__(self) -> Self:
        """Draw for the first time."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the terminal."""
        self._live.stop()


class Block(_Drawing):
    """One upload, with the files of it that failed."""

    def __init__(self, gateway: GatewayClient, first: Upload) -> None:
        """Begin with what is known."""
        super().__init__(draw_upload(first))
        self._gateway = gateway
        self._upload = first
        self._failed: list[File] = []

    def show(self, event: ServerEvent | None) -> None:
        """Draw anew."""
        if event is not None and event.event in ("upload", "end"):
            before, self._upload = self._upload, read_answer(Upload, event.data)
            if self._upload.counts.failed != before.counts.failed or (
                self._upload.counts.failed.files and not self._failed
            ):
                if not self._upload.counts.failed.files:
                    self._failed = []
                else:
                    with suppress(GatewayError):  # the next change asks again
                        page = self._gateway.files(self._upload.id, "failed", limit=SHOWN_FAILURES)
                        self._failed = page.items
        self._live.update(draw_upload(self._upload, self._failed, away=event is None))


MOST = 20
"""Uploads that are shown at once: those that changed last."""


class Overview(_Drawing):
    """A table of the uploads that changed last."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__(Text("Waiting for the first update …"))
        self._uploads: OrderedDict[str, Upload] = OrderedDict()

    def show(self, event: ServerEvent | None) -> None:
        """Draw anew."""
        if event is not None and event.event == "upload":
            upload = read_answer(Upload, event.data)
            self._uploads[upload.id] = upload
            self._uploads.move_to_end(upload.id, last=False)
            while len(self._uploads) > MOST:
                self._uploads.popitem()
        away = "The gateway does not answer at the moment; uploads continue without it." if event is None else None
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=away)
        for column in ("Upload", "Dataset", "State", "Files", "Stored", "Speed", "Left", "Failed"):
            table.add_column(column, justify="right" if column in ("Files", "Stored", "Speed", "Failed") else "left")
        for upload in self._uploads.values():
            counts = upload.counts
            cells = [
                upload.id,
                safe(upload.dataset),
                state(upload),
                f"{counts.catalogued.files:,}/{counts.found.files:,}",
                f"{size(counts.stored.bytes)} of {size(counts.found.bytes)}",
                f"{size(upload.speed)}/s" if upload.speed and not upload.over else "",
                left(upload),
            ]
            failed = Text(f"{counts.failed.files:,}" if counts.failed.files else "", style="red")
            table.add_row(*(Text(cell) for cell in cells), failed)
        self._live.update(table)


class OverviewLines:
    """A line whenever the state of an upload, or the number of its failed files, changes."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._known: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        """Begin silently."""
        return self

    def __exit__(self, *_: object) -> None:
        """End silently."""

    def show(self, event: ServerEvent | None) -> None:
        """Print a line if something changed."""
        if event is None or event.event != "upload":
            return
        upload = read_answer(Upload, event.data)
        now = (state(upload), upload.counts.failed.files)
        if self._known.get(upload.id) != now:
            screen.say(progress_line(upload))
            sys.stdout.flush()
        self._known[upload.id] = now


def follow_upload(gateway: GatewayClient, first: Upload, *, machine: bool, leave_when_stuck: bool) -> Upload:
    """Show an upload until it is over; Ctrl-C leaves it running and says how to look again.

    Args:
        gateway: where the upload is.
        first: what is known so far.
        machine: print JSON lines.
        leave_when_stuck: end as well when nothing happens until somebody does something.
    """
    view: View = JsonLines() if machine else Block(gateway, first) if screen.console().is_terminal else Lines(first)
    upload = first
    try:
        with view:
            for event in gateway.events(first.id):
                view.show(event)
                if event is not None and event.event in ("upload", "end"):
                    upload = read_answer(Upload, event.data)
                    if upload.over or (upload.needs_person and leave_when_stuck):
                        break
    except KeyboardInterrupt:
        screen.warn(f"The upload continues. Watch it again with: datauploader watch {first.id}")
        raise
    except DataUploaderError:
        screen.warn(f"The upload itself continues. Watch it again with: datauploader watch {first.id}")
        raise
    return upload


@app.command()
def watch(
    upload: Annotated[str, typer.Argument(metavar="[UPLOAD]", help="One upload; if not given, all of yours.")] = "",
    *,
    gateway: AtGateway = "",
    json: AsJson = False,
) -> None:
    """Watch live, until the upload has ended or you press Ctrl-C; with --json, one JSON object per line."""
    with open_gateway(gateway) as connection:
        if upload:
            ended = follow_upload(connection, connection.upload(upload), machine=json, leave_when_stuck=False)
            raise typer.Exit(upload_code(ended))
        terminal = screen.console().is_terminal
        view: View = JsonLines() if json else Overview() if terminal else OverviewLines()
        if terminal and not json:
            screen.console().print(Text("Ctrl-C stops watching; the uploads continue.", style="dim"))
        with view:
            for event in connection.events():
                view.show(event)
