"""The pages of the gateway: where they are, and uploads to show on them."""

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page

from datauploader.contracts import StationReported
from datauploader.contracts.stations import MoverElsewhere
from datauploader_sandbox.browser.scenery import GREEK_NAME, LONG_NAME, Scenery

RUNNING, GREEK, LONG, MANY, LOST = "show-running", "show-greek", "show-long-name", "show-thousands", "show-refused"
"""The uploads of `furnish`."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One page as somebody sees it."""

    name: str
    path: str
    said: str
    """What is to be seen there, in a sentence."""
    who: str = "anna"
    """Who looks; empty: nobody who is signed in."""
    phone: bool = False
    """It is looked at on phones as well."""
    prepare: Callable[[Page], object] = lambda _: None
    """What is done on it before it is looked at."""


def tick(page: Page) -> None:
    """Choose an investigation, a station and a folder."""
    page.get_by_label("Investigation", exact=True).select_option("20260101")
    page.get_by_label("Station", exact=True).select_option("sandbox.xrd1.ws01")
    page.get_by_role("checkbox", name="Choose folder today").check()
    page.locator("#found .result").first.wait_for()


def open_timing(page: Page) -> None:
    """Open what says where the time of the files went."""
    page.get_by_text("Where the time goes").click()
    page.get_by_role("rowheader", name="Moved and verified").wait_for()


def review(page: Page) -> None:
    """Go on from there to the review."""
    tick(page)
    page.get_by_role("button", name="Review").click()
    page.locator("section.review").first.wait_for()


PAGES = (
    Shown("sign-in", "/sign-in", "Every way to sign in that is configured, and nothing else.", who="", phone=True),
    Shown("now", "/", "Uploads in progress, those with problems first, and those that ended recently.", phone=True),
    Shown(
        "upload", f"/uploads/{RUNNING}",
        "One upload in progress: how far it is, whether the computer may be switched off, what you can do.",
        phone=True,
    ),
    Shown(
        "files", f"/uploads/{MANY}/files",
        "Thirty thousand files, failed ones first, page by page. Files that the catalogue refuses, and metadata\n"
        "that were not read or not accepted, are shown at the file with the original message.",
        prepare=lambda page: page.locator("#files-title").evaluate("title => title.scrollIntoView()"),
    ),
    Shown(
        "complete", f"/uploads/{GREEK}",
        "A complete dataset: what it had when it was sealed is stored and catalogued. What was added to its\n"
        "folder after that, as far as the station has checked, is named, with a button that starts an upload of it:\n"
        "same folder and patterns, a new name, and without files that have not changed.", prepare=open_timing,
    ),
    Shown(
        "receipt", f"/uploads/{GREEK}/receipt", "What is proven of every file, with its checksums.", phone=True
    ),
    Shown(
        "read-in-files", f"/uploads/{GREEK}/metadata",
        "What harvesters have read in the files, with who has read it, and their small pictures.", phone=True,
    ),
    Shown("left-out", f"/uploads/{LONG}/left-out", "Files in the folder that are not uploaded, with the reason."),
    Shown(
        "new-upload", "/new",
        "Select folders of the station, exclude files, name the dataset.",
        prepare=tick, phone=True,
    ),
    Shown("review", "/new", "What will be uploaded, before anything starts.", prepare=review),
    Shown("investigations", "/investigations", "The investigations that you can upload to, today's first.", phone=True),
    Shown("investigation", "/investigations/20260101", "One investigation with its datasets and description."),
    Shown("history", "/history", "All your uploads, with search.", phone=True),
    Shown("operations", "/operations", "For operators: problems come first.", who="otto", phone=True),
    Shown("audit", "/audit", "Who did what, when, from where.", who="otto"),
    Shown("token", "/token", "A token for the command line, shown once."),
    Shown("problem", "/uploads/there-is-none", "What a page says when something is missing, and what to do."),
)  # fmt: skip


def furnish(scenery: Scenery, *, thousands: int = 30) -> None:
    """Put uploads of every kind into a facility's view."""
    _many(scenery, thousands * 1000)
    scenery.complete(scenery.upload(GREEK, GREEK_NAME, files=3, stored=3), 3)
    for number in range(3):
        scenery.read(GREEK, number, problem="sample: it is damaged" if number == 2 else "")
    scenery.upload(LONG, LONG_NAME, mode="batch", files=3, stored=1)
    scenery.leave_out(
        LONG,
        ("tmp/core.4711", "excluded", "the pattern core.* leaves it out"),
        ("latest", "symlink-outside", "it is a link that leads out of the folder"),
        ("Ωμέγα/λήψη του δείγματος.lock", "excluded", "the pattern *.lock leaves it out"),
    )
    scenery.upload(RUNNING, "Lysozyme crystal 7", files=240, stored=151)
    scenery.progress(RUNNING, 89, 61.4e6)
    movers = (
        MoverElsewhere(name="3f2a91bc", host="ws03", files=12, bytes=3_400_000, heard_s=1.5),
        MoverElsewhere(name="b07c55d1", host="ws04", trouble="/data is not there on this machine: mount it."),
        MoverElsewhere(name="9e41a0f7", host="ws05", heard_s=400, gone=True),
    )
    scenery.say(
        StationReported(service="transfer", version="1", host="ws02", state="ok", movers=movers, interval_s=3600)
    )


def _many(scenery: Scenery, files: int) -> None:
    scenery.upload(MANY, "bone slice, fast tomography", files=files, stored=500)
    scenery.progress(MANY, files - 500, 83e6)
    scenery.failure(
        MANY, 612, "unreachable", "the storage does not answer", "It is retried automatically.", final=False
    )
    scenery.failure(
        MANY, 600, "conflict", "another file has this name on the storage already",
        "Rename one of them, or ask the operator to remove the other one.", final=True,
    )  # fmt: skip
