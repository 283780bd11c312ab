"""The desktop as its users run it: a real process, asked once, uploading to a folder, quit and started again."""

import signal
import stat
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from datauploader_sandbox.catalogues import IcatSandbox, SandboxCatalogue, ScicatSandbox, VuoSandbox
from datauploader_sandbox.desktop import (
    EmptyFolder,
    Workstation,
    answered,
    browser,
    configured,
    goes_on,
    request,
    sign_in,
    uploaded,
)
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.system


@pytest.fixture
def workstation(tmp_path: Path) -> Iterator[Workstation]:
    """Give a computer on which nothing was set up yet."""
    yield from computer(tmp_path, VuoSandbox(tmp_path, "/experiments"))


CATALOGUES: dict[str, Callable[[Path], SandboxCatalogue]] = {
    "scicat": lambda _: ScicatSandbox("/experiments"),
    "icat": lambda _: IcatSandbox("/experiments"),
    "folder": EmptyFolder,
}
"""Those that the other tests have not; the folder begins empty."""


@pytest.fixture(
    params=[pytest.param(name, marks=() if name == "folder" else pytest.mark.campaign) for name in CATALOGUES]
)
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workstation]:
    """Give such a computer at a facility with another catalogue than VUO."""
    yield from computer(tmp_path, CATALOGUES[request.param](tmp_path))


def computer(base: Path, catalogue: SandboxCatalogue) -> Iterator[Workstation]:
    """Give a computer, and end it and the catalogue afterwards."""
    made = Workstation(base, catalogue)
    yield made
    made.close()
    catalogue.stop()


def test_a_desktop_is_asked_once_uploads_and_goes_on_after_a_quit(workstation: Workstation) -> None:
    """The whole way of the old program's users, on one computer, without any server."""
    (workstation.data / "one.txt").write_text("1")
    started = workstation.start()
    with browser(configured(workstation, started)) as client:
        config = workstation.home / "datauploader.toml"
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        assert tomllib.loads(config.read_text())["catalog"]["vuo"]["secret"] == secret_of(workstation)
        sign_in(workstation, client)
        request(workstation, client, "sync")
        eventually(lambda: uploaded(client)["counts"]["catalogued"]["files"] == 1, what="the first file", within_s=60)
    second = workstation.start()
    with browser(second.link()) as other:
        assert "DataUploader is already running" in "\n".join(second.said)
        assert second.ended() == 0
        began = time.monotonic()
        assert other.post("/desktop/quit").status_code == 200
    assert started.ended() == 0
    assert time.monotonic() - began < 10
    (workstation.data / "two.txt").write_text("2")
    again = workstation.start()
    with browser(again.link()) as client:
        goes_on(workstation, client, files=2)
    again.process.send_signal(signal.SIGINT)
    assert again.ended() == 0
    stored = {path.name: path.read_text() for path in workstation.storage.rglob("*.txt")}
    assert stored == {"one.txt": "1", "two.txt": "2"}
    assert not (workstation.home / "running.json").exists()


def test_a_desktop_enters_files_into_the_catalogue_that_was_chosen(elsewhere: Workstation) -> None:
    """Each kind is tried without a trace, then answered, signed in to, and holds the dataset at the end."""
    (elsewhere.data / "one.txt").write_text("1")
    started = elsewhere.start()
    with browser(started.link()) as asked:
        before = sorted(elsewhere.data.parent.rglob("*"))
        assert "All checks passed" in asked.post("/setup/try", data=elsewhere.answers()).text
        assert sorted(elsewhere.data.parent.rglob("*")) == before
        link = answered(elsewhere, asked)
    with browser(link) as client:
        sign_in(elsewhere, client)
        request(elsewhere, client, "batch")
        eventually(lambda: uploaded(client)["state"] == "completed", what="the dataset is complete", within_s=60)
        (dataset,) = elsewhere.catalogue.state()["datasets"]
        assert (dataset["name"], dataset["complete"]) == ("first", True)
        assert [file["path"] for file in dataset["datafiles"]] == ["one.txt"]
    assert [path.read_text() for path in elsewhere.storage.rglob("*.txt")] == ["1"]
    started.process.send_signal(signal.SIGTERM)
    assert started.ended() == 0


def test_answers_are_tried_and_what_is_wrong_is_said(workstation: Workstation) -> None:
    """A wrong secret, a folder that is not there, and a plain address; nothing is kept meanwhile."""
    started = workstation.start()
    with browser(started.link()) as client:
        assert "All checks passed" in client.post("/setup/try", data=workstation.answers()).text
        assert list(workstation.storage.iterdir()) == []
        answer = client.post("/setup/try", data=workstation.answers(catalogue_secret="another"))
        assert "Some checks failed" in answer.text
        wrong = workstation.answers(folders="/nowhere/at/all\ndata", catalogue_url="http://vuo.example.org")
        answer = client.post("/setup", data=wrong)
        assert answer.status_code == 422
        for sentence in ("this folder does not exist", "must start with https://"):
            assert sentence in answer.text
        assert secret_of(workstation) in client.post("/setup", data=wrong).text
    assert not (workstation.home / "datauploader.toml").exists()
    started.process.send_signal(signal.SIGTERM)
    assert started.ended() == 0


def test_a_desktop_is_ended_from_the_command_line_also_before_it_was_set_up(workstation: Workstation) -> None:
    """So that an update can replace its files; nothing runs afterwards, and to ask once more is no mistake."""
    started = workstation.start()
    started.link()
    for _ in range(2):
        ended = subprocess.run(workstation.command("--quit"), capture_output=True, text=True, check=True, timeout=60)
        assert "is not running" in ended.stdout
    assert started.ended() == 0
    assert not (workstation.home / "quit").exists()
    again = workstation.start()
    again.link()
    again.process.send_signal(signal.SIGTERM)
    assert again.ended() == 0


@pytest.mark.attack("S1", "S10")
def test_only_who_opened_the_link_is_asked_and_a_link_is_good_once(workstation: Workstation) -> None:
    """Neither another user of this computer, nor a page of another site, nor an address that only looks like this."""
    started = workstation.start()
    link = started.link()
    base = link.partition("/setup/")[0]
    with httpx.Client(base_url=base, timeout=20) as stranger, browser(link) as client:
        tries: list[Callable[[], httpx.Response]] = [
            lambda: stranger.get("/setup"),
            lambda: stranger.get(link),
            lambda: stranger.get(link.partition("?")[0] + "?token=" + "a" * 22 + "." + "0" * 64),
            lambda: stranger.post("/setup", data=workstation.answers(), headers={"Origin": base}),
            lambda: client.post("/setup", data=workstation.answers(), headers={"Origin": "https://evil.example"}),
            lambda: client.get("/setup", headers={"Host": "evil.example"}),
        ]
        assert [attempt().status_code for attempt in tries] == [403] * len(tries)
        assert client.get("/setup").status_code == 200
    assert not (workstation.home / "datauploader.toml").exists()
    started.process.send_signal(signal.SIGTERM)
    assert started.ended() == 0


@pytest.mark.attack("S10")
def test_nobody_else_quits_a_desktop_and_it_is_not_set_up_again(workstation: Workstation) -> None:
    """Somebody who is signed in is not yet who started it; the questions are gone for good."""
    shown = shows_folders(workstation)
    started = workstation.start()
    with browser(configured(workstation, started)) as client:
        base = str(client.base_url)
        with httpx.Client(base_url=base, headers={"Origin": base}, timeout=20) as stranger:
            assert stranger.post("/desktop/quit").status_code == 403
            sign_in(workstation, stranger)
            assert stranger.post("/desktop/quit").status_code == 403
            assert stranger.get("/setup").status_code == 404
            assert stranger.post("/desktop/folder").status_code == 403
        assert "Open this folder" in client.get("/desktop").text
        assert not shown.exists()
        assert client.post("/desktop/folder").status_code == 200
        assert eventually(lambda: shown.exists() and shown.read_text()) == str(workstation.home)
        assert client.post("/desktop/quit", headers={"Origin": "https://evil.example"}).status_code == 403
        assert started.process.poll() is None
    started.process.send_signal(signal.SIGTERM)
    assert started.ended() == 0


def shows_folders(workstation: Workstation) -> Path:
    """Give the computer a file manager; return where it notes which folder it was asked to show."""
    programs = workstation.data.parent / "bin"
    programs.mkdir()
    noted = programs / "shown"
    manager = programs / "xdg-open"
    manager.write_text(f'#!/bin/sh\nprintf %s "$1" > {noted}\n')
    manager.chmod(0o755)
    workstation.environment["PATH"] = f"{programs}:{workstation.environment['PATH']}"
    return noted


def secret_of(workstation: Workstation) -> str:
    """Return the catalogue's secret, as it is answered."""
    return workstation.answers()["catalogue_secret"]
