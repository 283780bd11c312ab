"""Every page as people see it: light and dark, on a desk and on a phone, with a slow line, without good eyes."""

from collections.abc import Callable, Iterator

import pytest

from datauploader_sandbox.browser.chromium import DESK, NARROW, PHONE, Chromium
from datauploader_sandbox.browser.look import ragged, too_wide, violations, weight
from datauploader_sandbox.browser.pages import PAGES, Shown, furnish
from datauploader_sandbox.browser.scenery import Scenery
from datauploader_sandbox.browser.site import Site
from datauploader_sandbox.browser.visitor import Visitor

SITE = {"provider": True}
HEAVIEST = 200_000
"""Bytes of a page with everything that it loads."""

Sees = Callable[[Shown], Visitor]


@pytest.fixture(scope="module")
def sees(chromium: Chromium, site: Site) -> Iterator[Sees]:
    """Return a function that shows a page to the person who is to see it; everybody comes once."""
    furnish(Scenery(site.facility.redis_address), thousands=1)
    folder = site.facility.watched / "today"
    folder.mkdir()
    (folder / "one.dat").write_text("one")
    people: dict[str, Visitor] = {}

    def show(shown: Shown) -> Visitor:
        if shown.who not in people:
            people[shown.who] = Visitor(chromium, site.url)
            if shown.who:
                people[shown.who].sign_in(shown.who)
        shown.prepare(people[shown.who].open(shown.path))
        return people[shown.who]

    yield show
    for person in people.values():
        person.context.close()


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_no_page_shuts_anybody_out_or_is_wider_than_its_window(sees: Sees, shown: Shown) -> None:
    """No serious violation in the eyes of axe, light or dark, on large or small screens; nothing scrolls sideways."""
    visitor = sees(shown)
    assert ragged(visitor.page) == [], "a row without a cell for each heading"
    if shown.name == "problem":
        visitor.excuse("status of 404")
    visitor.page.emulate_media(color_scheme="dark")
    assert violations(visitor.page, "color-contrast") == [], "dark"
    visitor.page.emulate_media(color_scheme="light")
    assert violations(visitor.page) == [], "light"
    assert too_wide(visitor.page) == []
    visitor.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert violations(visitor.page, without="color-contrast") == [], "on a phone"
    assert too_wide(visitor.page) == [], "on a phone"
    visitor.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert too_wide(visitor.page) == [], "on a narrow phone"
    visitor.page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    visitor.judge()


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_no_page_is_heavy(sees: Sees, shown: Shown) -> None:
    """Somebody who comes for the first time loads less than 200 kB."""
    loaded = weight(sees(shown).page, shown.path)
    assert any(url.endswith("htmx.js") for url in loaded)
    assert sum(loaded.values()) < HEAVIEST, loaded
