"""F47: any two uploads of one dataset name: by whom, from where, of what, asked how, and how the first one stands."""

import hashlib
import itertools
import os
import subprocess
import tomllib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import tomli_w
from playwright.sync_api import expect

from datauploader.contracts import Station
from datauploader.errors import RequestRefused
from datauploader.runtime.config import CONFIG_VARIABLE
from datauploader_client.gateway_client import GatewayClient
from datauploader_sandbox.browser.chromium import Chromium
from datauploader_sandbox.browser.site import PASSWORD, Site
from datauploader_sandbox.browser.visitor import Visitor
from datauploader_sandbox.facility import BASE_DIR
from datauploader_sandbox.guard import Guard
from datauploader_sandbox.processes import PROGRAM
from datauploader_sandbox.run import Run
from datauploader_testing.waiting import eventually

from .conftest import HERE, stays_complete

pytestmark = [pytest.mark.campaign, pytest.mark.fault("F47")]
THERE = Station(facility=HERE.facility, beamline=HERE.beamline, station="ws02")
NAMES = ("a.dat", "b.dat", "sub/c.dat")
SESSIONS = {"anna": "sandbox-session-anna", "ben": "sandbox-session-ben"}
OWNERS = {HERE: "anna", THERE: "ben"}
"""Who answers for the rules of each station."""

Holdings = dict[str, str]


@dataclass(frozen=True)
class Pair:
    """How a second upload differs from the first one, which Anna asks for at the first station."""

    state: Literal["open", "complete", "cancelled"]
    """Of the first one."""
    person: Literal["same", "other"]
    folder: Literal["same", "other"]
    station: Literal["same", "other"]

    def __str__(self) -> str:
        return f"{self.state}, {self.person} person, {self.folder} folder, {self.station} station"

    @property
    def there(self) -> Station:
        """Where the second one is."""
        return HERE if self.station == "same" else THERE

    @property
    def changes(self) -> bool:
        """The files differ; those of an upload that is open would be new versions of its own."""
        return self.folder == "other" or self.state != "open"

    @property
    def refusal(self) -> str:
        """What the second one is told."""
        if self.state == "complete":
            return "is already complete"
        if self.person == "other":
            return "An upload of another person is writing to the dataset"
        return (
            "is already writing to the dataset"
            if self.state == "open"
            else "was cancelled; its files may already be stored"
        )


PAIRS = [
    Pair(*one)  # type: ignore[arg-type]
    for one in itertools.product(("open", "complete", "cancelled"), *[("same", "other")] * 3)
]


class Hall:
    """A facility with two stations that see the same disk, and the ways in which people ask for uploads."""

    def __init__(self, site: Site, folder: Path) -> None:
        """Have nobody ask yet."""
        self.site, self.facility, self._folder = site, site.facility, folder
        self.runs = {name: Run(self.facility, folder / "no ledger") for name in SESSIONS}
        for name, run in self.runs.items():
            run.token = self.facility.sign_in(SESSIONS[name])

    def write(self, folder: str, word: str) -> Path:
        """Write the same names as ever, each with a content of its own."""
        there = self.facility.watched / folder
        for name in NAMES:
            path = there / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{word} {folder} {name}".encode() * 20)
        return there.resolve()

    def held(self, dataset: str) -> Holdings:
        """Return the digests of what lies in a dataset's folder on the storage."""
        folder = self.facility.storage / BASE_DIR.strip("/") / "20260101" / dataset
        return digests(folder)

    def first(self, pair: Pair, name: str, folder: str, person: str = "anna") -> str:
        """Upload three files, and leave the upload as it is to be found; return its id."""
        path, run = self.write(folder, "first"), self.runs[person]
        upload = run.request(name, path=str(path), kind="folder", quiet_period_s=0.2)
        run.until(upload, lambda status: status.counts.catalogued.files == len(NAMES), "the first one is catalogued")
        if pair.state == "cancelled":
            run.control(upload, "cancel")
            run.until(upload, lambda status: status.state == "cancelled", "the first one is cancelled")
        elif pair.state == "complete":
            run.control(upload, "close")
            run.completed(upload)
        return upload

    def receipt(self, upload: str, person: str = "anna") -> Holdings:
        """Return what the receipt says of each file."""
        headers = {"Authorization": f"Bearer {self.runs[person].token}"}
        answer = httpx.get(f"{self.site.url}/api/v1/uploads/{upload}/receipt", headers=headers, timeout=30)
        return {file["path"]: file["sha256"] for file in answer.raise_for_status().json()["file_list"] if file["proof"]}

    def dataset(self, name: str) -> dict[str, str] | None:
        """Return the datafiles of a complete dataset by path, None while it is not complete."""
        found = [one for one in self.runs["anna"].catalogue()["datasets"] if one["name"] == name]
        assert len(found) < 2, f"{name} was made twice"
        if not found or not found[0]["complete"]:
            return None
        return {one["path"]: one["sha256"] for one in found[0]["datafiles"]}

    def until_complete(self, name: str) -> dict[str, str]:
        """Wait for a dataset; return its datafiles."""
        found = eventually(lambda: self.dataset(name), within_s=60, every_s=0.2, what=f"{name} is complete")
        assert found is not None
        return found


def digests(folder: Path) -> Holdings:
    """Return the digest of each file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


Ask = Callable[[str, Station, Path, str, str], "str | None"]
"""Ask as somebody at a station for a folder to become a dataset, in some way; return the refusal's words, or None.

The last argument is the dataset as it was named first, or "continue".
"""


def by_rest(hall: Hall) -> Ask:
    """Ask as a program does."""

    def ask(person: str, station: Station, folder: Path, dataset: str, how: str) -> str | None:
        more = {"continue_dataset": True} if how == "continue" else {}
        body = {
            "investigation": "20260101", "dataset": {"name": dataset}, "station": station.key, "path": str(folder),
            "kind": "folder", "mode": "batch", "quiet_period_s": 0.2, **more,
        }  # fmt: skip
        try:
            with GatewayClient(hall.site.url, hall.runs[person].token) as gateway:
                gateway.request_upload(body, key=str(uuid.uuid4()))
        except RequestRefused as refused:
            return f"{refused} {refused.hint}"
        return None

    return ask


def by_command(hall: Hall) -> Ask:
    """Ask with `datauploader upload`."""

    def ask(person: str, station: Station, folder: Path, dataset: str, how: str) -> str | None:
        secrets = {"DATAUPLOADER_TOKEN": hall.runs[person].token, CONFIG_VARIABLE: str(hall.facility.config)}
        said = subprocess.run(
            [PROGRAM, "upload", folder, "-i", "20260101", "-d", dataset, "--station", station.key,
             "--gateway", hall.site.url, *(["--continue"] if how == "continue" else [])],
            env=os.environ | secrets, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return " ".join((said.stdout + said.stderr).split()) if said.returncode else None

    return ask


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """Give a running facility with both stations."""
    folder = tmp_path_factory.mktemp("hall")
    settings = {
        "catalog": {"rule_owners": {at.key: {"anna": "1101", "ben": "1102"}[who] for at, who in OWNERS.items()}}
    }
    with ExitStack() as stack:
        site = stack.enter_context(Site(folder, broker="rabbitmq", settings=settings))
        guard = stack.enter_context(Guard(site.facility))
        second_station(site)
        yield Hall(site, folder)
        stays_complete(guard)


def second_station(site: Site, **watcher: Any) -> None:
    """Start watcher and transfer of a second station."""
    facility = site.facility
    document = tomllib.loads(facility.config.read_text(encoding="utf-8"))
    document |= {"station": THERE.station, "state_dir": str(facility.folder / "state of ws02")}
    document["watcher"] |= watcher
    config = facility.folder / "ws02.toml"
    config.write_text(tomli_w.dumps(document), encoding="utf-8")
    config.chmod(0o600)
    for service in ("watcher#2", "transfer#2"):
        if not facility.processes.runs(service):
            facility.processes.start(service, **{CONFIG_VARIABLE: str(config)})
    token = facility.sign_in()

    def both() -> bool:
        with GatewayClient(site.url, token) as gateway:
            return {one.station for one in gateway.stations().items if not one.silent} == {HERE.key, THERE.key}

    eventually(both, within_s=30, what="both stations are there")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Give a browser."""
    with Chromium() as browser:
        yield browser


@pytest.fixture(params=["rest", "command", "page"])
def ask(request: pytest.FixtureRequest, hall: Hall) -> Iterator[Ask]:
    """Give each way in which a person asks."""
    if request.param == "rest":
        yield by_rest(hall)
    elif request.param == "command":
        yield by_command(hall)
    else:
        with ExitStack() as stack:
            yield by_page(hall, request.getfixturevalue("chromium"), stack)


def by_page(hall: Hall, chromium: Chromium, stack: ExitStack) -> Ask:
    """Ask on the page *New upload*, and go the way that its review offers."""

    def ask(person: str, station: Station, folder: Path, dataset: str, how: str) -> str | None:
        one = visitors.get(person)
        if one is None:
            one = visitors[person] = stack.enter_context(Visitor(chromium, hall.site.url))
            one.sign_in(person)
        page, offered = one.page, one.page.locator("section.review")
        if how == "first":
            one.open("/new")
            page.get_by_label("Investigation", exact=True).select_option("20260101")
            page.get_by_label("Station", exact=True).select_option(station.key)
            page.get_by_text("Type paths instead").click()
            page.get_by_label("Folders and files on the station").fill(str(folder))
            page.get_by_label("Name", exact=True).fill(dataset)
            page.get_by_label("batch", exact=False).check()
            one.button("Review").click()
            expect(one.heading("Review")).to_be_visible()
        else:
            one.button("Continue this dataset" if how == "continue" else f"Use the name {dataset}").click()
        expect(offered).to_be_visible()
        if one.button("Start upload").count() == 0:
            return offered.inner_text()
        one.button("Start upload").click()
        page.wait_for_url("**/uploads/*")
        return None

    visitors: dict[str, Visitor] = {}
    return ask


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_of_any_two_uploads_of_one_dataset_the_second_begins_nothing_and_the_first_receipt_holds(
    hall: Hall, ask: Ask, pair: Pair, request: pytest.FixtureRequest
) -> None:
    """It is told why, and goes on under the name that it is offered, or with the dataset where it is one's own."""
    way = request.node.callspec.params["ask"]
    name = f"{way}-{PAIRS.index(pair)}"
    person = "anna" if pair.person == "same" else "ben"
    first = hall.first(pair, name, f"plain/{name}")
    before, receipt = hall.held(name), hall.receipt(first)
    assert set(before) == set(receipt) == set(NAMES)
    folder = f"plain/{name}" if pair.folder == "same" else f"other/{name}"
    path = hall.write(folder, "second" if pair.changes else "first")
    refused = ask(person, pair.there, path, name, "first")
    assert refused is not None, "it was begun"
    assert pair.refusal in refused
    further = f"{name} (2)"
    if pair.state == "cancelled" and pair.person == "same":
        assert ask(person, pair.there, path, name, "continue") is None
        if pair.station == "same":
            assert hall.until_complete(name) == hall.held(name) == digests(path)
            return
        upload = newest(hall, person)
        hall.runs[person].until(upload, lambda status: status.counts.failed.files == len(NAMES), "all are conflicts")
        assert hall.held(name) == before
        return
    assert further in refused
    assert hall.held(name) == before
    assert ask(person, pair.there, path, further, name) is None
    assert hall.until_complete(further) == hall.held(further) == digests(path)
    assert hall.held(name) == before
    assert hall.receipt(first) == receipt
    if pair.state == "open":
        hall.runs["anna"].control(first, "close")
        assert hall.until_complete(name) == hall.held(name) == before


def newest(hall: Hall, person: str) -> str:
    """Return the id of the upload that was asked for last."""
    with GatewayClient(hall.site.url, hall.runs[person].token) as gateway:
        return max(gateway.uploads().items, key=lambda one: one.created).id


def test_a_standing_rule_begins_nothing_where_a_person_has_the_dataset(hall: Hall) -> None:
    """Whoever answers for the rule; what the person's receipts say holds, and what is open is closed as ever."""
    firsts: list[tuple[Pair, str, str, str, Holdings]] = []
    for number, pair in enumerate(PAIRS):
        name, ruled = f"rule-{number}", f"ruled-{pair.there.station}/rule-{number}"
        person = next(who for who in SESSIONS if (who == OWNERS[pair.there]) == (pair.person == "same"))
        upload = hall.first(pair, name, ruled if pair.folder == "same" else f"plain/{name}", person)
        firsts.append((pair, name, person, upload, hall.receipt(upload, person)))
        hall.write(ruled, "second" if pair.changes else "first")
    before = {name: hall.held(name) for _, name, *_ in firsts}
    begin_rules(hall)
    refused(hall, {upload for *_, upload, _ in firsts})
    for pair, name, person, upload, receipt in firsts:
        assert hall.held(name) == before[name], pair
        assert hall.receipt(upload, person) == receipt, pair
        if pair.state == "open":
            hall.runs[person].control(upload, "close")
            assert hall.until_complete(name) == before[name], pair
    assert {one["name"] for one in hall.runs["anna"].catalogue()["datasets"] if one["name"].startswith("rule-")} == {
        name for _, name, *_ in firsts
    }


def begin_rules(hall: Hall) -> None:
    """Give both stations a standing rule."""
    facility = hall.facility
    document = tomllib.loads(facility.config.read_text(encoding="utf-8"))
    document["watcher"]["rules"] = [rule(facility.watched / f"ruled-{HERE.station}")]
    facility.config.write_text(tomli_w.dumps(document), encoding="utf-8")
    for service in ("watcher", "watcher#2"):
        facility.processes.terminate(service)
    facility.processes.start("watcher")
    second_station(hall.site, rules=[rule(facility.watched / f"ruled-{THERE.station}")])


def refused(hall: Hall, firsts: set[str]) -> None:
    """Wait until the beamline's staff are shown that each rule was refused."""

    def shown() -> set[str]:
        with GatewayClient(hall.site.url, token) as gateway:
            found = gateway.uploads(limit=100).items
        return {one.dataset for one in found if one.needs_person and one.id not in firsts and one.dataset in every}

    dana = {"method": "local", "username": "dana", "password": PASSWORD, "name": "test"}
    every = {f"rule-{number}" for number in range(len(PAIRS))}
    token = httpx.post(f"{hall.site.url}/api/v1/tokens", json=dana).raise_for_status().json()["token"]
    eventually(lambda: shown() == every, within_s=60, every_s=0.5, what="each rule is refused")


def rule(folder: Path) -> dict[str, Any]:
    """Return a standing rule about the folders in a folder."""
    return {
        "name": "scans", "remote": "store", "investigation": "20260101", "location": "20260101/{dataset}",
        "quiet_period_s": 0.2, "idle_close_s": 2.0, "pattern": f"{folder.resolve()}/{{dataset}}/**",
    }  # fmt: skip
