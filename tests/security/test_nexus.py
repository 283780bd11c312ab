"""A data file is written by its author: what it names outside itself is not read, and it unfolds into no flood."""

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from datauploader_harvester_nexus.reader import read

SECRET = "the secret of another proposal"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Write somebody else's file."""
    path = tmp_path / "theirs.nxs"
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["title"] = SECRET
    return path


def entry_of(file: h5py.File) -> h5py.Group:
    """Make the one entry of a file."""
    entry = file.create_group("entry")
    entry.attrs["NX_class"] = "NXentry"
    entry["start_time"] = "2026-01-01"
    return entry


@pytest.mark.attack("S23")
def test_links_into_other_files_say_nothing(tmp_path: Path, theirs: Path) -> None:
    """Neither an entry nor a field of another file, directly or through a link of this file's own."""
    path = tmp_path / "mine.nxs"
    with h5py.File(path, "w") as file:
        entry = entry_of(file)
        file["stolen"] = h5py.ExternalLink(str(theirs), "/entry")
        entry["title"] = h5py.ExternalLink(str(theirs), "/entry/title")
        entry["definition"] = h5py.SoftLink("/stolen/title")
    found = {parameter.name: parameter.value for parameter in read(path)}
    assert found == {"start_time": "2026-01-01"}


@pytest.mark.attack("S23")
def test_values_that_lie_in_other_files_are_not_read(tmp_path: Path, theirs: Path) -> None:
    """Raw bytes of any file on the machine, or a dataset put together from another file."""
    plain = tmp_path / "plain"
    plain.write_text(SECRET)
    path = tmp_path / "mine.nxs"
    with h5py.File(path, "w") as file:
        entry = entry_of(file)
        entry.create_dataset("title", (len(SECRET),), "S1", external=[(str(plain), 0, len(SECRET))])
        layout = h5py.VirtualLayout((1,), h5py.string_dtype())
        layout[:] = h5py.VirtualSource(str(theirs), "entry/title", (1,))
        entry.create_virtual_dataset("definition", layout)
    assert {parameter.name for parameter in read(path)} == {"start_time"}


@pytest.mark.attack("S23", "S25")
def test_a_small_file_that_unfolds_is_left_alone(tmp_path: Path) -> None:
    """One value in a chunk of a gigabyte of zeros, and one text of a hundred megabytes."""
    path = tmp_path / "bomb.nxs"
    with h5py.File(path, "w") as file:
        entry = entry_of(file)
        entry.create_dataset("title", (1,), "i8", maxshape=(None,), chunks=(2**24,), compression="gzip", fillvalue=1)
        entry["title"][0] = 7
        entry.create_dataset("definition", (1,), np.dtype("S100000000"), chunks=(1,), compression="gzip")
        entry["definition"][0] = b"x" * 100
    tracemalloc.start()
    found = {parameter.name for parameter in read(path)}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == {"start_time"}
    assert peak < 10_000_000
