"""The first questions of the desktop as people see them: each catalogue, also without JavaScript."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from datauploader_gateway.desktop.configuration import CATALOGUES
from datauploader_gateway.desktop.one_time_login import new_link
from datauploader_gateway.desktop.place import DesktopFolder
from datauploader_gateway.desktop.setup import SetupServer
from datauploader_sandbox.browser.chromium import DESK, NARROW, PHONE, Chromium
from datauploader_sandbox.browser.look import too_wide, violations
from datauploader_sandbox.browser.visitor import Visitor


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SetupServer]:
    """Give the questions of a desktop that was never set up."""
    with SetupServer(DesktopFolder(tmp_path / "home"), "secret") as server:
        yield server


def comes(chromium: Chromium, server: SetupServer, *, javascript: bool = True) -> Visitor:
    """Let the person of this computer come, by the link."""
    visitor = Visitor(chromium, server.door.partition("/setup/")[0], java_script_enabled=javascript)
    visitor.excuse("status of 422")
    visitor.open(new_link(server.door, "secret"))
    return visitor


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in ("vuo", "folder") else pytest.mark.campaign) for kind in CATALOGUES]
)
def test_the_questions_of_a_catalogue_shut_nobody_out(chromium: Chromium, server: SetupServer, kind: str) -> None:
    """At first and with what is wrong at its fields, light and dark, on large and small screens."""
    with comes(chromium, server) as visitor:
        page = visitor.page
        for _ in range(2):
            page.get_by_label(CATALOGUES[kind], exact=True).check()
            for width, height in (DESK, PHONE, NARROW):
                page.set_viewport_size({"width": width, "height": height})
                assert too_wide(page) == [], f"{width} pixels wide"
            assert violations(page) == [], "light"
            page.emulate_media(color_scheme="dark")
            assert violations(page, "color-contrast") == [], "dark"
            page.emulate_media(color_scheme="light")
            visitor.button("Save and start").click()
            expect(page.locator(f".{kind} .wrong").first).to_be_visible()


def test_a_catalogue_is_chosen_without_javascript_and_what_was_typed_stays(
    chromium: Chromium, server: SetupServer
) -> None:
    """The questions of the chosen one alone are shown; wrong answers come back with their passwords."""
    with comes(chromium, server, javascript=False) as visitor:
        page = visitor.page
        for kind, label in CATALOGUES.items():
            page.get_by_label(label, exact=True).check()
            shown = {other for other in CATALOGUES if page.locator(f".kind.{other}").is_visible()}
            assert shown == {kind}
        page.get_by_label("Your name").fill("anna")
        page.get_by_label("New password").fill("seven77")
        visitor.button("Save and start").click()
        expect(page.locator("#account_password-wrong")).to_have_text("Use at least 8 characters.")
        expect(page.locator("#catalogue_folder-wrong")).to_have_text("This is required.")
        expect(page.get_by_label("Your name")).to_have_value("anna")
        expect(page.get_by_label("New password")).to_have_value("seven77")
