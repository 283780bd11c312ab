"""The files of the deployment agree with each other: variables, images, users, and the settings that they name."""

import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from datauploader.contracts.address import Station
from datauploader.errors import BadRequest
from datauploader.messaging.topology import EVENTS, facility_queues
from datauploader_client.admin.files import read_env
from datauploader_client.admin.install import Answers, install
from datauploader_client.admin.registering import Registering
from datauploader_client.admin.site import read_site

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
HERE, ELSEWHERE = "elettra.xrd1.ws01", "elettra.xrd1.ws02"


@pytest.fixture
def made(tmp_path):
    """Install in a folder of its own, add stations, and read what was written."""

    def make(*, sandbox: bool = True, station: str = HERE, add: tuple[str, ...] = ()):
        site = read_site(ROOT, tmp_path / ".env").with_values(SITE_DIR=str(tmp_path / "site"))
        site = install(site, Answers(station=station, sandbox=sandbox))
        for name in add:
            site = Registering(site, None).add_station(name)
        return read_env(tmp_path / ".env"), site.folder

    return make


def test_every_variable_of_the_compose_file_is_explained_in_the_example():
    """Who reads .env.example has seen everything that can be set."""
    used = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE))
    explained = set(re.findall(r"^([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    assert used - {"COMPOSE_PROJECT_NAME"} <= explained
    others = {"BROKER_PUBLIC_URL", "BROKER_ADMINISTRATOR_PASSWORD", "COMPOSE_PROFILES", "STORE_DIR"}
    assert explained <= used | others


def test_nothing_that_always_runs_depends_on_a_profile():
    """Compose makes a container anew whose dependency comes or goes with --profile: that was the broker."""
    services = yaml.safe_load(COMPOSE)["services"]
    for name, service in services.items():
        if not service.get("profiles"):
            assert not [one for one in service.get("depends_on", {}) if services[one].get("profiles")], name


@pytest.mark.parametrize("certificates", ["files", ""])
def test_the_broker_starts_when_there_is_a_certificate_or_none_is_wanted(tmp_path, certificates):
    """Its settings name a file that others put there a moment later."""
    (script,) = yaml.safe_load(COMPOSE)["services"]["rabbitmq"]["entrypoint"][2:]
    key, tools = tmp_path / "server.key", tmp_path / "bin"
    tools.mkdir()
    (tools / "rabbitmq-server").write_text("#!/bin/sh\necho started\n")
    (tools / "rabbitmq-server").chmod(0o755)
    text = (
        script.replace("$$", "$")
        .replace("/etc/rabbitmq/tls/server.key", str(key))
        .replace("/usr/lib/rabbitmq/bin", str(tools))
    )
    broker = subprocess.Popen(
        ["sh", "-c", text], env={"CERTIFICATES": certificates, "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE
    )
    with broker:
        if certificates:
            assert broker.poll() is None
            key.write_text("key")
        assert broker.communicate(timeout=30) == (b"started\n", None)


def test_a_harvester_of_ones_own_finds_what_the_sandbox_stores(made):
    """Who tries the product with a harvester need not find out where the storage is."""
    volume = made()[0]["STORE_DIR"]
    services = yaml.safe_load(COMPOSE)["services"]
    base = tomllib.loads((ROOT / "deploy" / "sandbox.toml").read_text("utf-8"))["remotes"]["archive"]["base"]
    assert f"{volume}:/store/{base}" in services["storage"]["volumes"]
    assert made(sandbox=False, station="")[0]["STORE_DIR"] == volume, "what is there stays"


def test_the_broker_can_read_the_certificates_that_another_user_puts_there():
    """A folder of mode 0700 kept RabbitMQ from starting with TLS: it is another user, and sees it as a volume."""
    recipe = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
    assert re.search(r"^ && install -d -o 10001 -g 10001 -m 0755 .*/tls$", recipe, re.MULTILINE)


def test_catalogues_to_try_listen_on_this_machine_alone_and_come_with_no_secret():
    """Whoever tries a SciCat or an ICAT opens nothing to the network, and invents the passwords."""
    text = (ROOT / "deploy" / "compose.catalogues.yml").read_text(encoding="utf-8")
    ports = re.findall(r'ports: \["([^"]+)"\]', text)
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)
    secrets = re.findall(r"(?:SECRET|DATABASE_PASSWORD|MARIADB_PASSWORD): (\S+)", text)
    assert all(secret.startswith("${") for secret in secrets)
    assert not re.search(r"\$\{[A-Z_]*(?:SECRET|PASSWORD):-", text)


@pytest.mark.attack("S14", "S26")
def test_the_example_holds_no_secret():
    """Nobody runs with a password that is in the repository."""
    secrets = re.findall(r"^(\w*(?:PASSWORD|SECRET\w*))=(.*)$", EXAMPLE, re.MULTILINE)
    assert len(secrets) == 12
    assert all(not value for _, value in secrets), secrets


def test_every_service_of_ours_is_built_by_the_dockerfile():
    """A target that the compose file names is there."""
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "deploy" / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    fragments = [path.read_text("utf-8") for path in sorted(ROOT.glob("[ch]*ers/*/compose.yml"))]
    assert len(fragments) == 3
    for text in (COMPOSE, *fragments):
        assert set(re.findall(r"target: ([a-z-]+)", text)) <= targets


@pytest.mark.attack("S14")
def test_secrets_differ_and_stay_when_it_runs_again(made):
    """A second run changes no password, or every service would be locked out; the provider's secret is none of ours."""
    first, _ = made()
    assert first["OIDC_CLIENT_SECRET"] == ""
    second, site = made(station="", add=(ELSEWHERE,))
    secrets = [value for name, value in first.items() if name.endswith(("PASSWORD", "SECRET", "SECRET_KEY")) and value]
    assert len(set(secrets)) == 11
    assert min(map(len, secrets)) >= 40
    assert second == first
    assert json.loads((site / "config" / "registrations.json").read_text("utf-8"))["stations"] == [HERE, ELSEWHERE]


def test_a_real_facility_gets_no_invented_secret_of_others(made):
    """VUO's secret comes from VUO; an invented one would only fail later."""
    values, _ = made(sandbox=False)
    assert values["VUO_SECRET"] == values["ARCHIVE_SECRET_KEY"] == ""


@pytest.mark.attack("S26")
def test_no_file_is_readable_by_others_on_the_host(made):
    """Containers' users read the files; on the host only the folder's owner comes that far."""
    _, site = made(add=(ELSEWHERE,))
    assert (site.parent / ".env").stat().st_mode & 0o777 == 0o600
    assert site.stat().st_mode & 0o777 == 0o700
    assert (site / "stations" / f"{ELSEWHERE}.env").stat().st_mode & 0o777 == 0o600


def test_each_station_has_a_user_of_its_name_and_its_queues(made):
    """The broker knows a station before its machine is switched on."""
    _, site = made(add=(ELSEWHERE,))
    document = json.loads((site / "broker" / "definitions.json").read_text("utf-8"))
    assert {user["name"] for user in document["users"]} == {
        "catalog", "gateway", "operations", "operator", "administrator", "nexus", HERE, ELSEWHERE,
    }  # fmt: skip
    stations = [Station.parse(text) for text in (HERE, ELSEWHERE)]
    assert {queue.name for queue in facility_queues(stations)} <= {queue["name"] for queue in document["queues"]}


@pytest.mark.attack("S13")
@pytest.mark.parametrize(
    ("user", "key", "allowed"),
    [
        ("gateway", f"{HERE}.upload.requested.v1", True),
        ("gateway", f"{HERE}.station.reported.v1", True),
        ("gateway", f"{HERE}.dataset.completed.v1", False),
        ("catalog", f"{HERE}.dataset.completed.v1", True),
        ("catalog", f"{HERE}.station.reported.v1", True),
        ("catalog", f"{HERE}.upload.requested.v1", False),
        (HERE, f"{HERE}.file.ready.v1", True),
        (HERE, f"{HERE}.dataset.completed.v1", False),
        (HERE, f"{ELSEWHERE}.file.ready.v1", False),
        ("nexus", f"{HERE}.metadata.extracted.v1", True),
        ("nexus", "elettra.harvester.nexus.station.reported.v1", True),
        ("nexus", "elettra.harvester.other.station.reported.v1", False),
        ("nexus", f"{HERE}.station.reported.v1", False),
    ],
)
def test_each_user_may_say_what_its_services_say_and_nothing_else(made, user, key, allowed):
    """The broker would refuse a heartbeat as well as a forgery."""
    _, site = made()
    document = json.loads((site / "broker" / "definitions.json").read_text("utf-8"))
    rules = [rule for rule in document["topic_permissions"] if rule["exchange"] == EVENTS and rule["user"] == user]
    assert [bool(re.search(rule["write"], key)) for rule in rules] == [allowed]


def test_a_station_elsewhere_finds_its_password_in_its_own_file(made):
    """The file is all that the workstation needs, and stays the same."""
    _, site = made(add=(ELSEWHERE,))
    path = site / "stations" / f"{ELSEWHERE}.env"
    first = path.read_text("utf-8")
    made(station="")
    assert path.read_text("utf-8") == first
    assert f"DATAUPLOADER_BROKER=amqps://{ELSEWHERE}:" in first


def test_a_changed_configuration_is_kept(made):
    """Whoever edited the site's configuration finds it as it was."""
    _, site = made()
    (site / "config" / "datauploader.toml").write_text("# mine\n", encoding="utf-8")
    made()
    assert (site / "config" / "datauploader.toml").read_text("utf-8") == "# mine\n"


def test_a_station_that_is_none_is_refused_before_anything_is_written(made, tmp_path):
    """A mistyped name leaves no half-made site."""
    with pytest.raises(BadRequest, match="station"):
        made(station="ws01")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sandbox.toml", "datauploader.example.toml"])
def test_the_configuration_files_are_toml_with_known_tables(name):
    """A table that no service reads would be a setting without effect."""
    document = tomllib.loads((ROOT / "deploy" / name).read_text("utf-8"))
    assert set(document) <= {"remotes", "watcher", "catalog", "gateway", "transfer", "harvesters", "consumers"}


DOCKER = """#!/bin/sh
case "$3" in
  rabbitmq:*) echo '[{"RepoDigests": ["mirror.facility.eu/library/rabbitmq@sha256:aa11"]}]' ;;
  redis:*) echo '[{"RepoDigests": ["other@sha256:00", "redis@sha256:bb22"]}]' ;;
  python:*) [ -e "$PULLED" ] && echo '[{"RepoDigests": ["python@sha256:cc33"]}]' || echo '[{"RepoDigests": []}]' ;;
esac
"""


def test_images_are_pinned_to_what_is_installed_or_not_at_all(made, tmp_path, monkeypatch):
    """Every digest stands in .env beside what stood there; an image without one changes nothing and says what to do."""
    before, _ = made()
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "docker").write_text(DOCKER, encoding="utf-8")
    (tools / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("PULLED", str(tmp_path / "pulled"))
    command = [sys.executable, str(ROOT / "deploy" / "pin_images.py"), str(tmp_path / ".env")]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "python:3.13-slim was made here and has no digest; run: docker pull python:3.13-slim" in refused.stderr
    assert made()[0] == before
    (tmp_path / "pulled").touch()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    now, _ = made()
    pinned = {
        "RABBITMQ_IMAGE": "rabbitmq:4-management@sha256:aa11", "REDIS_IMAGE": "redis:8@sha256:bb22",
        "PYTHON_IMAGE": "python:3.13-slim@sha256:cc33",
    }  # fmt: skip
    assert now == before | pinned
    defaults = dict(re.findall(r"\$\{([A-Z]+_IMAGE):-([^}]+)\}", COMPOSE))
    without_profiles = {name: image for name, image in defaults.items() if name in pinned}
    assert {name: value.partition("@")[0] for name, value in pinned.items()} == without_profiles
    assert defaults == runpy.run_path(str(ROOT / "deploy" / "pin_images.py"))["IMAGES"], "both name every image"
