"""What people see of an upload as it happens, whatever happens to gateway, line, computer or session."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Route, expect

from datauploader_sandbox.browser.site import PASSWORD, Site
from datauploader_sandbox.browser.visitor import Visitor
from datauploader_sandbox.detector import Detector, Plan
from datauploader_sandbox.run import Run

Come = Callable[..., Visitor]
BROKEN = (
    r"ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|CONNECTION_RESET|INTERNET_DISCONNECTED)",
    r"htmx:(sse:)?error: (Failed to fetch|network error)",
)
"""What a browser may say of a gateway that is not there."""
LIVE = re.compile("/live$")
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


class Scene:
    """An upload of a folder of its own, into which a detector writes."""

    def __init__(self, site: Site, name: str, ledger: Path) -> None:
        """Ask for it as Anna."""
        self.folder = site.facility.watched / name
        self.folder.mkdir()
        self.run, self.name, self._ledger = Run(site.facility, ledger), name, ledger
        self.id = self.run.request(name, path=str(self.folder.resolve()), quiet_period_s=0.2)
        self.path = f"/uploads/{self.id}"

    def detector(self) -> Detector:
        """Make a detector that writes into the folder until it is stopped."""
        return Detector(self.folder, self._ledger, Plan(scans=0, frames=2, seconds_per_frame=0.05))

    def write(self, name: str) -> None:
        """Write one file."""
        (self.folder / name).write_bytes(name.encode())


Begin = Callable[[str], Scene]


@pytest.fixture
def begin(site: Site, tmp_path: Path) -> Iterator[Begin]:
    """Return a function that begins an upload; those that still run at the end are cancelled."""
    scenes: list[Scene] = []

    def make(name: str) -> Scene:
        scenes.append(Scene(site, name, tmp_path / f"{name}.jsonl"))
        scenes[-1].run.opened(scenes[-1].id)
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.run.token = site.facility.sign_in()
        if not scene.run.status(scene.id).over:
            scene.run.control(scene.id, "cancel")


def state(person: Visitor) -> Locator:
    """Find the word that says how the upload is."""
    return person.page.locator(".headline .tag")


def stored(person: Visitor) -> Locator:
    """Find the line that says how much is stored."""
    return person.page.locator("#upload .big")


def at_least(number: int) -> re.Pattern[str]:
    """Match so many stored files, or up to 99."""
    return re.compile(rf"^\s*({'|'.join(map(str, range(number, 100)))}) of ")


def test_the_page_moves_while_a_detector_writes_and_its_buttons_work(visitor: Come, begin: Begin) -> None:
    """Files come, the upload pauses, goes on, is closed and complete; nobody loads the page again."""
    scene = begin("moving")
    anna = visitor("anna", scene.path)
    expect(state(anna)).to_have_text("uploading")
    anna.page.evaluate("window.sameDocument = true")
    with scene.detector():
        expect(stored(anna)).to_have_text(at_least(3))
        expect(anna.page.locator("#files tbody tr").nth(2)).to_be_visible()
        anna.button("Pause").click()
        expect(state(anna)).to_have_text("paused")
        anna.button("Resume").click()
        expect(state(anna)).to_have_text("uploading")
    anna.button("Close dataset").click()
    expect(state(anna)).to_have_text("complete")
    expect(anna.page.locator(".safety")).to_contain_text("It is safe to switch off this computer")
    expect(anna.button("Cancel upload")).to_have_count(0)
    expect(anna.page.locator("#files .tag").first).to_have_text("catalogued")
    assert anna.page.evaluate("window.sameDocument")


def test_a_cancellation_asks_first(visitor: Come, begin: Begin) -> None:
    """Nothing happens after "no"."""
    scene = begin("cancelled")
    anna = visitor("anna", scene.path)
    answers = iter((False, True))
    anna.page.on("dialog", lambda dialog: dialog.accept() if next(answers) else dialog.dismiss())
    anna.button("Cancel upload").click()
    expect(state(anna)).to_have_text("uploading")
    anna.button("Cancel upload").click()
    expect(state(anna)).to_have_text("cancelled")


def test_the_page_comes_back_by_itself_when_the_gateway_does(visitor: Come, begin: Begin, site: Site) -> None:
    """It says that the connection is interrupted, and afterwards what happened meanwhile; a reload shows the same."""
    scene = begin("restarted")
    anna = visitor("anna", scene.path)
    anna.excuse(*BROKEN)
    scene.write("before.dat")
    expect(stored(anna)).to_contain_text("1 of 1 file stored")
    interrupted = anna.page.locator("#interrupted")
    expect(interrupted).to_be_hidden()
    with site.facility.without("gateway"):
        expect(interrupted).to_be_visible()
        scene.write("meanwhile.dat")
    expect(interrupted).to_be_hidden()
    expect(stored(anna)).to_contain_text("2 of 2 files stored")
    expect(anna.page.locator("#files tbody tr")).to_have_count(2)
    anna.page.reload()
    expect(stored(anna)).to_contain_text("2 of 2 files stored")


def test_the_first_page_comes_back_by_itself_when_the_gateway_does(visitor: Come, begin: Begin, site: Site) -> None:
    """The list too."""
    scene = begin("listed")
    anna = visitor("anna")
    anna.excuse(*BROKEN)
    line = anna.page.locator(f"#line-{scene.id}")
    scene.write("before.dat")
    expect(line).to_contain_text("1 of 1 file")
    with site.facility.without("gateway"):
        expect(anna.page.locator("#interrupted")).to_be_visible()
        scene.write("meanwhile.dat")
    expect(anna.page.locator("#interrupted")).to_be_hidden()
    expect(line).to_contain_text("2 of 2 files")


def test_a_computer_that_loses_its_network_or_sleeps_asks_anew(visitor: Come, begin: Begin) -> None:
    """What it holds may be a connection on which nothing comes any more; it goes on behind the last that it heard."""
    scene = begin("asleep")
    anna = visitor("anna")
    anna.excuse(*BROKEN, "htmx:error: timeout")  # what was being asked when the computer fell asleep
    anna.page.clock.install()
    anna.open(scene.path)
    scene.write("before.dat")
    expect(stored(anna)).to_contain_text("1 of 1 file stored")
    anna.context.set_offline(True)
    anna.page.clock.run_for(1000)
    expect(anna.page.locator("#interrupted")).to_be_visible()
    with anna.page.expect_request(LIVE) as asked:
        anna.context.set_offline(False)
        anna.page.clock.run_for(1000)
    assert "last-event-id" in asked.value.headers
    expect(anna.page.locator("#interrupted")).to_be_hidden()
    scene.write("meanwhile.dat")  # what is heard shows that the stream stands again, and can be left behind by a sleep
    expect(stored(anna)).to_contain_text("2 of 2 files stored")
    with anna.page.expect_request(LIVE):
        anna.page.clock.fast_forward(3_600_000)
        anna.page.clock.run_for(1000)
    scene.write("afterwards.dat")
    expect(stored(anna)).to_contain_text("3 of 3 files stored")


def test_a_page_whose_stream_does_not_even_begin_tries_again(visitor: Come, begin: Begin) -> None:
    """The gateway went away between the page and its stream."""
    scene = begin("begun")
    anna = visitor("anna")
    anna.excuse("ERR_FAILED", *BROKEN)
    anna.page.route(f"**{scene.path}/live", lambda route: route.abort(), times=1)  # not that of the page before
    anna.page.clock.install()
    anna.open(scene.path)
    expect(anna.page.locator("#interrupted")).to_be_visible()
    with anna.page.expect_request(LIVE):
        anna.page.clock.run_for(5000)
    expect(anna.page.locator("#interrupted")).to_be_hidden()
    scene.write("one.dat")
    expect(stored(anna)).to_contain_text("1 of 1 file stored")


def test_a_page_whose_scripts_come_slowly_is_live_as_well(visitor: Come, begin: Begin) -> None:
    """The part that reads streams comes long after the part that looks for what wants one."""
    scene = begin("slowly")
    anna = visitor("anna")
    held: list[Route] = []
    anna.page.route("**/hx-sse.js", lambda route: held.append(route))  # noqa: PLW0108 - Playwright wants a function
    anna.page.goto(anna.url + scene.path, wait_until="commit")
    anna.page.wait_for_function("() => window.htmx !== undefined", polling=20)
    anna.page.evaluate("() => new Promise((done) => setTimeout(done, 100))")  # whatever it has put off for a moment
    with anna.page.expect_request(LIVE):
        held[0].continue_()
    scene.write("one.dat")
    expect(stored(anna)).to_contain_text("1 of 1 file stored")


def test_a_page_that_nobody_sees_is_quiet_and_knows_all_when_it_is_seen(visitor: Come, begin: Begin) -> None:
    """Behind another window it lets its stream go; in front again it shows what happened meanwhile."""
    scene = begin("hidden")
    anna = visitor("anna", scene.path)
    scene.write("before.dat")
    expect(stored(anna)).to_contain_text("1 of 1 file stored")
    anna.page.evaluate(HIDE, True)
    scene.write("unseen.dat")
    scene.run.until(scene.id, lambda status: status.counts.stored.files == 2, "the second file is stored")
    with anna.page.expect_request(LIVE):
        anna.page.evaluate(HIDE, False)
    expect(stored(anna)).to_contain_text("2 of 2 files stored")
    expect(anna.page.locator("#interrupted")).to_be_hidden()


def test_who_is_signed_out_in_the_middle_comes_to_the_sign_in_and_the_upload_goes_on(
    visitor: Come, begin: Begin, site: Site
) -> None:
    """An operator signs Anna out everywhere; after signing in again she sees what went on without her."""
    scene = begin("revoked")
    anna = visitor("anna", scene.path)
    anna.excuse("status of 401", "reconnect failed with status 401")
    scene.write("before.dat")
    expect(stored(anna)).to_contain_text("1 of 1 file stored")
    with httpx.Client(base_url=site.url, headers={"Origin": site.url}) as otto:
        otto.post("/api/v1/session", json={"method": "local", "username": "otto", "password": PASSWORD})
        assert otto.post("/api/v1/people/1101/sign-out").status_code == 204
    anna.page.wait_for_url(re.compile(r"/sign-in\?next="))
    scene.write("meanwhile.dat")
    anna.fill_in("anna")
    expect(anna.page).to_have_url(site.url + scene.path)
    expect(stored(anna)).to_contain_text("2 of 2 files stored")


def test_two_people_at_one_computer_see_their_own(visitor: Come, begin: Begin) -> None:
    """Both look at once; each sees what is theirs, live; the other's address says what to do."""
    scene = begin("annas")
    anna, ben = visitor("anna"), visitor("ben")
    expect(anna.page.locator(f"#line-{scene.id}")).to_be_visible()
    expect(ben.page.locator("#now")).to_contain_text("Nothing is being uploaded.")
    scene.write("one.dat")
    expect(anna.page.locator(f"#line-{scene.id}")).to_contain_text("1 of 1 file")
    expect(ben.page.locator(f"#line-{scene.id}")).to_have_count(0)
    ben.excuse("status of 404")
    ben.open(scene.path)
    expect(ben.page.get_by_role("alert")).to_contain_text("that Ben Okafor may see")
    expect(ben.page.locator("main")).to_contain_text("press Switch user")
    expect(ben.button("Switch user")).to_be_visible()


def test_a_button_that_comes_too_late_says_why(visitor: Come, begin: Begin) -> None:
    """The upload ended in another window; the sentence stands on the page, and the page knows the end."""
    scene = begin("late")
    anna = visitor("anna", scene.path)
    anna.page.route(LIVE, lambda route: route.abort())
    anna.excuse("ERR_FAILED", *BROKEN, "status of 409")
    anna.page.reload()
    scene.run.control(scene.id, "cancel")
    scene.run.until(scene.id, lambda status: status.over, "the upload is over")
    anna.button("Pause").click()
    expect(anna.page.locator("#notice")).to_contain_text("cancelled")
