"""The command `harvest new`: what it writes works at once, is as confined as our own, and the broker takes it."""

import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from datauploader.messaging import connect
from datauploader.messaging.definitions import definitions
from datauploader.messaging.rights import HARVESTERS_HEAR
from datauploader.messaging.topology import harvester_queue
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.posix


@pytest.fixture
def new(run, tmp_path):
    """Write the folder of a harvester."""

    def write(*options: str) -> Path:
        ran = run("harvest", "new", "spec", "--into", str(tmp_path / "mine"), *options)
        assert ran.code == 0, ran.err
        assert "README.md" in ran.out
        return tmp_path / "mine"

    return write


def call(*command: str | Path, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as an author does, with the programs of this environment."""
    programs = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    packages = os.pathsep.join(filter(None, (str(path or ""), *os.environ.get("PYTHONPATH", "").split(os.pathsep))))
    environment = os.environ | programs | {"PYTHONPATH": packages}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_a_new_package_is_green_at_once_and_can_be_installed(new, tmp_path) -> None:
    """Its tests pass, its wheel names the harvester, and whoever has the wheel can try it."""
    folder = new()
    tests = call(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder, path=folder)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "2 passed" in tests.stdout
    built = call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=folder)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("spec_harvester-1.0-*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    command = (sys.executable, "-m", "datauploader", "harvest", "try", "spec-harvester", "example.spec")
    tried = call(*command, cwd=folder, path=tmp_path / "site")
    assert "temperature: 293.5 K" in tried.stdout, tried.stderr
    style = call(sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120", folder, cwd=folder)
    assert style.returncode == 0, style.stdout


def test_a_package_that_is_not_installed_is_told_so(new) -> None:
    """Not that the file were damaged: the process that reads does not look into the folder where a test is run."""
    tests = call(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=new())
    assert "its reader spec_harvester:read cannot be loaded: No module named 'spec_harvester'" in tests.stdout


def test_an_entry_point_that_leads_nowhere_is_told_with_what_to_do(run, tmp_path, monkeypatch) -> None:
    """A package of an author's is easily installed without its code."""
    about = tmp_path / "broken_harvester-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-harvester\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[datauploader.services]\nbroken-harvester = broken:create\n")
    monkeypatch.syspath_prepend(tmp_path)
    ran = run("run", "broken-harvester")
    assert ran.code == 2
    assert "cannot be loaded from broken:create: No module named 'broken'; install its package again" in ran.err


def test_a_new_program_is_green_at_once(new) -> None:
    """By its own script; and it is seen when something else is read."""
    folder = new("--command")
    tested = call("sh", "test.sh", cwd=folder)
    assert (tested.returncode, tested.stdout) == (0, "as expected\n"), tested.stderr
    (folder / "example.spec").write_text("# temperature: 5\n1 2\n")
    assert call("sh", "test.sh", cwd=folder).returncode == 1


@pytest.mark.attack("S27")
@pytest.mark.parametrize("options", [(), ("--command",)], ids=["python", "command"])
def test_its_container_is_as_confined_as_ours(new, options) -> None:
    """The fragment fits beside docker-compose.yml: same limits, same variables, and a user at the broker of its own."""
    folder = new(*options)
    ours = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["nexus-harvester"]
    text = (folder / "compose.yml").read_text("utf-8")
    service = yaml.safe_load(text)["services"]["spec-harvester"]
    for key in (
        "read_only",
        "user",
        "cap_drop",
        "security_opt",
        "pids_limit",
        "ulimits",
        "tmpfs",
        "networks",
        "logging",
    ):
        assert service[key] == ours[key], key
    assert all(mount.endswith(":ro") for mount in service["volumes"] if not mount.startswith("spec-harvester:"))
    explained = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) <= explained
    assert service["env_file"] == "${SITE_DIR}/harvesters/spec.env"
    recipe = (folder / "Dockerfile").read_text("utf-8")
    users = re.findall(r"^USER (\S+)", recipe, re.MULTILINE)
    assert users[-1:] in ([], ["10001:10001"])
    assert "FROM base AS harvester\n" in (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
    assert "ARG BASE=datauploader-harvester:local\n" in recipe


def test_nothing_is_overwritten_and_no_impossible_name_taken(run, tmp_path) -> None:
    """A second try says what to do; so does a name that is a role at the broker."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    ran = run("harvest", "new", "spec", "--into", str(tmp_path / "full"))
    assert (ran.code, "exists already" in ran.err) == (2, True)
    for name in ("Spec", "catalog", "a b", "1d", "../x"):
        assert run("harvest", "new", name, "--into", str(tmp_path / "new")).code == 2, name
    assert not (tmp_path / "new").exists()


@pytest.mark.rabbitmq
@pytest.mark.attack("S13")
def test_what_is_written_for_the_broker_is_what_the_harvester_needs(
    new, run, rabbitmq_server, rabbitmq_vhost, tmp_path
) -> None:
    """A broker that runs takes it beside what it has, and the harvester finds its queue and may read it."""
    vhost, whole, own = rabbitmq_vhost.vhost, tmp_path / "whole.json", tmp_path / "own.json"
    printed = run("harvest", "broker", "spec", "--vhost", vhost).out
    assert (new() / "broker.json").read_text("utf-8").replace('"vhost": "/"', f'"vhost": "{vhost}"') == printed
    whole.write_text(json.dumps(definitions([builders.HERE], vhost=vhost)))
    own.write_text(printed)
    rabbitmq_server.ctl("add_user", "spec", "secret")
    try:
        for path in (whole, own):
            rabbitmq_server.ctl("import_definitions", str(path))
        names = {queue["name"] for queue in rabbitmq_server.management.queues(vhost)}
        assert {"harvester.spec", "harvester.spec.parked", "catalog.work"} <= names
        heard = []
        users = {rabbitmq_vhost.user: "operator"}
        bus = connect(replace(rabbitmq_vhost, user="spec", password="secret").url, name="test", users=users)
        bus.consume(harvester_queue("spec", HARVESTERS_HEAR), heard.append)
        other = connect(rabbitmq_vhost.url, name="other", users=users)
        other.publish(builders.event(builders.upload_requested())).result(60)
        eventually(lambda: heard, what="the request")
        bus.close(5)
        other.close(5)
    finally:
        rabbitmq_server.ctl("delete_user", "spec")
