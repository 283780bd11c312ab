"""The operators' page while nothing answers: what was green when it was seen last does not stay so."""

from collections.abc import Callable

from playwright.sync_api import expect

from datauploader_gateway import redis_client
from datauploader_sandbox.browser.look import violations
from datauploader_sandbox.browser.site import PASSWORD, Site
from datauploader_sandbox.browser.visitor import Visitor

Come = Callable[..., Visitor]
NOW = "**/operations/now*"
ASKED_MS = 15_000
"""The page asks every five seconds."""


def test_an_open_page_says_that_nothing_is_known_until_it_is_answered_again(visitor: Come) -> None:
    """Whether the gateway cannot be reached or cannot look anything up; in words, not by a colour alone."""
    otto = visitor("otto", "/operations")
    otto.excuse("503", "ERR_FAILED", "htmx:error", "htmx:response:error", "Failed to fetch", "request failed")
    page = otto.page
    stale, verdict, good = page.locator("#stale"), page.locator(".verdict"), page.locator("#operations .tag.good")
    expect(verdict).to_be_visible()
    for break_it in (lambda route: route.abort(), lambda route: route.fulfill(status=503, body="")):
        page.route(NOW, break_it)
        expect(stale).to_be_visible(timeout=ASKED_MS)
        expect(stale).to_contain_text("Not known since")
        expect(verdict).to_be_hidden()
        expect(good).to_have_count(0)
        assert not violations(page)
        page.unroute(NOW)
        expect(stale).to_be_hidden(timeout=ASKED_MS)
        expect(verdict).to_be_visible()


def test_an_operator_comes_to_the_page_without_redis(visitor: Come, site: Site) -> None:
    """The browser asks for the account; what is known is said in words."""
    anybody = visitor(http_credentials={"username": "otto", "password": PASSWORD})
    servers = list(redis_client._servers.values())
    for server in servers:
        server.connected = False
    try:
        page = anybody.open("/operations/direct")
        expect(page.locator(".verdict")).to_contain_text("Redis does not work")
        assert not violations(page)
    finally:
        for server in servers:
            server.connected = True
    page.goto("/operations/direct")
    expect(page).to_have_url(f"{site.url}/sign-in?next=/operations")
