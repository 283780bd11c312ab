"""Several people, several windows, and rights that end in the middle: what was allowed goes on, nothing else begins."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Route, expect

from datauploader_sandbox.browser.site import PASSWORD, PEOPLE, Site
from datauploader_sandbox.browser.visitor import Visitor
from datauploader_sandbox.run import Run

Come = Callable[..., Visitor]


@pytest.fixture
def run(site: Site, tmp_path: Path) -> Run:
    """Uploads that Anna asks for with a token of hers."""
    return Run(site.facility, tmp_path / "no ledger")


def folder_with(site: Site, name: str, *files: str) -> Path:
    """Make a folder of the station, with files in it."""
    folder = site.facility.watched / name
    folder.mkdir()
    for file in files:
        (folder / file).write_bytes(file.encode())
    return folder


def begin(run: Run, folder: Path, dataset: str) -> str:
    """Have Anna begin to upload a folder; return the upload's id once the station has taken it up."""
    upload_id = run.request(dataset, path=str(folder.resolve()), quiet_period_s=0.2)
    run.opened(upload_id)
    return upload_id


def choose(person: Visitor, folder: Path, dataset: str) -> None:
    """Fill in the form for a folder, as far as the review."""
    page = person.open("/new")
    page.get_by_label("Investigation", exact=True).select_option("20260101")
    page.get_by_label("Station", exact=True).select_option("sandbox.xrd1.ws01")
    page.get_by_label(f"Choose folder {folder.name}", exact=True).check()
    page.get_by_label("Name", exact=True).fill(dataset)
    person.button("Review").click()
    expect(person.heading("Review")).to_be_visible()


def test_what_is_listed_of_one_station_cannot_be_ticked_once_another_is_chosen(visitor: Come, site: Site) -> None:
    """The former listing goes at once, not when the new one comes and takes the tick with it."""
    folder = folder_with(site, "awaited", "one.dat")
    anna = visitor("anna")
    page = anna.open("/new")
    box = page.get_by_label(f"Choose folder {folder.name}", exact=True)
    expect(box).to_be_visible()
    held: list[Route] = []
    page.route("**/new/folder?*", lambda route: held.append(route), times=1)  # noqa: PLW0108 - Playwright wants a function
    with page.expect_request("**/new/folder?*"):
        page.get_by_label("Station", exact=True).select_option("sandbox.xrd1.ws01")
    expect(box).to_have_count(0)
    held[0].continue_()
    page.get_by_label("Investigation", exact=True).select_option("20260101")
    box.check()
    anna.button("Review").click()
    expect(anna.heading("Review")).to_be_visible()


def test_a_tick_holds_while_the_gateway_is_slow_and_the_listing_changes(visitor: Come, site: Site) -> None:
    """What was ticked goes out of the listing before anything is kept: it is uploaded; what was unticked is not."""
    folder = folder_with(site, "slow", *(f"{number:03}.dat" for number in range(201)))
    anna = visitor("anna")
    page = anna.open("/new")
    page.get_by_label("Investigation", exact=True).select_option("20260101")
    page.get_by_text(folder.name, exact=True).click()
    for sent in ("found", "keep", "values"):
        page.route(f"**/new/{sent}", lambda route: None)  # never answered
    tick = (
        page.get_by_role("checkbox", name=re.compile("^007.dat")),
        page.get_by_role("checkbox", name=re.compile("^100.dat")),
    )
    for box in tick:
        box.check()
    search = page.get_by_label("Find by name in")
    search.fill("150")
    expect(tick[0]).to_have_count(0)
    search.fill("dat")
    expect(tick[0]).to_be_checked()
    tick[1].uncheck()
    search.fill("150")
    expect(tick[0]).to_have_count(0)
    anna.button("Review").click()
    expect(page.locator("section.review")).to_contain_text("007.dat")
    expect(page.locator("section.review")).not_to_contain_text("100.dat")


def test_two_scientists_upload_the_same_folder_and_each_gets_a_dataset(visitor: Come, site: Site) -> None:
    """At the same station, at once: both are told of their own, and what is stored stands in two places."""
    folder = folder_with(site, "shared", "one.dat", "two.dat")
    both = {name: visitor(name) for name in ("anna", "ben")}
    for name, person in both.items():
        choose(person, folder, f"of {name}")
    for person in both.values():
        person.button("Start sync").click()
    for name, person in both.items():
        expect(person.page.locator("#upload .big")).to_contain_text("2 of 2 files stored")
        person.button("Close dataset").click()
        expect(person.page.locator(".headline .tag")).to_have_text("complete")
        person.open("/")
        expect(person.page.locator("main")).to_contain_text(f"of {name}")
        expect(person.page.locator("main")).not_to_contain_text("of ben" if name == "anna" else "of anna")
        stored = site.facility.storage / "experiments" / "20260101" / f"of {name}"
        assert {path.name for path in stored.iterdir()} == {"one.dat", "two.dat"}


def test_what_somebody_else_has_put_at_the_destination_is_named_before_anything_begins(
    visitor: Come, site: Site
) -> None:
    """The review says which file would be in the way; of an upload of one's own it says that it is at work."""
    folder = folder_with(site, "occupied", "free.dat", "taken.dat")
    theirs = site.facility.storage / "experiments" / "20260101" / "occupied" / "taken.dat"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("somebody else's")
    anna = visitor("anna")
    choose(anna, folder, "occupied")
    expect(anna.page.locator("section.review")).to_contain_text(
        "1 file conflicts with a different file of the same name there"
    )
    expect(anna.page.locator("section.review")).to_contain_text("such as taken.dat")
    theirs.unlink()
    anna.button("Start sync").click()
    expect(anna.page.locator("#upload .big")).to_contain_text("2 of 2 files stored")
    choose(anna, folder, "occupied")
    expect(anna.page.locator("section.review")).to_contain_text(
        "An upload of yours is already writing to the dataset occupied"
    )
    expect(anna.page.locator("section.review")).not_to_contain_text("conflict")


def test_two_windows_show_the_same(visitor: Come, site: Site, run: Run) -> None:
    """What is done in one is seen in the other, and undone there."""
    upload_id = begin(run, folder_with(site, "windows", "one.dat"), "windows")
    anna = visitor("anna", f"/uploads/{upload_id}")
    second = anna.context.new_page()
    second.goto(anna.url + f"/uploads/{upload_id}")
    expect(second.locator("#upload .big")).to_contain_text("1 of 1 file stored")
    anna.button("Pause").click()
    expect(second.locator(".headline .tag")).to_have_text("paused")
    second.get_by_role("button", name="Resume", exact=True).click()
    expect(anna.page.locator(".headline .tag")).to_have_text("uploading")
    second.get_by_role("button", name="Close dataset", exact=True).click()
    for page in (anna.page, second):
        expect(page.locator(".headline .tag")).to_have_text("complete")


def test_an_account_that_is_taken_away_shows_its_person_out_and_the_upload_goes_on(
    visitor: Come, site: Site, run: Run
) -> None:
    """The open page leads to the sign-in, which lets nobody in; staff of the beamline see the upload complete."""
    folder = folder_with(site, "taken", "before.dat")
    upload_id = begin(run, folder, "taken")
    dana, anna = visitor("dana", f"/uploads/{upload_id}"), visitor("anna", f"/uploads/{upload_id}")
    expect(anna.page.locator("#upload .big")).to_contain_text("1 of 1 file stored")
    anna.excuse("status of 401", "reconnect failed with status 401")
    site.let_in(*(name for name in PEOPLE if name != "anna"))
    try:
        expect(anna.heading("Sign in")).to_be_visible(timeout=10_000)
        anna.page.get_by_label("Name", exact=True).fill("anna")
        anna.page.get_by_label("Password", exact=True).fill(PASSWORD)
        anna.button("Sign in").click()
        expect(anna.page.get_by_role("alert")).to_contain_text("wrong")
        (folder / "meanwhile.dat").write_text("the detector goes on")
        expect(dana.page.locator("#upload .big")).to_contain_text("2 of 2 files stored")
        dana.button("Close dataset").click()
        expect(dana.page.locator(".headline .tag")).to_have_text("complete")
    finally:
        site.let_in(*PEOPLE)


def test_an_investigation_that_closes_takes_nothing_new_and_what_runs_goes_on(
    visitor: Come, site: Site, run: Run
) -> None:
    """The form says that it is closed, a request in spite of that is refused with the reason."""
    folder = folder_with(site, "closing", "before.dat")
    upload_id = begin(run, folder, "closing")
    run.until(upload_id, lambda status: status.counts.catalogued.files == 1, "the first file is catalogued")
    anna = visitor("anna", f"/uploads/{upload_id}")
    choose(anna, folder, "too late")
    closed = {"reason": "The beamtime is over."}
    httpx.delete(f"{site.facility.catalogue.url}/_double/investigations/20260101", params=closed).raise_for_status()
    anna.excuse("status of 40")
    anna.button("Start sync").click()
    expect(anna.page.get_by_role("alert")).to_contain_text("Investigation 20260101 is closed")
    anna.open("/new")
    expect(anna.page.locator("option[value='20260101']")).to_contain_text("(closed)")
    (folder / "meanwhile.dat").write_text("the detector goes on")
    anna.open(f"/uploads/{upload_id}")
    expect(anna.page.locator("#upload .big")).to_contain_text("2 of 2 files stored")
    anna.button("Close dataset").click()
    expect(anna.page.locator(".headline .tag")).to_have_text("complete")
