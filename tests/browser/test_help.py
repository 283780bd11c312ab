"""The help as people see it: light and dark, on a desk and on a phone, under the gateway's policy, with its search."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import expect

from datauploader_gateway.http.help_pages import HelpPages
from datauploader_gateway.http.middleware import RequestMiddleware
from datauploader_gateway.http.server import WebServer
from datauploader_sandbox.browser.chromium import DESK, PHONE, Chromium
from datauploader_sandbox.browser.look import too_wide, violations
from datauploader_sandbox.browser.visitor import Visitor

PAGES = ("", "first-upload/", "operations/")
LARGE = ("reference/routes/", "reference/messages/")
"""Pages that are the same over and over; axe takes very long for them."""
SCROLLS = "scrollable-region-focusable"
"""The theme scrolls wide tables in a box of its own; browsers let the keyboard into it, axe wants it said."""


@pytest.fixture(scope="module")
def url(help_site: Path) -> Iterator[str]:
    """Where the help is served as the gateway serves it."""
    app = FastAPI()
    app.mount("/help", HelpPages(help_site))
    app.add_middleware(RequestMiddleware, secure=False)
    server = WebServer(app, "127.0.0.1", 0, trusted_proxies=())
    server.start()
    yield server.url
    server.stop(5)


@pytest.fixture
def reader(chromium: Chromium, url: str) -> Iterator[Callable[..., Visitor]]:
    """Return a function that lets somebody come, and fails with what their browser complained of."""
    come: list[Visitor] = []

    def reads(size: tuple[int, int], *, dark: bool) -> Visitor:
        come.append(Visitor(chromium, url, size=size, dark=dark))
        return come[-1]

    yield reads
    for one in come:
        one.context.close()
        one.judge()


@pytest.mark.parametrize(
    ("size", "dark"),
    [
        pytest.param(DESK, False, id="light desk", marks=pytest.mark.campaign),
        pytest.param(PHONE, True, id="dark phone", marks=pytest.mark.campaign),
    ],
)
def test_no_page_of_the_help_shuts_anybody_out_or_needs_what_the_policy_forbids(
    reader: Callable[..., Visitor], size: tuple[int, int], dark: bool
) -> None:
    """No serious violation in axe's eyes, nothing scrolls sideways, and the browser refuses nothing."""
    person = reader(size, dark=dark)
    for name in PAGES + LARGE:
        page = person.open(f"/help/{name}")
        page.wait_for_load_state("networkidle")
        if name in PAGES:
            assert [found for found in violations(page) if not found.startswith(SCROLLS)] == [], name
        assert too_wide(page) == [], name


def test_a_search_finds_what_to_do_without_any_other_host(reader: Callable[..., Visitor]) -> None:
    """It runs in a worker of the browser, over a file that came with the pages; the browser reaches nothing else."""
    page = reader(DESK, dark=False).open("/help/")
    page.get_by_role("textbox", name="Search").fill("switched off")
    found = page.locator(".md-search-result__link")
    expect(found.filter(has_text="Know when the computer may be switched off").first).to_be_visible()
    found.first.click()
    expect(page.locator("article h1")).to_be_visible()
    assert page.url.rstrip("/") != f"{page.url.partition('/help/')[0]}/help"
