"""Instruments on Windows: they are never kept from their files, and what they have written in the end is uploaded."""

import shutil
from pathlib import Path

import pytest

from datauploader_sandbox.detector.ledger import Ledger
from datauploader_sandbox.facility import Facility

from .conftest import STARTED_S, Computer
from .test_installer import ODD, begin, request, write

WAYS = ("alone", "shared", "renamed", "appended")


@pytest.mark.fault("F16")
def test_files_that_programs_hold_are_waited_for_and_no_program_is_disturbed(
    facility: Facility, computer: Computer, tmp_path: Path
) -> None:
    """One lets nobody in, one lets everybody in, one renames, and one opens its file again and again."""
    run = begin(facility, computer, tmp_path)
    folder = computer.data / "instruments"
    folder.mkdir()
    script = computer.wine.drive / "instrument.py"
    shutil.copy(Path(__file__).with_name("instrument.py"), script)
    upload = request(run, "instruments", "sync", quiet_period_s=2.0)
    programs = [
        computer.wine.start(
            computer.python, "C:\\instrument.py", way, f"C:\\data\\instruments\\{way}.dat", "C:\\data\\go"
        )
        for way in WAYS
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline().strip() == b"half"
    run.opened(upload)
    run.until(upload, lambda status: status.settling, "files are seen that are not finished", STARTED_S)
    (computer.data / "go").touch()
    for program in programs:
        said = program.communicate(timeout=60)[0]
        assert program.returncode == 0, said
    with Ledger(run.ledger, folder) as ledger:
        for way in WAYS:
            ledger.wrote(folder / f"{way}.dat")
    run.until(upload, lambda status: status.counts.catalogued.files == len(WAYS), "all are catalogued", STARTED_S)
    run.control(upload, "close")
    run.completed(upload)
    run.judge("instruments")
    computer.remove("/STATE")


@pytest.mark.fault("F6", "F16")
def test_files_that_come_to_a_share_are_found_without_being_told_and_uploaded(
    facility: Facility, computer: Computer, tmp_path: Path
) -> None:
    """Another computer writes them, so the folder is looked at again and again; names are as odd as on a drive."""
    share = "\\\\localhost\\C$\\data"
    run = begin(facility, computer, tmp_path, share)
    write(run, computer.data / "shared", [f"early_{number}.dat" for number in range(20)])
    upload = request(run, "shared", "sync", path=f"{share}\\shared", quiet_period_s=1.0)
    run.until(upload, lambda status: status.counts.catalogued.files == 20, "what was there is catalogued", STARTED_S)
    write(run, computer.data / "shared", [*ODD, *(f"deep/{'d' * 60}/late_{number}.dat" for number in range(20))])
    run.until(upload, lambda status: status.counts.catalogued.files == 50, "what came is catalogued", STARTED_S)
    run.control(upload, "close")
    run.completed(upload)
    run.judge("shared")
    computer.remove("/STATE")
