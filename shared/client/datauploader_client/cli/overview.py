"""All uploads at once, live: a table on a terminal, a line for each change of state in a pipe."""

import sys
from collections import OrderedDict
from typing import Self

from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from datauploader.contracts.rest.uploads import Upload
from datauploader.wording import left, safe, size, state
from datauploader_client.cli import screen
from datauploader_client.cli.progress import progress_line
from datauploader_client.reading import read_answer
from datauploader_client.sse import ServerEvent

MOST = 20
"""Uploads that are shown at once: those that changed last."""


class Overview:
    """A table that is drawn again and again in its place."""

    def __init__(self) -> None:
        """Begin empty."""
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._live = Live(Text("Waiting for the first update …"), console=screen.console(), refresh_per_second=4)

    def __enter__(self) -> Self:
        """Draw for the first time."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the terminal."""
        self._live.stop()

    def show(self, event: ServerEvent | None) -> None:
        """Draw anew."""
        if event is not None and event.event == "upload":
            upload = read_answer(Upload, event.data)
            self._uploads[upload.id] = upload
            self._uploads.move_to_end(upload.id, last=False)
            while len(self._uploads) > MOST:
                self._uploads.popitem()
        self._live.update(self._table(away=event is None))

    def _table(self, *, away: bool) -> Table:
        caption = "The gateway does not answer at the moment; uploads continue without it." if away else None
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption)
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
        return table


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
