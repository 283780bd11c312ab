"""The whole way of a scientist's data, in a real browser on the real stack: from the sign-in to a checked manifest."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from datauploader_sandbox.browser.site import Site
from datauploader_sandbox.browser.visitor import Visitor
from datauploader_sandbox.detector import Detector, Plan
from datauploader_testing.servers.storage import reveal
from datauploader_testing.waiting import eventually

SITE = {"provider": True, "broker": "rabbitmq", "storage": "webdav", "proxied": ("storage",)}
PATIENT_MS = 60_000
"""The real parts wait before they try again."""

pytestmark = [pytest.mark.system, pytest.mark.rabbitmq, pytest.mark.storage]


@pytest.fixture
def folders(site: Site, tmp_path: Path) -> dict[str, Path]:
    """Prepare what two experiments have written so far, beside what is not to be uploaded."""
    made = {name: site.facility.watched / name for name in ("lysozyme", "titanium")}
    for name, folder in made.items():
        folder.mkdir()
        Detector(folder, tmp_path / f"{name}.jsonl", Plan(scans=1, frames=2, seconds_per_frame=0)).run()
        (folder / "notes.tmp").write_text("scribbled")
    return made


def test_a_scientist_uploads_two_datasets_and_leaves_with_receipts(
    visitor: Callable[..., Visitor], site: Site, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Sign in, choose, review, start, watch, lose the storage, try again, close, check the receipt."""
    anna = visitor()
    anna.open("/new")
    anna.page.get_by_role("link", name="Sign in with Elettra").click()
    anna.sign_in_at_provider("anna")
    choose(anna, folders)
    in_the_way = site.facility.storage / "experiments" / "20260101" / "lysozyme" / "blocked.dat"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("somebody else's")
    anna.button("Start 2 uploads").click()
    lines = anna.page.locator("#now .uploads a")
    expect(lines).to_have_count(2)
    with Detector(folders["lysozyme"] / "more", tmp_path / "more.jsonl", Plan(scans=0, frames=2)):
        anna.page.get_by_role("link", name=re.compile("lysozyme")).click()
        watch_it_move(anna.page)
        lose_the_storage(anna.page, site)
    try_the_blocked_file_again(anna, folders["lysozyme"], in_the_way, site)
    finish(anna, "lysozyme", folders["lysozyme"], site)
    anna.open("/")
    anna.page.get_by_role("link", name=re.compile("titanium")).click()
    finish(anna, "titanium", folders["titanium"], site)


def choose(anna: Visitor, folders: dict[str, Path]) -> None:
    """Fill in the form for one dataset each, and read the review."""
    page = anna.page
    expect(anna.heading("New upload")).to_be_visible()
    page.get_by_label("Investigation", exact=True).select_option("20260101")
    page.get_by_label("Station", exact=True).select_option("sandbox.xrd1.ws01")
    for name in folders:
        page.get_by_label(f"Choose folder {name}", exact=True).check()
    page.get_by_label("Exclude", exact=True).fill("*.tmp")
    page.get_by_label("One dataset for each selected folder").check()
    page.get_by_label("Name", exact=True).fill("{folder}")
    for name in folders:
        expect(page.locator("#found .result").filter(has_text=name)).to_contain_text("files")
    anna.button("Review").click()
    expect(anna.heading("Review")).to_be_visible()
    expect(page.locator("section.review")).to_have_count(2)
    expect(page.locator("main")).to_contain_text("Nothing has started yet")
    expect(page.locator("section.review").first).to_contain_text("notes.tmp")


def watch_it_move(page: Page) -> None:
    """See files come that were not there when the page was loaded."""
    first = stored(page)
    page.wait_for_function(
        "before => parseInt(document.querySelector('#upload .big').textContent.replace(/,/g, '')) > before",
        arg=first,
        timeout=PATIENT_MS,
    )


def stored(page: Page) -> int:
    """Read how many files are stored."""
    words = page.locator("#upload .big").inner_text()
    return int(words.split()[0].replace(",", ""))


def lose_the_storage(page: Page, site: Site) -> None:
    """Cut the way to the storage, read the sentence, mend the way, and see it go on by itself."""
    proxy = site.facility.proxies["storage"]
    proxy.refuse()
    proxy.cut()
    expect(page.locator(".troubles")).to_contain_text("The storage", timeout=PATIENT_MS)
    proxy.accept()
    watch_it_move(page)


def try_the_blocked_file_again(anna: Visitor, folder: Path, in_the_way: Path, site: Site) -> None:
    """Another file has the name already: read it, remove the other one, and try again."""
    (folder / "blocked.dat").write_text("ours")
    line = anna.page.locator("#files tbody tr").filter(has_text="blocked.dat")
    expect(line.locator(".tag")).to_have_text("failed", timeout=PATIENT_MS)
    expect(line.locator("small")).not_to_be_empty()
    in_the_way.unlink()
    eventually(lambda: site_lacks(site, in_the_way), within_s=10, what="the storage notices that the file is gone")
    anna.button("Retry failed files").click()
    expect(anna.button("Retry failed files")).to_have_count(0, timeout=PATIENT_MS)


def site_lacks(site: Site, path: Path) -> bool:
    """Ask the storage's server itself, which remembers folders for a second."""
    remote = site.facility.servers["webdav"].address.remote
    address = f"{remote['url'].rstrip('/')}/{path.relative_to(site.facility.storage)}"
    return httpx.head(address, auth=(remote["user"], reveal(remote["pass"]))).status_code == httpx.codes.NOT_FOUND


def finish(anna: Visitor, dataset: str, folder: Path, site: Site) -> None:
    """Close the dataset, and check what was written and what is stored against the manifest of its receipt."""
    anna.button("Close dataset").click()
    headline = anna.page.locator(".headline .tag")
    expect(headline).to_have_text(re.compile("complete|needs attention"), timeout=PATIENT_MS)
    assert headline.inner_text() == "complete", anna.page.locator(".troubles").inner_text()
    anna.page.get_by_role("link", name="Receipt", exact=True).click()
    expect(anna.heading(re.compile(f"Receipt of {dataset}"))).to_be_visible()
    with anna.page.expect_download() as loaded:
        anna.page.get_by_role("link", name="manifest-sha256.txt", exact=True).click()
    lines = Path(loaded.value.path()).read_text("utf-8").splitlines()
    said = {path.strip(): digest for digest, _, path in (line.partition(" ") for line in lines)}
    there = {path: name for path, name in files_of(folder).items() if not path.endswith(".tmp")}
    assert said == there
    assert files_of(site.facility.storage / "experiments" / "20260101" / dataset) == there


def files_of(folder: Path) -> dict[str, str]:
    """Hash every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
