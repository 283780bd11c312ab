"""`harvest try --table`: what is found in many files, a line for each; docs/harvesters.md has that of real files."""

import os
from pathlib import Path

import h5py
import pytest

ROOT = Path(__file__).parents[3]
REAL = os.environ.get("DATAUPLOADER_TEST_NEXUS")
"""A folder with files of instruments, where there is one: nexusformat/exampledata."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write files that say much, little, nothing, and one that cannot be read."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with h5py.File(tmp_path / "deep" / "er" / "full.nxs", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["title"] = "vanadium | annulus\nsecond line"
        for name, kind in (("instrument", "NXinstrument"), ("instrument/mono", "NXmonochromator")):
            entry.create_group(name).attrs["NX_class"] = kind
        entry["instrument"].attrs["short_name"] = "XRD1"
        entry["instrument/mono/energy"] = 12.398_419_843
        entry["instrument/mono/energy"].attrs["units"] = "keV"
        entry["sample"] = h5py.Empty("f")
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["data"] = [1, 2, 3]
    whole = (tmp_path / "deep" / "er" / "full.nxs").read_bytes()
    (tmp_path / "cut.nxs").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.nxs").write_text("no HDF5")
    (tmp_path / "notes.txt").write_text("not for it")
    return tmp_path


def test_every_file_has_a_line_with_what_it_says_or_why_it_says_nothing(run, folder: Path) -> None:
    """The exit code says that some could not be read."""
    ran = run("harvest", "try", "nexus-harvester", "--table", "title,energy,instrument", str(folder))
    heading, rule, cut, full, plain, text = ran.out.splitlines()
    assert heading == "| file | size | title | energy | instrument | parameters | what is missing |"
    assert rule.count("|") == heading.count("|")
    assert full.startswith("| deep/er/full.nxs |")
    assert full.endswith("| vanadium \\| annulus second line | 12.3984 keV | XRD1 | 3 |  |")
    assert plain.endswith("|  |  |  | 0 | it says nothing that is looked for |")
    assert "nexus could not read it" in cut
    assert "nexus could not read it" in text
    assert ran.code == 3


def test_every_file_of_an_instrument_says_something_or_why_not(run, folder: Path) -> None:
    """Of real files each says something, and the table of them in the documents is true."""
    ran = run("harvest", "try", "nexus-harvester", "--table", "title,sample,energy,wavelength", REAL or str(folder))
    lines = [line.split("|") for line in ran.out.splitlines()[2:]]
    assert lines
    assert all(int(line[-3]) > 0 or line[-2].strip() for line in lines)
    if REAL:
        assert ran.code == 0
        assert ran.out in (ROOT / "docs" / "harvesters.md").read_text("utf-8")
