"""The pages without a mouse: everything is reached with Tab, is seen to be reached, and works with Enter."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from datauploader_sandbox.browser.pages import RUNNING, furnish
from datauploader_sandbox.browser.scenery import Scenery
from datauploader_sandbox.browser.site import PASSWORD, Site
from datauploader_sandbox.browser.visitor import Visitor

Come = Callable[..., Visitor]
_FOCUSED = """() => {
  const on = document.activeElement, style = getComputedStyle(on);
  const name = on.getAttribute("aria-label") || on.labels?.[0]?.textContent || on.textContent;
  const box = on.getBoundingClientRect();
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return {name: name.trim().replace(/\\s+/g, " "), seen: seen && box.width > 0 && box.right > 0};
}"""


@pytest.fixture(scope="module", autouse=True)
def scenery(site: Site) -> Scenery:
    """Put the uploads into the view."""
    made = Scenery(site.facility.redis_address)
    furnish(made, thousands=1)
    return made


def tab(person: Visitor, until: str = "", most: int = 40) -> list[str]:
    """Press Tab until something is reached (or the page is over); return what was passed, all of it visibly."""
    passed: list[str] = []
    while len(passed) < most:
        person.page.keyboard.press("Tab")
        found = person.page.evaluate(_FOCUSED)
        assert found["seen"], f"nobody sees that this has the focus: {found['name']}"
        passed.append(found["name"])
        if until and found["name"] == until:
            break
    return passed


def test_a_person_signs_in_without_a_mouse(visitor: Come) -> None:
    """The name has the focus when the page comes; Tab leads on, Enter sends."""
    anna = visitor()
    anna.open("/sign-in")
    expect(anna.page.get_by_label("Name", exact=True)).to_be_focused()
    anna.page.keyboard.type("anna")
    anna.page.keyboard.press("Tab")
    anna.page.keyboard.type(PASSWORD)
    anna.page.keyboard.press("Enter")
    expect(anna.heading("Now")).to_be_visible()


def test_the_first_stop_leads_past_the_navigation(visitor: Come) -> None:
    """It is seen only while it has the focus."""
    anna = visitor("anna", f"/uploads/{RUNNING}")
    assert tab(anna, most=1) == ["Skip to the content"]
    anna.page.keyboard.press("Enter")
    assert tab(anna, most=1) == ["Close dataset"]


def test_an_upload_is_steered_without_a_mouse(visitor: Come) -> None:
    """In the order in which it is read; the question before a cancellation is answered with a key."""
    anna = visitor("anna", f"/uploads/{RUNNING}")
    passed = tab(anna, "Cancel upload")
    order = ["Skip to the content", "DataUploader", "Now", "Switch user", "Sign out", "Close dataset", "Pause"]
    assert [name for name in passed if name in order] == order
    asked: list[str] = []
    anna.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    anna.page.keyboard.press("Enter")
    assert asked == ["Cancel this upload? Stored files are kept, but the dataset will not be completed."]
    expect(anna.button("Cancel upload")).to_be_focused()
    expect(anna.page.locator(".headline .tag")).to_have_text("uploading")
    assert tab(anna, "Show")[-1] == "Show"


def test_the_focus_stays_while_the_page_moves(visitor: Come, scenery: Scenery) -> None:
    """What happens to the upload does not take the key out of somebody's hand."""
    anna = visitor("anna", f"/uploads/{RUNNING}")
    tab(anna, "Pause")
    scenery.progress(RUNNING, 88, 12e6)
    expect(anna.page.locator("#upload")).to_contain_text("12.0 MB/s")
    expect(anna.button("Pause")).to_be_focused()
