"""Thirty thousand files on one page at a time, and names as people give them."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from datauploader_sandbox.browser.pages import GREEK, LONG, MANY, furnish
from datauploader_sandbox.browser.scenery import GREEK_NAME, LONG_NAME, Scenery
from datauploader_sandbox.browser.visitor import Visitor

Come = Callable[..., Visitor]


@pytest.fixture(scope="module", autouse=True)
def scenery(site: Any) -> Scenery:
    """Put the uploads into the view."""
    made = Scenery(site.facility.redis_address)
    furnish(made)
    return made


def rows(page: Page) -> Locator:
    """Find the lines of the table of files."""
    return page.locator("#files tbody tr")


@pytest.mark.campaign
def test_thirty_thousand_files_are_shown_page_by_page_with_failed_ones_first(visitor: Come) -> None:
    """Fifty at a time; forward, and back to the first page."""
    page = visitor("anna", f"/uploads/{MANY}").page
    expect(page.locator("#upload .big")).to_contain_text("500 of 30,000 files stored")
    expect(rows(page)).to_have_count(50)
    expect(rows(page).nth(0)).to_contain_text("Another file has this name on the storage already.")
    expect(rows(page).nth(0)).to_contain_text("failed")
    expect(rows(page).nth(1)).to_contain_text("retrying")
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("link", name="First page")).to_be_visible()
    expect(rows(page)).to_have_count(50)
    expect(rows(page).nth(0)).not_to_contain_text("failed")
    page.get_by_role("link", name="First page").click()
    expect(rows(page).nth(0)).to_contain_text("failed")


def test_a_filter_shows_one_state_alone_and_survives_the_next_page(visitor: Come) -> None:
    """Ten pages of catalogued files, and an end."""
    page = visitor("anna", f"/uploads/{MANY}").page
    page.get_by_label("Show").select_option(label="catalogued")
    expect(rows(page).nth(0).locator(".tag")).to_have_text("catalogued")
    for first in ("scan_0000/frame_00050.tif", "scan_0001/frame_00000.tif"):
        page.get_by_role("link", name="Next page").click()
        expect(rows(page).nth(0)).to_contain_text(first)
        expect(page.get_by_label("Show")).to_have_value("catalogued")
    page.get_by_label("Show").select_option(label="stored, not verified")
    expect(page.locator("#files")).to_contain_text("No files in this state.")
    expect(page.get_by_role("link", name="Next page")).to_have_count(0)


def test_the_page_stays_where_it_is_while_files_move(visitor: Come, scenery: Scenery) -> None:
    """Who reads the second page is not thrown back to the first when something happens."""
    page = visitor("anna", f"/uploads/{MANY}").page
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("link", name="First page")).to_be_visible()
    with page.expect_response(lambda answer: f"/uploads/{MANY}/files" in answer.url) as asked:
        scenery.failure(MANY, 601, "conflict", "another file has this name as well", final=True)
    assert "after=&" not in f"{asked.value.url}&"
    expect(page.locator("#upload .alarm dd")).to_contain_text("2")
    expect(page.get_by_role("link", name="First page")).to_be_visible()
    expect(rows(page).nth(0)).not_to_contain_text("failed")


def test_long_and_greek_names_are_whole_and_files_work_without_scripts(visitor: Come) -> None:
    """Nothing is cut off; the browser's own forms and links do the same without JavaScript."""
    plain = visitor("anna", f"/uploads/{LONG}", java_script_enabled=False)
    expect(plain.heading(LONG_NAME)).to_be_visible()
    plain.open(f"/uploads/{GREEK}")
    expect(plain.heading(GREEK_NAME)).to_be_visible()
    plain.open(f"/uploads/{MANY}")
    plain.page.get_by_role("link", name="Next page").click()
    expect(plain.page.get_by_role("link", name="First page")).to_be_visible()
    plain.page.get_by_label("Show").select_option(label="catalogued")
    plain.button("Show").click()
    expect(rows(plain.page).nth(0).locator(".tag")).to_have_text("catalogued")
    plain.open("/")
    assert [" ".join(LONG_NAME.split()), GREEK_NAME] == [
        name for name in plain.page.locator("#now .name").all_inner_texts() if name.startswith(("Residual", "Δ"))
    ]
