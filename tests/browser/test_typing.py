"""What somebody types while the page still waits for an answer: it wins, on a fast network and on a slow one."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from datauploader_sandbox.browser.site import Site
from datauploader_sandbox.browser.visitor import Visitor

SCHEMA = {
    "type": "object",
    "required": ["sample"],
    "properties": {
        "sample": {"type": "string", "title": "Sample"},
        "energy": {"type": "number", "title": "Energy", "units": "keV", "maximum": 40},
        "comment": {"type": "string", "title": "Comment"},
    },
}
Come = Callable[..., Visitor]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give a facility that asks for metadata."""
    folder = tmp_path_factory.mktemp("site")
    schema = folder / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    with Site(folder / "site", settings={"gateway": {"metadata_schema": str(schema)}}) as made:
        yield made


def come(visitor: Come, site: Site, name: str) -> Page:
    """Open the form with a folder that can be ticked."""
    folder = site.facility.watched / name
    folder.mkdir()
    (folder / "a.dat").write_text("a")
    page = visitor("anna", "/new").page
    page.get_by_label("Investigation", exact=True).select_option("20260101")
    page.get_by_label("Station", exact=True).select_option("sandbox.xrd1.ws01")
    expect(page.get_by_label(f"Choose folder {name}", exact=True)).to_be_visible()
    return page


@pytest.mark.parametrize("latency_ms", [*(pytest.param(ms, marks=pytest.mark.campaign) for ms in (0, 150)), 800])
def test_what_is_typed_after_a_tick_reaches_the_catalogue_whole(visitor: Come, site: Site, latency_ms: int) -> None:
    """Tick, type at once, press *Review* as the last key is up: every letter is on the page and in the dataset."""
    page = come(visitor, site, f"typed{latency_ms}")
    wire = page.context.new_cdp_session(page)
    wire.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": latency_ms, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    page.get_by_label(f"Choose folder typed{latency_ms}", exact=True).check()
    sample, energy = page.get_by_label("Sample"), page.get_by_label("Energy")
    sample.press_sequentially("Lysozyme 7", delay=110)
    energy.press_sequentially("12.4", delay=90)
    assert (sample.input_value(), energy.input_value()) == ("Lysozyme 7", "12.4")
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_role("heading", name="Review", exact=True)).to_be_visible()
    expect(page.locator("section.review")).to_contain_text("Lysozyme 7")
    expect(page.locator("section.review")).to_contain_text("12.4")
    page.get_by_role("button", name=re.compile("^Start")).click()
    expect(page.locator("#describe")).to_contain_text("Lysozyme 7")
    expect(page.locator("#describe")).to_contain_text("12.4")


def test_an_answer_about_the_files_fills_only_what_nobody_has_typed(visitor: Come, site: Site) -> None:
    """It comes in the middle of a word: the word and the cursor stay where they are; an empty field is filled."""
    page = come(visitor, site, "held")
    held: list[Route] = []
    page.route("**/new/values", lambda route: held.append(route), times=1)  # noqa: PLW0108 - Playwright wants a function
    with page.expect_request("**/new/values"):
        page.get_by_label("Choose folder held", exact=True).check()
    sample = page.get_by_label("Sample")
    sample.press_sequentially("Lyso")
    answer = held[0].fetch()
    said = answer.text().replace('name="m.comment" value=""', 'name="m.comment" value="of the file"')
    said = said.replace('name="m.sample" value=""', 'name="m.sample" value="of the file"')
    held[0].fulfill(response=answer, body=said)
    expect(page.get_by_label("Comment")).to_have_value("of the file")
    expect(sample).to_be_focused()
    page.keyboard.type("zyme")
    expect(sample).to_have_value("Lysozyme")
