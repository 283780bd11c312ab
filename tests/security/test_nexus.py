"""A data file is written by its author: what it names outside itself is not read, and it unfolds into no flood."""

import fcntl
import os
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from datauploader.plugins.file_reader.reader_process import ReaderProcess
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


def harvested(path: Path) -> tuple[dict[str, object], str]:
    """Return what a file says, and what the reader says that it has left alone."""
    found: dict[str, object] = {}
    try:
        for parameter in read(path):
            found[parameter.name] = parameter.value
    except ValueError as error:
        return found, str(error)
    return found, ""


@pytest.mark.attack("S23")
def test_links_into_other_files_say_nothing(tmp_path: Path, theirs: Path) -> None:
    """Neither an entry nor a field of another file, directly or through a link of this file's own."""
    path = tmp_path / "mine.nxs"
    with h5py.File(path, "w") as file:
        entry = entry_of(file)
        file["stolen"] = h5py.ExternalLink(str(theirs), "/entry")
        entry["title"] = h5py.ExternalLink(str(theirs), "/entry/title")
        entry["definition"] = h5py.SoftLink("/stolen/title")
    found, left = harvested(path)
    assert found == {"start_time": "2026-01-01"}
    assert "title: it is a link to nowhere or into another file; definition: it is a link" in left


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
    found, left = harvested(path)
    assert set(found) == {"start_time"}
    assert left == "title: its value is in another file; definition: its value is in another file"


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
    found, left = harvested(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(found) == {"start_time"}
    assert left.count("it takes more than 64 KiB to read") == 2
    assert peak < 10_000_000


@pytest.fixture(scope="module")
def process() -> Iterator[ReaderProcess]:
    """Give the process in which the service reads."""
    with ReaderProcess("datauploader_harvester_nexus.reader:read") as made:
        yield made


def inflates(file: h5py.File, entry: h5py.Group) -> None:
    """Write a chunk that says that it has 8 kB, and has sixty megabytes."""
    chunk = entry.create_dataset("title", (1000,), "i8", chunks=(1000,), compression="gzip")
    chunk.id.write_direct_chunk((0,), zlib.compress(bytes(2**26), 1))


def damaged(file: h5py.File, entry: h5py.Group) -> None:
    """Write a chunk that cannot be unpacked."""
    chunk = entry.create_dataset("title", (1000,), "i8", chunks=(1000,), compression="gzip")
    chunk.id.write_direct_chunk((0,), b"nothing that deflate has written")


def inflates_twice(file: h5py.File, entry: h5py.Group) -> None:
    """Write a few bytes that are unpacked into many, and these into very many."""
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((1000,))
    made.set_deflate(9)
    made.set_deflate(9)
    space = h5py.h5s.create_simple((1000,))
    chunk = h5py.Dataset(h5py.h5d.create(entry.id, b"title", h5py.h5t.NATIVE_INT64, space, made))
    chunk.id.write_direct_chunk((0,), zlib.compress(zlib.compress(bytes(2**26), 1), 1))


def one_text_a_thousand_times(file: h5py.File, entry: h5py.Group) -> None:
    """Write texts of any length, which lie elsewhere: here all of them are one of 64 kB."""
    texts = entry.create_dataset("title", (1000,), h5py.string_dtype())
    texts[0] = "x" * 2**16
    where = texts.id.get_offset()
    file.flush()
    with Path(file.filename).open("r+b") as raw:
        raw.seek(where)
        first = raw.read(16)
        raw.seek(where)
        raw.write(first * 1000)


def one_group_by_many_names(file: h5py.File, entry: h5py.Group) -> None:
    """Write twenty entries that are one, with thousands of samples that are one."""
    sample = entry.create_group("sample")
    sample.attrs["NX_class"] = "NXsample"
    sample["name"] = "LaB6"
    for number in range(1100):
        entry[f"sample_{number}"] = sample
    for number in range(19):
        file[f"entry_{number}"] = entry


def a_vast_attribute(file: h5py.File, entry: h5py.Group) -> None:
    """Write units of twenty megabytes."""
    entry["title"] = "x"
    entry["title"].attrs.create("units", np.bytes_(b"x" * 20_000_000))


def a_pipe(file: h5py.File, entry: h5py.Group) -> None:
    """Name a pipe as the other file, directly and through a link of this file; opening it waits for a writer."""
    pipe = Path(file.filename).with_name("pipe")
    os.mkfifo(pipe)
    file["other"] = h5py.ExternalLink(str(pipe), "/entry")
    entry["title"] = h5py.ExternalLink(str(pipe), "/entry/title")
    entry["definition"] = h5py.SoftLink("/other/title")


@pytest.mark.attack("S34")
@pytest.mark.parametrize(
    ("write", "left"),
    [
        (inflates, "title: it takes more than 64 KiB to read, or is not text or a number"),
        (damaged, "title: it is damaged"),
        (inflates_twice, "title: it takes more than 64 KiB to read, or is not text or a number"),
        (one_text_a_thousand_times, "title: it takes more than 64 KiB to read, or is not text or a number"),
        (one_group_by_many_names, "groups: only 2000 members of groups are looked at in one file"),
        (a_vast_attribute, "units of title: they are no short text"),
        (a_pipe, "definition: it is a link to nowhere or into another file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_file_costs_its_reader_much(
    tmp_path: Path, process: ReaderProcess, write: Callable[[h5py.File, h5py.Group], None], left: str
) -> None:
    """What the attack is about is left alone and named, in little time and memory; all else is read."""
    with h5py.File(tmp_path / "bad.nxs", "w", libver="latest") as file:
        write(file, entry_of(file))
    lines = list(process.ask(os.fsencode(tmp_path), [b"bad.nxs"], within_s=20.0))
    assert left in "; ".join(line["problem"] for line in lines if "problem" in line)
    names = [str(line["parameter"]["name"]) for line in lines if "parameter" in line]
    assert [name for name in names if name.endswith("start_time")]
    assert not [name for name in names if name.endswith("definition")]
    assert len(names) <= 70
    found = [line["parameter"] for line in lines if "parameter" in line]
    assert [one["units"] for one in found if one["name"] == "title"] == ([""] if write is a_vast_attribute else [])


@pytest.mark.fault("F62")
def test_a_lock_of_somebody_else_does_not_matter(tmp_path: Path) -> None:
    """And storages that know no locks are read as well."""
    path = tmp_path / "locked.nxs"
    with h5py.File(path, "w") as file:
        entry_of(file)
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert [one.name for one in read(path)] == ["start_time"]


@pytest.mark.fault("F62")
@pytest.mark.parametrize(
    ("value", "left"),
    [
        (float("nan"), "title: its value is nan, which is not a number"),
        (np.zeros(1001), "title: it takes more than 64 KiB to read, or is not text or a number"),
        (h5py.Empty("f"), ""),
        ("", ""),
    ],
    ids=["not a number", "a long array", "empty", "empty text"],
)
def test_a_value_that_is_not_told_is_named_unless_there_is_none(tmp_path: Path, value: object, left: str) -> None:
    """A person sees at the file which of its fields the catalogue does not have, and why."""
    with h5py.File(tmp_path / "mine.nxs", "w") as file:
        entry_of(file)["title"] = value
    assert harvested(tmp_path / "mine.nxs") == ({"start_time": "2026-01-01"}, left)


@pytest.mark.fault("F62")
def test_what_is_more_than_is_read_is_named(tmp_path: Path) -> None:
    """The twenty first samples and entries are told; that there are more is said."""
    with h5py.File(tmp_path / "mine.nxs", "w") as file:
        for number in range(22):
            entry = file.create_group(f"entry_{number:02}")
            entry.attrs["NX_class"] = "NXentry"
        for number in range(22):
            sample = file["entry_00"].create_group(f"sample_{number:02}")
            sample.attrs["NX_class"] = "NXsample"
            sample["name"] = f"sample {number}"
    found, left = harvested(tmp_path / "mine.nxs")
    assert len(found) == 20
    assert left == "entries: only the first 20 are read; entry_00/sample: only the first 20 are read"
