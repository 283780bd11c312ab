"""How far an upload is: a block with bars for a terminal, one line for a pipe."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from datauploader.contracts.rest.files import File
from datauploader.contracts.rest.uploads import Upload
from datauploader.wording import count, left, safe, sentence, size, state

BAR = 40
_COLOURS = {"completed": "green", "cancelled": "yellow", "rejected": "red", "refused": "red"}


def progress_line(upload: Upload) -> str:
    """Write everything that changes on one line, errors first."""
    counts = upload.counts
    parts = [
        f"{count(counts.failed.files, 'file')} failed" if counts.failed.files else "",
        f"{counts.catalogued.files:,} of {count(counts.found.files, 'file')}",
        f"{size(counts.stored.bytes)} of {size(counts.found.bytes)}",
        f"{size(upload.speed)}/s" if upload.speed else "",
        f"{upload.settling:,} still being written" if upload.settling else "",
        left(upload),
    ]
    return f"{upload.id} {safe(upload.dataset)} {state(upload)}: {', '.join(part for part in parts if part)}"


def draw_upload(upload: Upload, failed: Sequence[File] = (), *, away: bool = False) -> RenderableType:
    """Draw one upload: what is wrong first, then the bars, then what is left to do."""
    head = Text(safe(upload.dataset), style="bold")
    head.append(f"  {safe(upload.investigation)}, {upload.mode}, {upload.id}  ", style="not bold dim")
    attention = "red" if upload.needs_person else "yellow" if upload.paused else "cyan"
    head.append(state(upload), style=f"not bold {_COLOURS.get(upload.state, attention)}")
    parts: list[RenderableType] = [head]
    parts += [Text(f"  {safe(trouble)}", style="yellow") for trouble in upload.troubles]
    for file in failed:
        failure = Text("  failed ", style="red")
        failure.append(safe(file.path), style="bold")
        failure.append(f"  {safe(file.detail)} {safe(file.hint)}".rstrip(), style="not bold default")
        parts.append(failure)
    if (more := upload.counts.failed.files - len(failed)) > 0 and failed:
        parts.append(Text(f"  … and {more:,} more failed", style="red"))
    parts.append(_bars(upload))
    if notes := _notes(upload):
        parts.append(Text(f"  {notes}", style="dim"))
    if words := sentence(upload):
        parts.append(Text(f"  {words}"))
    if upload.dataset_url:
        parts.append(Text(f"  {safe(upload.dataset_url)}"))
    if away:
        parts.append(
            Text("  The gateway does not answer at the moment; the upload continues without it.", style="yellow")
        )
    return Group(*parts)


def _bars(upload: Upload) -> Table:
    counts, bars = upload.counts, Table.grid(padding=(0, 1))
    bars.add_column(width=12)
    for _ in range(3):
        bars.add_column(no_wrap=True)
    moved = f"{size(counts.stored.bytes)} of {size(counts.found.bytes)}"
    if upload.speed and not upload.over:
        moved += f"  {size(upload.speed)}/s"
    bars.add_row("  stored", _bar(counts.stored.bytes, counts.found.bytes), Text(moved), Text(left(upload)))
    found = count(counts.found.files, "file")
    for name, amount in (("verified", counts.verified), ("catalogued", counts.catalogued)):
        bars.add_row(f"  {name}", _bar(amount.files, counts.found.files), Text(f"{amount.files:,} of {found}"))
    return bars


def _bar(done: float, total: float) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=min(done, total), width=BAR)


def _notes(upload: Upload) -> str:
    counts = upload.counts
    notes = (
        (upload.settling, "still being written"),
        (counts.retrying.files, "being retried"),
        (counts.unverified.files, "stored, not verified"),
        (upload.left_out, "left out"),
    )
    said = [f"{count(number, 'file')} {words}" for number, words in notes if number]
    unread = counts.metadata_unread.files
    lacks = [(unread, "read"), (counts.metadata_lacks.files - unread, "accepted")]
    if told := [f"metadata of {count(number, 'file')} not {what}" for number, what in lacks if number > 0]:
        said.append(f"{', '.join(told)} (see: datauploader files {upload.id})")
    return ", ".join(said)
