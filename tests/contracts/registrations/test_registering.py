"""Stations and harvesters are added, removed and given new passwords at a real broker, while it runs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
import pytest
from pika.exceptions import AMQPError

from datauploader.errors import BadRequest, BrokerRefused, BrokerUnreachable, ConfigurationError
from datauploader_client.admin.files import read_env
from datauploader_client.admin.install import Answers, install
from datauploader_client.admin.management import BrokerManagement
from datauploader_client.admin.registering import Registering
from datauploader_client.admin.site import DEFINITIONS, REGISTRATIONS, Site, read_site
from datauploader_client.cli import main
from datauploader_testing.servers import RabbitServer
from datauploader_testing.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
HERE, ADDED = "elettra.xrd1.ws01", "elettra.xrd1.ws02"

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitServer, Path]]:
    """Install a site and run a broker that has loaded its definitions; give it, and the folder with .env."""
    folder = tmp_path_factory.mktemp("server")
    site = install(read_site(ROOT, folder / ".env").with_values(SITE_DIR=str(folder / "site")), Answers(station=HERE))
    with RabbitServer(definitions=site.folder / DEFINITIONS) as server:
        yield server, folder


class Server:
    """A site with its running broker."""

    def __init__(self, server: RabbitServer, folder: Path) -> None:
        """Know both."""
        self.server, self.folder = server, folder

    @property
    def site(self) -> Site:
        """The files as they are now."""
        return read_site(ROOT, self.folder / ".env")

    def password(self, name: str) -> str:
        """Read a password as the one does who gets the file."""
        kept = read_env(self.site.file_of(name))
        return next(word for line, word in kept.items() if line.endswith("_PASSWORD"))

    @contextmanager
    def registering(self) -> Iterator[Registering]:
        """Change the site and the broker."""
        word = self.site.values["BROKER_ADMINISTRATOR_PASSWORD"]
        with BrokerManagement(self.server.address.management_url, "administrator", word) as broker:
            yield Registering(self.site, broker)

    def sign_in(self, name: str, password: str) -> pika.BlockingConnection:
        """Connect as this user, without heartbeats: such a connection ends only where the broker ends it."""
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                self.server.address.host, self.server.address.port, heartbeat=0,
                credentials=pika.PlainCredentials(name, password),
            )
        )  # fmt: skip

    def queues(self) -> set[str]:
        """Name the queues that the broker has."""
        return {queue["name"] for queue in self.server.management.queues("/")}


@pytest.fixture
def here(installed: tuple[RabbitServer, Path]) -> Iterator[Server]:
    """Give the site, and take away what the test has registered."""
    server = Server(*installed)
    yield server
    with server.registering() as registering:
        known = server.site.registrations
        for name in (*known.stations[1:], *known.harvesters, *(one.account for one in known.consumers)):
            registering.remove(name, with_messages=True)


def add(here: Server, name: str = ADDED) -> None:
    """Register a station, or a harvester."""
    with here.registering() as registering:
        (registering.add_station if "." in name else registering.add_harvester)(name)


def is_open(connection: pika.BlockingConnection) -> bool:
    """Tell whether the broker still has this connection."""
    try:
        connection.process_data_events(time_limit=0)
    except AMQPError:
        return False
    return bool(connection.is_open)


def test_a_station_that_was_added_signs_in_and_nobody_else_notices(here: Server) -> None:
    """Its queues are there, its password is in its file, and a connection of another service stays open."""
    with here.sign_in("catalog", here.site.values["BROKER_CATALOG_PASSWORD"]) as other:
        add(here)
        with here.sign_in(ADDED, here.password(ADDED)) as station:
            assert station.channel().queue_declare(f"watcher.{ADDED}", passive=True)
        assert is_open(other)
    assert {f"transfer.{ADDED}", f"watcher.{ADDED}.parked", f"answers.{ADDED}.6"} <= here.queues()
    assert here.site.file_of(ADDED).stat().st_mode & 0o777 == 0o600


def test_adding_twice_changes_nothing(here: Server) -> None:
    """A station at work is not locked out because somebody repeats the command."""
    add(here)
    before = here.site.file_of(ADDED).read_text(), (here.site.folder / DEFINITIONS).read_text()
    add(here)
    assert (here.site.file_of(ADDED).read_text(), (here.site.folder / DEFINITIONS).read_text()) == before


def test_a_harvester_that_was_added_has_its_queue(here: Server) -> None:
    """It may read it, and make nothing."""
    add(here, "spec")
    with here.sign_in("spec", here.password("spec")) as connection:
        assert connection.channel().queue_declare("harvester.spec", passive=True)
        with pytest.raises(AMQPError, match="ACCESS_REFUSED"):
            connection.channel().queue_declare("harvester.spec.more")
    assert f"@{'broker.example.org'}:5671" in here.site.file_of("spec").read_text()


def test_a_consumer_gets_the_events_that_it_was_registered_for_and_no_former_ones(here: Server) -> None:
    """It may neither make nor bind anything; other events replace the former ones, with the same password."""
    with here.registering() as registering:
        registering.add_consumer("spec", ["dataset.completed.v1", "dataset.refused.v1"])
    word = here.password("consumer.spec")
    assert "DATAUPLOADER_CONSUMERS_EVENTS=dataset.completed.v1,dataset.refused.v1\n" in (
        here.site.file_of("consumer.spec").read_text()
    )
    with here.registering() as registering:
        registering.add_consumer("spec", ["dataset.refused.v1", "file.stored.v1"])
    bound = {
        one["routing_key"]
        for one in here.server.management.get("queues", "/", "consumer.spec", "bindings")
        if one["source"] == "datauploader.events"
    }
    assert bound == {"*.*.*.dataset.refused.v1", "*.*.*.file.stored.v1"}
    with here.sign_in("consumer.spec", word) as connection:
        assert connection.channel().queue_declare("consumer.spec", passive=True)
        with pytest.raises(AMQPError, match="ACCESS_REFUSED"):
            connection.channel().queue_bind("consumer.spec", "datauploader.events", "#")
        with pytest.raises(AMQPError, match="ACCESS_REFUSED"):
            connection.channel().basic_get("datauploader.log")
    with here.registering() as registering, pytest.raises(ConfigurationError, match=r"did you mean file\.stored\.v1"):
        registering.add_consumer("spec", ["file.store.v1"])


def test_a_consumer_and_a_harvester_of_one_name_are_two(here: Server) -> None:
    """Removing one leaves the other; the removed one can be added again."""
    add(here, "spec")
    with here.registering() as registering:
        registering.add_consumer("spec", ["file.stored.v1"], within=True)
        asked = here.site.targets_of("consumer.spec")
        assert asked.exists()
        assert registering.remove("consumer.spec") == []
    assert not asked.exists()
    assert not [name for name in here.queues() if name.startswith("consumer.spec")]
    assert not here.site.file_of("consumer.spec").exists()
    assert "elettra.consumer.spec" in here.site.registrations.removed
    with here.sign_in("spec", here.password("spec")) as connection:
        assert connection.channel().queue_declare("harvester.spec", passive=True)
    with here.registering() as registering:
        registering.add_consumer("spec", ["file.stored.v1"])
    assert "elettra.consumer.spec" not in here.site.registrations.removed
    here.sign_in("consumer.spec", here.password("consumer.spec")).close()


@pytest.mark.attack("S14")
def test_a_new_password_ends_the_connections_of_the_former_one(here: Server) -> None:
    """Whoever has stolen it is out at once, even where he sends no heartbeats, and does not come back."""
    add(here)
    stolen = here.password(ADDED)
    thief = here.sign_in(ADDED, stolen)
    with here.registering() as registering:
        registering.rotate(ADDED)
    eventually(lambda: not is_open(thief), what="the thief's connection is closed")
    with pytest.raises(AMQPError):
        here.sign_in(ADDED, stolen)
    here.sign_in(ADDED, here.password(ADDED)).close()


def test_a_service_of_the_server_gets_its_new_password_in_env(here: Server) -> None:
    """Others keep theirs."""
    before = here.site.values
    with here.registering() as registering:
        registering.rotate("operations")
    after = here.site.values
    assert {name for name in after if after[name] != before.get(name)} == {"BROKER_OPERATIONS_PASSWORD"}
    here.sign_in("operations", after["BROKER_OPERATIONS_PASSWORD"]).close()


def test_a_removed_station_is_out_and_its_empty_queues_are_gone(here: Server) -> None:
    """Its password, its connection, its files; it can be added again and has another password then."""
    with here.registering() as registering:
        registering.add_station(ADDED, ["/data"])
    configuration = here.site.file_of(ADDED).with_suffix(".toml")
    assert configuration.exists()
    former = here.password(ADDED)
    connection = here.sign_in(ADDED, former)
    with here.registering() as registering:
        assert registering.remove(ADDED) == []
    eventually(lambda: not is_open(connection), what="the connection of the removed station is closed")
    assert not [name for name in here.queues() if ADDED in name]
    assert not here.site.file_of(ADDED).exists()
    assert not configuration.exists()
    assert here.site.registrations.stations == (HERE,)
    assert ADDED in here.site.registrations.removed
    add(here)
    assert here.password(ADDED) != former
    assert ADDED not in here.site.registrations.removed


def test_a_queue_with_messages_stays_until_somebody_says_so(here: Server) -> None:
    """What waits may matter; the command names the queue, and can be run again."""
    add(here)
    here.server.management.publish("/", "", b"waits", {}, f"transfer.{ADDED}.parked")
    with here.registering() as registering:
        assert registering.remove(ADDED) == [f"transfer.{ADDED}.parked"]
        assert [name for name in here.queues() if ADDED in name] == [f"transfer.{ADDED}.parked"]
        assert registering.remove(ADDED, with_messages=True) == []
    assert not [name for name in here.queues() if ADDED in name]


def test_what_an_administrator_has_added_stays_in_the_file_and_at_the_broker(here: Server) -> None:
    """A user of his own, its rights, its queue and binding outlive every command, and the file still loads."""
    path = here.site.folder / DEFINITIONS
    document = json.loads(path.read_text())
    of_nexus = next(one for one in document["users"] if one["name"] == "nexus")
    document["users"].append({**of_nexus, "name": "logbook"})
    document["permissions"].append({"user": "logbook", "vhost": "/", "configure": "^$", "write": "^$", "read": ".*"})
    document["queues"].append({"name": "logbook", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}})
    document["bindings"].append({
        "source": "datauploader.events", "vhost": "/", "destination": "logbook", "destination_type": "queue",
        "routing_key": "#", "arguments": {},
    })  # fmt: skip
    path.write_text(json.dumps(document))
    add(here)
    with here.registering() as registering:
        registering.remove(ADDED)
    kept = json.loads(path.read_text())
    assert [one for one in kept["users"] if one["name"] == "logbook"]
    assert [one for one in kept["bindings"] if one["destination"] == "logbook"]
    assert not [one for section in ("users", "permissions") for one in kept[section] if ADDED in str(one)]
    assert "logbook" in here.queues()
    assert here.server.management.get("users", "logbook")["name"] == "logbook"


@pytest.mark.parametrize("name", [HERE, "catalog", "elettra.xrd1.ws77", "nobody"])
def test_what_is_not_registered_or_is_the_servers_own_is_not_removed(here: Server, name: str) -> None:
    """A mistyped name deletes nothing."""
    before = here.queues()
    with here.registering() as registering, pytest.raises(BadRequest):
        registering.remove(name)
    assert here.queues() == before


def test_a_broker_that_does_not_let_us_in_leaves_the_files_as_they_are(here: Server) -> None:
    """Neither is a station half added; the sentence says how to load the account."""
    before = (here.site.folder / REGISTRATIONS).read_text()
    at, word = here.server.address.management_url, here.site.values["BROKER_OPERATOR_PASSWORD"]
    for url, name, password, kind, why in (
        (at, "administrator", "wrong", BrokerRefused, "import_definitions"),
        (at, "operator", word, BrokerRefused, "no administrator"),
        ("http://127.0.0.1:1", "administrator", "any", BrokerUnreachable, "cannot be reached"),
    ):
        with BrokerManagement(url, name, password) as broker, pytest.raises(kind, match=why):
            Registering(here.site, broker).add_station(ADDED)
    assert (here.site.folder / REGISTRATIONS).read_text() == before
    assert not here.site.file_of(ADDED).exists()


@pytest.mark.attack("S26")
def test_no_password_is_printed(here: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """The commands say where a password stands, never what it is."""
    place = ["admin", "--folder", str(ROOT), "--env", str(here.folder / ".env")]
    place += ["--management", here.server.address.management_url]
    commands = [["add-station", ADDED], ["add-harvester", "spec"]]
    commands.append(["add-consumer", "spec", "--events", "file.stored.v1"])
    for command in (*commands, ["rotate", ADDED], ["rotate", "consumer.spec"], ["list"], ["apply"]):
        assert main([*place, *command]) == 0
    words = {here.password(ADDED), here.password("spec"), *(v for k, v in here.site.values.items() if "PASSWORD" in k)}
    assert main([*place, "remove-station", ADDED]) == 0
    said = "".join(capfd.readouterr())
    assert f"site/stations/{ADDED}.env" in said
    assert not [word for word in words if word in said]


def test_feature_flags_that_the_next_release_needs_are_named(here: Server) -> None:
    """On a new broker all stable ones are enabled; what is asked for is what RabbitMQ says."""
    flags = here.server.ctl("list_feature_flags", "name", "state", "stability")
    stable = [line.split() for line in flags.splitlines() if line.endswith("stable")]
    with here.registering() as registering:
        named = registering.disabled_feature_flags()
    assert stable
    assert named == sorted(name for name, state, stability in stable if (state, stability) == ("disabled", "stable"))
