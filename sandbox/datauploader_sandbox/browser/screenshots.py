"""`./dev screenshots`: pictures of every page as people see it, and docs/pages.md, which shows them."""

import shutil
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from datauploader.runtime import logging
from datauploader_sandbox.browser.chromium import DESK, PHONE, Chromium
from datauploader_sandbox.browser.pages import PAGES, Shown, furnish
from datauploader_sandbox.browser.scenery import Scenery
from datauploader_sandbox.browser.site import Site
from datauploader_sandbox.browser.visitor import Visitor
from datauploader_sandbox.detector import Detector, Plan

DAY = datetime(2026, 1, 15, 8, 0, tzinfo=UTC)
"""When what is shown happens, so that pictures of the same page are the same."""
LARGEST = 150_000
"""Bytes of a picture."""
_HEAD = """# The pages

What people see in their browser, from the sandbox; `./dev screenshots` makes the pictures and this page again.
Everything here works from the keyboard, without scripts as far as forms and links go, in light and in dark.
"""


def main(arguments: list[str]) -> int:
    """Make the pictures below the folder of documents (by default `docs`)."""
    docs = Path(arguments[0] if arguments else "docs")
    pictures = docs / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    logging.configure("screenshots", level="WARNING")
    with tempfile.TemporaryDirectory(prefix="datauploader-screenshots-") as folder:
        _take(Path(folder), pictures)
    (docs / "pages.md").write_text(_document(PAGES), encoding="utf-8")
    heavy = [path.name for path in pictures.glob("*.png") if path.stat().st_size > LARGEST]
    if heavy:
        print(f"these pictures have more than {LARGEST} bytes: {', '.join(heavy)}", file=sys.stderr)
    return 1 if heavy else 0


def _take(folder: Path, pictures: Path) -> None:
    watched = Path(tempfile.gettempdir(), "xrd1")  # a name that can be looked at
    shutil.rmtree(watched, ignore_errors=True)
    Detector(watched / "today", folder / "ledger.jsonl", Plan(scans=3, frames=4, seconds_per_frame=0)).run()
    try:
        with Site(folder / "site", provider=True, watched=watched) as site, Chromium() as chromium:
            furnish(Scenery(site.facility.redis_address, DAY))
            for size in (DESK, PHONE):
                _photograph(site, chromium, pictures, size)
    finally:
        shutil.rmtree(watched, ignore_errors=True)


def _photograph(site: Site, chromium: Chromium, pictures: Path, size: tuple[int, int]) -> None:
    people: dict[str, Visitor] = {}
    for shown in PAGES:
        if size == PHONE and not shown.phone:
            continue
        if shown.who not in people:
            people[shown.who] = Visitor(chromium, site.url, size=size)
            if shown.who:
                people[shown.who].sign_in(shown.who)
        page = people[shown.who].open(shown.path)
        shown.prepare(page)
        page.screenshot(path=pictures / _file(shown, size), animations="disabled", caret="hide")
    for person in people.values():
        person.context.close()


def _file(shown: Shown, size: tuple[int, int]) -> str:
    return f"{shown.name}{'-phone' if size == PHONE else ''}.png"


def _document(pages: Iterable[Shown]) -> str:
    parts = [_HEAD]
    for shown in pages:
        title = shown.name.replace("-", " ").capitalize()
        parts.append(f"## {title}\n\n{shown.said}\n\n![{title}](screenshots/{_file(shown, DESK)})\n")
        if shown.phone:
            parts.append(f"On a phone:\n\n![{title} on a phone](screenshots/{_file(shown, PHONE)})\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
