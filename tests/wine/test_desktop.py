"""The desktop on Windows: installed without an administrator, asked once, uploading, ended and updated."""

import shutil
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import httpx
import pytest
from playwright.sync_api import expect

from datauploader_sandbox.browser.chromium import Chromium
from datauploader_sandbox.browser.visitor import Visitor
from datauploader_sandbox.catalogues import ANNA, VuoSandbox
from datauploader_sandbox.desktop import Workstation, browser, configured, goes_on, request, sign_in, uploaded
from datauploader_sandbox.wine import Wine
from datauploader_testing.waiting import eventually

from .conftest import Computer

ERRORS = Path(__file__).parents[2] / "deploy" / "windows" / "wine_errors.py"


def installed(wine: Wine) -> Path:
    """Install for one person, or update what is there; return the folder of the program.

    Wine gives no error number to a lock that is refused; Windows does, and so does this Python then.
    """
    assert Computer(wine).setup() == 0
    (place,) = wine.drive.glob("users/*/AppData/Local/Programs/DataUploader")
    (paths,) = place.glob("python/python3*._pth")
    paths.write_text(paths.read_text() + "import site\r\n")
    shutil.copy(ERRORS, place / "python" / "Lib" / "site-packages" / "sitecustomize.py")
    return place


@pytest.fixture
def program(wine: Wine) -> Path:
    """Give the folder of the program, installed without an administrator."""
    return installed(wine)


@pytest.fixture
def workstation(wine: Wine, program: Path, tmp_path: Path) -> Iterator[Workstation]:
    """Give a computer on which the program was installed, and nothing set up."""

    def called(path: Path) -> str:
        return str(PureWindowsPath("C:/", *path.relative_to(wine.drive).parts))

    base = wine.drive / "person"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    started = ("wine", str(program / "python" / "python.exe"), "-u", "-m", "datauploader")
    vuo = VuoSandbox(tmp_path, "/experiments")
    computer = Workstation(base, vuo, program=started, environment=wine.environment, called=called)
    computer.home = program.parents[1] / "DataUploader"  # where it is when nobody says otherwise
    shutil.rmtree(computer.home, ignore_errors=True)
    yield computer
    computer.close()
    vuo.stop()


def test_a_person_uploads_from_drives_of_windows_and_updates_and_removals_end_it_cleanly(
    wine: Wine, program: Path, workstation: Workstation
) -> None:
    """The installer over what runs, the uninstaller over what runs: each ends it itself, and the upload goes on."""
    (workstation.data / "one.txt").write_text("1")
    started = workstation.start()
    with browser(configured(workstation, started)) as client:
        sign_in(workstation, client)
        request(workstation, client, "sync")
        catalogued(client, 1)
    assert installed(wine) == program
    assert started.ended(30) == 0
    (workstation.data / "trail.").write_text("2")
    again = workstation.start()
    with browser(again.link()) as client:
        sign_in(workstation, client)
        catalogued(client, 2)
    menu = sorted(path.stem for path in wine.drive.glob("users/*/AppData/**/Programs/DataUploader/*.lnk"))
    assert menu == ["DataUploader", "End DataUploader"]
    (workstation.data / "three.txt").write_text("3")
    wine.run(program / "uninstall.exe", "/S")
    assert again.ended(60) == 0
    assert again.said[-1] == "Stopping. Unfinished uploads continue at the next start."
    eventually(lambda: not program.exists(), within_s=60, what="the program is gone")
    assert not (workstation.home / "quit").exists()
    assert installed(wine) == program
    last = workstation.start()
    with browser(last.link()) as client:
        goes_on(workstation, client, files=3)
    stored = {path.name: path.read_text() for path in workstation.storage.rglob("*") if path.is_file()}
    assert stored == {"one.txt": "1", "trail.": "2", "three.txt": "3"}


def catalogued(client: httpx.Client, files: int) -> None:
    """Wait until so many files of the only upload are catalogued."""

    def count() -> int:
        found = uploaded(client)
        return int(found["counts"]["catalogued"]["files"]) if found else 0

    eventually(lambda: count() == files, within_s=60, what=f"{files} files are catalogued")


def test_a_person_chooses_a_folder_of_a_drive_in_the_browser_and_sees_it_complete(
    wine: Wine, workstation: Workstation
) -> None:
    """The pages as they are with paths of Windows, from the link to the end, and the entry of the menu that ends it."""
    scan = workstation.data / "scan 1"
    scan.mkdir()
    for name in ("frame_0001.tif", "trail.", "umläute ü€.dat"):
        (scan / name).write_text(name)
    started = workstation.start()
    link = configured(workstation, started)
    with Chromium() as chromium, Visitor(chromium, link.partition("/desktop/")[0]) as anna:
        anna.open(link)
        anna.page.locator("input[name=vuo_session]").fill(ANNA)
        anna.button("Sign in with the VUO session").click()
        anna.open("/new")
        anna.page.get_by_label("Investigation", exact=True).select_option("20260101")
        anna.page.get_by_label("Choose folder scan 1", exact=True).check()
        anna.page.get_by_label("Name", exact=True).fill("{folder}")
        anna.page.locator("input[name=mode][value=batch]").check()
        anna.button("Review").click()
        expect(anna.heading("Review")).to_be_visible()
        expect(anna.page.locator("main")).to_contain_text("C:\\person\\data")
        anna.button("Start upload").click()
        expect(anna.page.locator(".headline .tag")).to_have_text("complete", timeout=60_000)
    stored = sorted(path.name for path in workstation.storage.rglob("*") if path.is_file())
    assert stored == ["frame_0001.tif", "trail.", "umläute ü€.dat"]
    assert "is not running" in wine.run(*workstation.command("--quit")[1:]).stdout
    assert started.ended(30) == 0
