"""A station as administrators install it: one file, a service, an update in the middle, nothing left at the end."""

import shutil
from pathlib import Path

import pytest

from datauploader_sandbox.detector.ledger import Ledger
from datauploader_sandbox.facility import Facility
from datauploader_sandbox.run import Run
from datauploader_testing.waiting import eventually

from .conftest import STARTED_S, Computer

ODD = (
    "umläute ü€.dat",
    "日本語.txt",
    "trail.",
    "blank ",
    "CON",
    "nul.txt",
    "aux.h5",
    "x" * 200,
    "🔬.tif",
    "per%20cent.txt",
)
"""Names that Windows' own shell cannot make or open, and that programs make all the same."""


def begin(facility: Facility, computer: Computer, tmp_path: Path, *folders: str) -> Run:
    """Install a station for the facility, and wait until it has reported."""
    computer.configure(facility, *folders)
    assert computer.setup("/SERVICE", "/CONFIG=C:\\station.toml") == 0
    eventually(facility.stations_are_there, within_s=STARTED_S, every_s=0.5, what="the station has reported")
    return Run(facility, tmp_path / "ledger.jsonl")


def write(run: Run, folder: Path, names: list[str], size: int = 2000) -> None:
    """Write files as an instrument would, and note them for the oracle."""
    folder.mkdir(parents=True, exist_ok=True)
    with Ledger(run.ledger, folder) as ledger:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"content of {name} ".encode() * (size // 20))
            ledger.wrote(path)


def request(run: Run, name: str, mode: str = "batch", **more: object) -> str:
    """Ask for one folder of the instrument."""
    return run.request(name, mode, **{"path": f"C:\\data\\{name}", "remote": "store", **more})


@pytest.mark.fault("F16")
def test_a_station_is_installed_uploads_is_updated_in_the_middle_and_removed(
    facility: Facility, computer: Computer, tmp_path: Path
) -> None:
    """Two hundred files with odd names, verified and catalogued; an update loses none; state stays unless it may go."""
    run = begin(facility, computer, tmp_path)
    assert computer.state() == "RUNNING"
    plain = [f"deep/{'d' * 60}/{'e' * 60}/{'f' * 60}/{'g' * 60}/frame_{number:04}.dat" for number in range(20)]
    plain += [f"scan_{number:04}.h5" for number in range(170)]
    write(run, computer.data / "first", [*ODD, *plain])
    run.completed(request(run, "first"))
    run.judge("first")
    computer.stop(within_s=10)
    assert computer.wine.run("sc.exe", "start", "DataUploader").returncode == 0
    second = Run(facility, tmp_path / "second.jsonl")
    write(second, computer.data / "second", [f"frame_{number:04}.tif" for number in range(100)], size=200_000)
    upload = request(second, "second", "sync")
    second.until(upload, lambda status: status.counts.verified.files > 0, "the second upload is on its way")
    assert computer.setup("/SERVICE") == 0
    write(second, computer.data / "second", [f"later_{number:04}.tif" for number in range(20)])
    second.until(upload, lambda status: status.counts.catalogued.files == 120, "all are catalogued", STARTED_S)
    second.control(upload, "close")
    second.completed(upload)
    second.judge("second")
    computer.remove()
    assert computer.state() == ""
    assert {path.name for path in computer.place.iterdir()} == {"datauploader.toml", "state", "log"}
    assert computer.setup("/SERVICE") == 0
    computer.remove("/STATE")
    assert not computer.place.exists()


@pytest.mark.fault("F16")
def test_a_station_that_loses_its_power_goes_on_without_loss(
    facility: Facility, computer: Computer, tmp_path: Path
) -> None:
    """Watcher, transfer and rclone end at once, while files come; the oracle finds nothing lost, doubled or wrong."""
    run = begin(facility, computer, tmp_path)
    upload = ""
    for round_ in range(3):
        write(run, computer.data / "power", [f"{round_}/frame_{n:04}.tif" for n in range(60)], size=400_000)
        upload = upload or request(run, "power", "sync")
        wanted = 60 * round_ + 1
        run.until(upload, lambda status, wanted=wanted: status.counts.verified.files >= wanted, "some are verified")
        computer.lose_power()
    run.until(upload, lambda status: status.counts.catalogued.files == 180, "all are catalogued", STARTED_S)
    run.control(upload, "close")
    run.completed(upload)
    run.judge("power")
    computer.remove("/STATE")


def test_what_cannot_be_installed_is_refused_with_an_exit_code(computer: Computer) -> None:
    """A script that rolls it out on many computers learns of it."""
    assert computer.setup("/SERVICE", "/CONFIG=C:\\nowhere.toml") == 2
    assert not computer.program.exists()


def test_a_folder_that_no_installer_has_made_is_not_believed(computer: Computer) -> None:
    """Anybody may make it before the administrator comes, with a configuration in it, and keep their rights in it."""
    computer.place.mkdir(parents=True)
    (computer.place / "datauploader.toml").write_text('broker = "amqp://thief"\n')
    assert computer.setup("/SERVICE") == 6
    assert not computer.program.exists()
    assert computer.state() == ""
    shutil.rmtree(computer.place)
