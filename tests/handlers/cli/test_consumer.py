"""The command `consumer`: try one on a message, give it what was said before, begin a new one."""

import json
import re
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from tests.handlers.cli.test_new_harvester import call

from datauploader.contracts import Event, EventData
from datauploader.documents.examples import example, example_text
from datauploader.messaging import connect
from datauploader.messaging.topology import consumer_queue, facility_queues
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
PLUG_IN = """
from datauploader.plugins.consumer import Park, Retry, consumer

app = consumer("odd")

@app.on("dataset.completed.v1", "dataset.refused.v1")
def handle(event, context):
    context.log.info("got", files=getattr(event.data, "files", -1))
    if event.data.name == "dataset.refused":
        raise Park("nobody wants to know\\x1b[31m")
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a consumer; give its name."""
    (tmp_path / "odd_consumer.py").write_text(PLUG_IN)
    about = tmp_path / "odd_consumer-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-consumer\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[datauploader.services]\nodd-consumer = odd_consumer:app\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "odd_consumer", raising=False)
    return "odd"


def test_a_consumer_is_tried_on_a_file_and_on_an_example(run, odd, tmp_path) -> None:
    """What it logs and how it ends; for people and for programs."""
    message = tmp_path / "message.json"
    message.write_text(example_text("dataset.completed.v1"))
    ran = run("consumer", "try", odd, str(message))
    assert (ran.code, "info: got files=" in ran.out, f"{message}: handled" in ran.out) == (0, True, True)
    ran = run("consumer", "try", odd, "dataset.completed.v1", "dataset.refused.v1")
    assert ran.code == 3
    assert "dataset.refused.v1: to be parked for a person: nobody wants to know" in ran.err
    assert "\x1b" not in ran.err
    shown = json.loads(run("consumer", "try", odd, "dataset.refused.v1", "--json").out)
    assert (shown["verdict"], shown["log"][0]["event"]) == ("park", "got")
    assert "did you mean dataset.refused.v1" in run("consumer", "try", odd, "dataset.refuse.v1").err
    assert "odd does nothing with file.stored.v1" in run("consumer", "try", odd, "file.stored.v1").err
    assert "no consumer other is installed here" in run("consumer", "try", "other", "file.stored.v1").err


def test_past_events_that_it_wants_are_given_to_its_queue_alone(run, odd, surroundings) -> None:
    """From a time or from an entry of the log; a dry run only shows them."""
    url = f"memory://{uuid.uuid4()}"
    surroundings.setenv("DATAUPLOADER_BROKER", url)
    bus, heard = connect(url, name="test"), []
    for queue in facility_queues([builders.HERE]):
        bus.consume(queue, lambda _: None)
    for data in (builders.dataset_completed(), builders.dataset_ensured(), builders.dataset_completed()):
        bus.publish(builders.event(data)).result(60)
    assert "has no queue consumer.odd" in run("consumer", "replay", odd, "--since", "1h").err
    bus.consume(consumer_queue("odd"), lambda delivery: heard.append(delivery.event))
    dry = run("consumer", "replay", odd, "--since", "1h", "--dry-run", "--json")
    offsets = [json.loads(line)["offset"] for line in dry.out.splitlines()]
    assert len(offsets) == 2
    assert "2 events found, nothing sent." in dry.err
    assert "1 event given to consumer.odd." in run("consumer", "replay", odd, "--from-offset", str(offsets[1])).err
    eventually(lambda: len(heard) == 1, what="the later one")
    events = ("--events", "dataset.completed.v1, dataset.ensured.v1")
    assert "3 events given to consumer.odd." in run("consumer", "replay", "odd", "--since", "1h", *events).err
    eventually(lambda: len(heard) == 4, what="all three")
    assert "needs a beginning" in run("consumer", "replay", odd).err
    bus.close(5)


@pytest.fixture
def folder(run, tmp_path: Path) -> Path:
    """Write the folder of a new consumer."""
    ran = run("consumer", "new", "log-book", "--event", "dataset.refused.v1", "--into", str(tmp_path / "mine"))
    assert ran.code == 0, ran.err
    return tmp_path / "mine"


@pytest.mark.posix
def test_a_new_consumer_is_green_at_once(folder: Path) -> None:
    """Its tests pass and find nothing wrong in its style; its example is the event that it is for."""
    tests = call(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder, path=folder)
    assert "2 passed" in tests.stdout, tests.stdout + tests.stderr
    style = call(sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120", folder, cwd=folder)
    assert style.returncode == 0, style.stdout
    assert json.loads((folder / "example.json").read_text())["type"].endswith("dataset.refused.v1")


@pytest.mark.attack("S27")
def test_its_container_is_as_confined_as_ours(folder: Path) -> None:
    """Same limits, a user of its own at the broker, and all that it mounts only to be read."""
    ours = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["nexus-harvester"]
    service = yaml.safe_load((folder / "compose.yml").read_text("utf-8"))["services"]["log-book-consumer"]
    names = {"read_only", "user", "cap_drop", "security_opt", "pids_limit", "ulimits", "tmpfs", "networks", "logging"}
    assert {key: service[key] for key in names} == {key: ours[key] for key in names}
    assert all(mount.endswith(":ro") for mount in service["volumes"] if not mount.startswith("log-book-consumer:"))
    assert service["env_file"] == "${SITE_DIR}/consumers/log-book.env"
    explained = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+)", (folder / "compose.yml").read_text("utf-8"))) <= explained


def test_what_a_broker_needs_gives_a_consumer_its_events_and_nothing_else(run, folder: Path) -> None:
    """The event log is read by those alone who were given it."""
    printed = run("consumer", "broker", "log-book", "--events", "dataset.refused.v1").out
    assert printed == (folder / "broker.json").read_text()
    document = json.loads(printed)
    assert {queue["name"] for queue in document["queues"]} == {"consumer.log-book", "consumer.log-book.parked"}
    keys = {one["routing_key"] for one in document["bindings"] if one["source"] == "datauploader.events"}
    assert keys == {"*.*.*.dataset.refused.v1"}
    (may,) = document["permissions"]
    assert (may["user"], may["configure"]) == ("consumer.log-book", "^$")
    assert "log$" not in may["read"].replace("log-book", "")
    with_log = run("consumer", "broker", "log-book", "--events", "dataset.refused.v1", "--log").out
    assert r"^datauploader\.log$" in json.loads(with_log)["permissions"][0]["read"]


def test_every_event_has_an_example_that_can_be_tried() -> None:
    """Also where there is no source tree."""
    event: Event[EventData] = example("file.stored.v1")
    assert event.data.name == "file.stored"
    assert event.time < datetime.now(UTC)
