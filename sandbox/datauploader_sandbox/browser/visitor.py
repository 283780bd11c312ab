"""One person at a browser, and everything that their browser complains of meanwhile."""

import re
from typing import Any, Self

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, Response, WebError

from datauploader_sandbox.browser.chromium import Chromium
from datauploader_sandbox.browser.site import PASSWORD, PEOPLE

_LEFT = "net::ERR_ABORTED"
"""How a stream ends when its page is left."""


class Visitor:
    """Somebody with a browser of their own; a context manager that fails when the browser complained of our pages."""

    def __init__(self, chromium: Chromium, url: str, **how: Any) -> None:
        """Take a place; `how` are arguments of `Chromium.place`."""
        self.url = url
        self.context = chromium.place(url, **how)
        self.complaints: list[str] = []
        self._excused: list[str] = []
        self.context.on("console", self._said)
        self.context.on("weberror", self._broke)
        self.context.on("requestfailed", self._failed)
        self.context.on("response", self._answered)
        self.page: Page = self.context.new_page()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Leave, and say what the browser complained of, unless there is something worse."""
        self.context.close()
        if kind is None:
            self.judge()

    def judge(self) -> None:
        """Fail with what the browser complained of so far, but for what was excused."""
        left = [said for said in self.complaints if not any(re.search(word, said) for word in self._excused)]
        assert not left, "the browser complained:\n" + "\n".join(left)

    def excuse(self, *words: str) -> None:
        """Say what the browser may complain of, as patterns: what the test itself breaks."""
        self._excused += words

    def open(self, path: str) -> Page:
        """Open a page of the gateway."""
        self.page.goto(path)
        return self.page

    def sign_in(self, name: str, goal: str = "/") -> Page:
        """Sign in with one of the local accounts and come to a page."""
        self.open(f"/sign-in?next={goal}")
        self.fill_in(name)
        self.page.wait_for_url(f"{self.url}{goal}")
        return self.page

    def fill_in(self, name: str, password: str = PASSWORD) -> None:
        """Fill in the form of the local accounts and send it."""
        self.page.get_by_label("Name", exact=True).fill(name)
        self.page.get_by_label("Password").fill(password)
        self.button("Sign in").click()

    def sign_in_at_provider(self, name: str) -> None:
        """Fill in the identity provider's own pages, until they lead back."""
        self.page.locator("input[name=login]").fill(PEOPLE[name]["user_id"])
        self.page.locator("input[name=password]").fill("any")
        self.page.locator("button[type=submit]").click()
        agree = self.page.get_by_role("button", name="Continue")
        agree.or_(self.page.locator(".whoami")).first.wait_for()
        if agree.is_visible():
            agree.click()

    def button(self, name: str) -> Locator:
        """Find a button by its exact words."""
        return self.page.get_by_role("button", name=name, exact=True)

    def heading(self, name: str | re.Pattern[str]) -> Locator:
        """Find the page's main heading by its words."""
        return self.page.get_by_role("heading", level=1, name=name, exact=isinstance(name, str))

    def _ours(self, url: str) -> bool:
        return url.startswith(f"{self.url}/")

    def _said(self, message: ConsoleMessage) -> None:
        where = message.location["url"]
        if message.type in ("error", "warning") and (self._ours(where) or not where):
            self.complaints.append(f"{message.type}: {message.text} ({where})")

    def _broke(self, error: WebError) -> None:
        self.complaints.append(f"script error: {error.error}")

    def _failed(self, request: Request) -> None:
        if self._ours(request.url) and request.failure != _LEFT:
            self.complaints.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if self._ours(response.url) and response.status >= 500:
            self.complaints.append(f"answered {response.status}: {response.url}")
