"""Debian's Chromium as the tests and the screenshots drive it: without a screen, and without a way off this machine."""

import os
from typing import Any, Self

from playwright.sync_api import Browser, BrowserContext, Playwright, expect, sync_playwright

from datauploader_testing.servers.programs import find_program

DESK, PHONE, NARROW = (1366, 768), (390, 844), (360, 740)
"""Width and height of the screens that people use."""
PATIENCE_MS = 30_000
"""How long a page may take before it counts as silent: other tests, and their brokers, run on the same machine."""
_ARGUMENTS = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
)


class Chromium:
    """A running browser, in which people have places of their own; a context manager."""

    def __init__(self) -> None:
        """Find it.

        Raises:
            MissingProgramError: it is not installed.
        """
        self._program = find_program("chromium", install="apt-get install chromium")
        self._playwright: Playwright
        self._browser: Browser

    def __enter__(self) -> Self:
        """Start it."""
        self._playwright = sync_playwright().start()
        expect.set_options(timeout=PATIENCE_MS)
        root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own sandbox refuses to work for root
        self._browser = self._playwright.chromium.launch(
            executable_path=self._program, args=[*_ARGUMENTS, *root], timeout=60_000
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._browser.close()
        self._playwright.stop()

    def place(self, url: str, *, size: tuple[int, int] = DESK, dark: bool = False, **more: Any) -> BrowserContext:
        """Return somebody's place: cookies and windows of their own, at the pages of one gateway."""
        width, height = size
        context = self._browser.new_context(
            base_url=url,
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            locale="en-GB",
            timezone_id="Europe/Rome",
            reduced_motion="reduce",
            **more,
        )
        context.set_default_timeout(PATIENCE_MS)
        return context
