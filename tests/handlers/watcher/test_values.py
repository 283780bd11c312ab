"""Values from files: read by plug-ins in a process of their own, from files that rest below a root."""

import os
import time

import h5py
import pytest

from datauploader.contracts import DatasetSpec, UploadRequested
from datauploader.contracts.previews import FoundValues
from datauploader.contracts.questions import ReadValues
from datauploader.errors import QuestionRefused

from .conftest import ANNA, DESTINATION, HERE


def nexus(world, name: str, title: str, *, age_s: float = 3600) -> None:
    """Write a NeXus file that was changed so long ago."""
    path = world.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["title"] = title
    os.utime(path, (time.time() - age_s, time.time() - age_s))


def values(world, *, within_s: float = 20.0, **fields) -> FoundValues:
    """Ask what the files of an upload say."""
    asked = {
        "upload_id": "u-preview", "investigation": "20260101", "dataset": DatasetSpec(name="run1"),
        "root": str(world.root), "mode": "batch", "destination": DESTINATION, "requested_by": ANNA,
    }  # fmt: skip
    question = ReadValues(request=UploadRequested(**{**asked, **fields}), within_s=within_s)
    return world.outside.ask(question, FoundValues, station=HERE, timeout_s=20).result(25)


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Install a reader of `*.odd` files, made of the body of its function."""

    def install(body: str) -> None:
        place = tmp_path / "site"
        (place / "odd-1.0.dist-info").mkdir(parents=True)
        (place / "odd-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
        (place / "odd-1.0.dist-info" / "entry_points.txt").write_text("[datauploader.readers]\nodd = odd:reader\n")
        (place / "odd.py").write_text(
            "import os, sys, time, signal\nfrom datauploader.plugins.file_reader import Reader\n"
            "from datauploader.contracts import Parameter\n"
            f"def read(path):\n    {body}\n    yield Parameter(name='n', value='v')\n"
            "reader = Reader(('*.odd',), read)\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(place))

    return install


def test_titles_are_read_and_named_with_their_file(world):
    """Of several files the first one that has a value; a file that was changed a moment ago is left alone."""
    nexus(world, "scan/1.nxs", "Thin films")
    nexus(world, "scan/2.nxs", "Something else")
    nexus(world, "scan/0.nxs", "Not yet", age_s=0)
    world.start()
    found = values(world)
    assert [(one.parameter.name, one.parameter.value, one.source) for one in found.values] == [
        ("title", "Thin films", "scan/1.nxs")
    ]
    assert (found.files, found.problems) == (2, ())


def test_a_damaged_file_is_named(world):
    """A sentence; the others are read."""
    nexus(world, "2.nxs", "Thin films")
    world.write("1.nxs", b"no HDF5 at all")
    os.utime(world.root / "1.nxs", (1, 1))
    world.start()
    found = values(world)
    assert [one.parameter.value for one in found.values] == ["Thin films"]
    assert "1.nxs" in found.problems[0]


@pytest.mark.attack("S24")
@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(60)",
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "bytearray(64 * 1024**3)",
        'print(\'{"source": "forged", "parameter": {"name": "x", "value": 1}}\')',
    ],
    ids=["hangs", "crashes", "eats memory", "prints"],
)
def test_a_reader_that_misbehaves_costs_its_own_values_and_no_more(world, plug_in, body):
    """The watcher lives, answers in time, and what was read before is kept."""
    plug_in(body)
    nexus(world, "1.nxs", "Thin films")
    world.write("2.odd")
    os.utime(world.root / "2.odd", (1, 1))
    world.start()
    began = time.monotonic()
    found = values(world, within_s=8.0)
    assert time.monotonic() - began < 12
    assert "Thin films" in [one.parameter.value for one in found.values]
    assert found.problems or body.startswith("print")
    assert not any(one.source == "forged" for one in found.values)


@pytest.mark.attack("S19", "S20")
def test_nothing_outside_the_roots_is_read(world, tmp_path):
    """Refused as the upload would be; a link is not followed."""
    world.start()
    nexus(world, "../secret.nxs", "Secret")
    (world.root / "link.nxs").symlink_to(tmp_path / "secret.nxs")
    with pytest.raises(QuestionRefused):
        values(world, root=str(tmp_path))
    with pytest.raises(QuestionRefused):
        values(world, sources=("../secret.nxs",))
    assert values(world).values == ()


@pytest.mark.attack("S26")
def test_a_reader_sees_no_secret_of_the_station(world, plug_in, monkeypatch):
    """Of the environment it gets what a program needs to start."""
    monkeypatch.setenv("DATAUPLOADER_BROKER", "amqp://ws01:canary@broker")
    plug_in("yield Parameter(name='env', value=' '.join(os.environ.values()) or '-')")
    world.write("2.odd")
    os.utime(world.root / "2.odd", (1, 1))
    world.start()
    said = {one.parameter.name: one.parameter.value for one in values(world).values}
    assert said["n"] == "v"
    assert "canary" not in said["env"]
