"""The product on Windows, installed from its one file under Wine, beside a facility on Linux: `./dev windows-test`."""

import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w

from datauploader_sandbox.facility import Facility
from datauploader_sandbox.wine import Wine
from datauploader_testing.waiting import eventually

SETUP = os.environ.get("DATAUPLOADER_TEST_SETUP", "")
"""The installer; without it there is nothing to test here."""
collect_ignore_glob = [] if SETUP else ["test_*.py"]
STARTED_S = 120.0


class Computer:
    """A computer with Windows, an instrument's folder and the installer."""

    def __init__(self, wine: Wine) -> None:
        """Begin with nothing installed."""
        self.wine = wine
        self.data = wine.drive / "data"
        self.data.mkdir(exist_ok=True)
        shutil.copy(SETUP, wine.drive / "setup.exe")

    @property
    def program(self) -> Path:
        """The folder of a station's program."""
        return self.wine.drive / "Program Files" / "DataUploader"

    @property
    def place(self) -> Path:
        """The folder of a station's configuration, state and log."""
        return self.wine.drive / "ProgramData" / "DataUploader"

    @property
    def python(self) -> Path:
        """The Python that was installed."""
        return self.program / "python" / "python.exe"

    def setup(self, *options: str) -> int:
        """Run the installer without questions; return its exit code."""
        return self.wine.run("C:\\setup.exe", "/S", *options, within_s=300).returncode

    def configure(self, facility: Facility, *more: str) -> None:
        """Write the configuration that the facility gives to this station, which may upload `more` folders."""
        document = tomllib.loads(facility.config.read_text(encoding="utf-8"))
        kept = {name: document[name] for name in ("facility", "beamline", "station", "broker", "remotes")}
        kept |= {"watcher": {"roots": ["C:\\data", *more], "scan_interval_s": 10.0, "allow_delete": True}}
        (self.wine.drive / "station.toml").write_text(tomli_w.dumps(kept), encoding="utf-8")

    def state(self) -> str:
        """Return what Windows says of the service, "" where there is none."""
        said = self.wine.run("sc.exe", "query", "DataUploader").stdout
        return next((line.split()[-1] for line in said.splitlines() if "STATE" in line), "")

    def stop(self, within_s: float) -> None:
        """Have Windows stop the service."""
        self.wine.run("sc.exe", "stop", "DataUploader")
        eventually(lambda: self.state() == "STOPPED", within_s=within_s, what="the service has stopped")

    def lose_power(self) -> None:
        """End every process at once, and start the computer again."""
        self.wine.end()
        self.wine.boot()

    def remove(self, *options: str) -> None:
        """Run the uninstaller without questions, and wait: it goes on in a copy of itself."""
        self.wine.run(self.program / "uninstall.exe", "/S", *options)
        gone = self.place if "/STATE" in options else self.program
        eventually(lambda: not gone.exists(), within_s=60, what=f"{gone} is gone")


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wine]:
    """Give a new Windows that runs."""
    made = Wine(tmp_path_factory.mktemp("wine") / "prefix")
    made.make()
    made.boot()
    yield made
    made.end()


@pytest.fixture
def computer(wine: Wine) -> Computer:
    """Give a computer on which nothing of ours is installed."""
    return Computer(wine)


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory, wine: Wine) -> Iterator[Facility]:
    """Give broker, catalogue, gateway and storage on Linux."""
    folder = tmp_path_factory.mktemp("facility")
    watched = wine.drive / "data"
    watched.mkdir(exist_ok=True)
    with Facility(
        broker="rabbitmq", folder=folder, watched=watched, services=("catalog", "gateway"), storage="webdav",
        settings={"gateway": {"offer_delete_after": True}},
    ) as made:  # fmt: skip
        yield made
