"""The command `harvest`: try a harvester on files here, and on what the event log says was stored before."""

import json
import uuid

import h5py
import pytest
from pydantic import SecretStr

from datauploader.contracts import Destination, ExtractedFile
from datauploader.contracts.envelope import LARGEST, encode
from datauploader.messaging import connect
from datauploader.messaging.topology import facility_queues, harvester_queue
from datauploader.plugins.file_reader.parameter_validator import ParameterValidator
from datauploader.plugins.harvester import Kind
from datauploader.plugins.harvester.extracting import told
from datauploader.runtime.config import Settings
from datauploader.runtime.process import Runtime
from datauploader_testing import builders
from datauploader_testing.waiting import eventually


@pytest.fixture
def nexus(tmp_path):
    """Write a small NeXus file on a storage."""
    path = tmp_path / "store" / "20250001" / "scan1" / "a.nxs"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["title"] = "vanadium"
    return path


@pytest.fixture
def url():
    """Name a broker that is this test's alone."""
    return f"memory://{uuid.uuid4()}"


@pytest.fixture
def bus(surroundings, tmp_path, url):
    """Connect to the broker that the command line will find, with one file that was stored before."""
    surroundings.setenv("DATAUPLOADER_BROKER", url)
    surroundings.setenv("DATAUPLOADER_HARVESTERS_MOUNTS", json.dumps({"storage": str(tmp_path / "store")}))
    bus = connect(url, name="test")
    yield bus
    bus.close()


@pytest.fixture
def extracted(bus, nexus):
    """Publish that the file was stored; give what is said about it then."""
    found = []
    for queue in facility_queues([builders.HERE]):
        bus.consume(queue, lambda _: None)
    bus.consume(harvester_queue("test", ["#.metadata.extracted.v1"]), lambda delivery: found.append(delivery.event))
    bus.publish(builders.event(builders.upload_requested())).result(60)
    bus.publish(builders.event(builders.file_stored(builders.file_version("a.nxs")))).result(60)
    return found


def test_a_harvester_is_tried_on_a_file_without_publishing_anything(run, nexus) -> None:
    """For people and for programs; a file that it cannot read is a sentence and an exit code."""
    assert "title: vanadium" in run("harvest", "try", "nexus-harvester", str(nexus)).out
    shown = json.loads(run("harvest", "try", "nexus-harvester", str(nexus), "--json").out)
    assert {"name": "title", "value": "vanadium"}.items() <= shown["parameters"][0].items()
    other = nexus.with_name("b.nxs")
    other.write_text("no HDF5")
    ran = run("harvest", "try", "nexus-harvester", str(other))
    assert ran.code == 1
    assert "nexus could not read it" in ran.err


@pytest.fixture
def program(tmp_path):
    """Write a harvester that is a program: it counts the bytes of NeXus files."""
    folder = tmp_path / "counting"
    folder.mkdir()
    (folder / "count.sh").write_text("""#!/bin/sh\nprintf '{"name": "bytes", "value": %d}' "$(wc -c < "$1")"\n""")
    (folder / "count.sh").chmod(0o755)
    told = 'name = "counting"\npatterns = ["*.nxs"]\ncommand = ["./count.sh", "{path}"]\n'
    (folder / "harvester.toml").write_text(told)
    return str(folder / "harvester.toml")


@pytest.mark.posix
def test_a_program_is_tried_and_run_on_what_was_stored_as_a_plug_in_is(run, extracted, nexus, program) -> None:
    """Its file stands where the name of one in Python does."""
    size = nexus.stat().st_size
    assert f"bytes: {size}" in run("harvest", "try", program, str(nexus)).out
    ran = run("harvest", "replay", program, "--since", "1h")
    assert (ran.code, f"bytes: {size}" in ran.out) == (0, True)
    eventually(lambda: extracted, what="the metadata")
    assert [event.data.harvester for event in extracted] == ["counting"]
    missing = run("harvest", "try", program.replace(".toml", "s.toml"), str(nexus))
    assert missing.code == 2
    assert "harvesters.toml cannot be read" in missing.err


@pytest.mark.posix
def test_a_program_runs_as_a_service(bus, url, extracted, program, nexus, tmp_path) -> None:
    """Under its own name, with what every service has."""
    runtime = Runtime([program], Settings(broker=SecretStr(url), state_dir=tmp_path / "state"))
    try:
        runtime.start()
        assert [service.name for service in runtime.services] == ["counting-harvester"]
        bus.publish(builders.event(builders.upload_requested())).result(60)
        bus.publish(builders.event(builders.file_stored(builders.file_version("a.nxs")))).result(60)
        (event,) = eventually(lambda: extracted, what="the metadata")
        assert [one.value for one in event.data.files[0].parameters] == [nexus.stat().st_size]
        assert event.data.files[0].problem == ""
    finally:
        runtime.stop()


def test_what_was_stored_before_is_read_from_the_event_log(run, extracted) -> None:
    """A dry run says it, a real one publishes it once."""
    dry = run("harvest", "replay", "nexus-harvester", "--since", "1h", "--dry-run")
    assert "title: vanadium" in dry.out
    assert "1 file read, 0 with a problem, nothing published." in dry.err
    assert not extracted
    assert run("harvest", "replay", "nexus-harvester", "--since", "1h").code == 0
    eventually(lambda: extracted, what="the metadata")
    assert [event.data.harvester for event in extracted] == ["nexus"]


@pytest.mark.attack("S35")
def test_what_is_none_of_its_upload_is_not_read_again_either(run, bus, extracted, nexus) -> None:
    """By what the log says of who has asked for what."""
    elsewhere = Destination(remote="storage", location="20250001/annas")
    nexus.parent.rename(nexus.parent.with_name("annas"))
    forged = builders.file_stored(builders.file_version("a.nxs"))
    one = forged.files[0].model_copy(update={"object": "20250001/annas/a.nxs"})
    forged = forged.model_copy(update={"destination": elsewhere, "files": (one,)})
    bus.publish(builders.event(forged)).result(60)
    ran = run("harvest", "replay", "nexus-harvester", "--since", "1h")
    assert "forbidden" in ran.err
    assert "vanadium" not in ran.out


def test_a_wrong_name_or_span_is_told(run, bus) -> None:
    """With what there is, and how it is written."""
    ran = run("harvest", "replay", "watcher")
    assert ran.code == 2
    assert "watcher is not a harvester" in ran.err
    assert "such as 7d" in run("harvest", "replay", "nexus-harvester", "--since", "soon").err


def test_a_plug_in_that_says_much_is_heard_in_parts() -> None:
    """Long texts are shortened and named in the problem; 499 of them are several events of at most 64 KiB."""
    said = [(f"p{number}", "\u00e9" * 3000) for number in range(498)]
    said += [("long", "x" * 50_000)]
    judge, kind = ParameterValidator(), Kind("test", ("*.nxs",), "test:read")
    parameters = tuple(one for found in said if (one := judge.validate_parameter(found)))
    assert len(str(parameters[-1].value)) == 4000
    assert judge.problems() == ["only the first 4000 characters are kept of: long"]
    stored = builders.event(builders.file_stored(builders.file_version("a.nxs")))
    found = ExtractedFile(file=builders.file_version("a.nxs"), parameters=parameters, problem=judge.problems()[0])
    events = list(told(kind, stored, found))
    assert max(len(encode(event)) for event in events) <= LARGEST
    assert [one for event in events for one in event.data.files[0].parameters] == list(parameters)
    assert len({event.id for event in events}) == len(events) > 20
    assert [event.id for event in told(kind, stored, found)] == [event.id for event in events]
