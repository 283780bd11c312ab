"""How the command line tells what an upload would do: a table on a terminal, one JSON object for programs."""

from collections.abc import Iterator, Mapping

from datauploader.contracts.rest.previews import UploadPreview
from datauploader.wording import count, duration, safe, size
from datauploader_client.cli import screen
from datauploader_client.cli.exits import Code


def tell_preview(preview: UploadPreview, request: Mapping[str, object], *, machine: bool) -> Code:
    """Print what an upload would do, and choose the exit code: 1 nothing to upload, 3 some files cannot be read."""
    if machine:
        screen.as_json(preview)
    else:
        screen.table(("Dry run", ""), list(_rows(preview)))
        screen.warn("Dry run: nothing was started.")
    if not preview.files and request["mode"] == "batch":
        return Code.FAILED
    unreadable = any(group.reason == "unreadable" for group in preview.left_out)
    return Code.PARTLY if unreadable or preview.trouble else Code.DONE


def _rows(preview: UploadPreview) -> Iterator[tuple[str, str]]:
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
