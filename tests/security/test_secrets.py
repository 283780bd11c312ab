"""Canaries in every secret of a facility: after work and after failures they are found nowhere else."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher

from datauploader_testing.servers import RabbitServer
from datauploader_testing.servers.ports import free_port
from datauploader_testing.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "canary-password-of-anna"
BROKER = "the broker's password"
CANARIES = {
    "VUO's secret": "canary-vuo-secret", "the storage's key": "canary-storage-key", "a person's password": PASSWORD,
    "a VUO session": "canary-vuo-session", BROKER: "canary-broker-password",
}  # fmt: skip

pytestmark = [pytest.mark.rabbitmq, pytest.mark.attack("S26")]


@pytest.fixture(scope="module")
def broker(rabbitmq_server: RabbitServer) -> Iterator[str]:
    """Give the address of a virtual host for a user who has a canary for a password."""
    rabbitmq_server.ctl("add_vhost", "canary")
    rabbitmq_server.ctl("add_user", "canary", CANARIES[BROKER])
    rabbitmq_server.ctl("set_permissions", "-p", "canary", "canary", ".*", ".*", ".*")
    yield f"amqp://canary:{CANARIES[BROKER]}@{rabbitmq_server.address.host}:{rabbitmq_server.address.port}/canary"
    rabbitmq_server.ctl("delete_user", "canary")
    rabbitmq_server.ctl("delete_vhost", "canary")


@pytest.fixture(scope="module")
def run(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], Path, str]]:
    """Run the four services in one process on a configuration full of canaries; the catalogue is away."""
    folder = tmp_path_factory.mktemp("canaries")
    (folder / "data").mkdir()
    (folder / "store").mkdir()
    hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    accounts = folder / "accounts.toml"
    accounts.write_text(f'[[account]]\nname = "anna"\nuser_id = "7"\npassword = "{hashed}"\n')
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATAUPLOADER_")} | {
        "DATAUPLOADER_BROKER": broker, "DATAUPLOADER_STATE_DIR": str(folder / "state"),
        "DATAUPLOADER_LOG_LEVEL": "DEBUG", "DATAUPLOADER_LOG_JSON": "true",
        "DATAUPLOADER_HEALTH_PORT": "0",
        "DATAUPLOADER_GATEWAY_PORT": str(port), "DATAUPLOADER_GATEWAY_ACCOUNTS": str(accounts),
        "DATAUPLOADER_CATALOG_VUO__BASE_URL": f"http://127.0.0.1:{free_port()}",
        "DATAUPLOADER_CATALOG_VUO__SECRET": CANARIES["VUO's secret"],
        "DATAUPLOADER_WATCHER_ROOTS": json.dumps([str(folder / "data")]),
        "DATAUPLOADER_REMOTES__ARCHIVE__TYPE": "s3", "DATAUPLOADER_REMOTES__ARCHIVE__BASE": "bucket",
        "DATAUPLOADER_REMOTES__ARCHIVE__OPTIONS__PROVIDER": "Other",
        "DATAUPLOADER_REMOTES__ARCHIVE__OPTIONS__ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "DATAUPLOADER_REMOTES__ARCHIVE__OPTIONS__ACCESS_KEY_ID": "key",
        "DATAUPLOADER_REMOTES__ARCHIVE__SECRETS__SECRET_ACCESS_KEY": CANARIES["the storage's key"],
    }  # fmt: skip
    program = Path(sys.executable).parent / "datauploader"
    command = [program, "run", "watcher", "transfer", "catalog", "gateway"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: process.poll() is not None or _answers(url), what="the gateway answers", within_s=60)
        assert process.poll() is None, (folder / "log").read_text()[-2000:]
        yield process, folder, url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def said(run: tuple[subprocess.Popen[bytes], Path, str]) -> str:
    """Sign in rightly and wrongly, ask for things that fail on the way to each secret's owner; give all answers."""
    _, _, url = run
    origin = {"Origin": url}
    answers = []
    with httpx.Client(base_url=url, headers=origin, timeout=30) as client:
        bodies = [
            {"method": "vuo", "vuo_session": CANARIES["a VUO session"]},
            {"method": "local", "username": "anna", "password": PASSWORD + "x"},
            {"method": "local", "username": "anna", "password": PASSWORD, "surprise": {"password": PASSWORD}},
            {"method": "local", "username": ["anna"], "password": [PASSWORD]},
            {"method": "local", "username": "anna", "password": PASSWORD},
        ]
        answers += [client.post("/api/v1/session", json=body) for body in bodies]
        assert answers[-1].status_code == 200, answers[-1].text
        wish = {"investigation": "1", "dataset": {"name": "a"}, "station": "facility.beamline.station",
                "path": "/nowhere", "mode": "batch", "kind": "folder"}  # fmt: skip
        answers += [client.post("/api/v1/uploads", json=wish), client.get("/api/v1/investigations")]
        answers += [client.get(path) for path in ("/health/ready", "/metrics", "/api/v1/stations", "/api/v1/remotes")]
    return "\n".join(answer.text for answer in answers)


def found_in(text: str) -> list[str]:
    """Name the canaries that a text holds."""
    return [name for name, canary in CANARIES.items() if canary in text]


def test_no_answer_repeats_a_secret(said: str) -> None:
    """Neither errors about a field nor those about a part that is away."""
    assert found_in(said) == []


def test_no_log_line_holds_a_secret(run: tuple[subprocess.Popen[bytes], Path, str], said: str) -> None:
    """At the level DEBUG, after failures of everything that a secret is for; and every line is one JSON object."""
    _, folder, _ = run
    assert said
    lines = (folder / "log").read_text().splitlines()
    assert len(lines) > 10
    assert all(json.loads(line) for line in lines)
    assert found_in("\n".join(lines)) == []


def test_no_state_file_holds_a_secret(run: tuple[subprocess.Popen[bytes], Path, str], said: str) -> None:
    """A copy of the state opens no door."""
    _, folder, _ = run
    assert said
    files = [path for path in (folder / "state").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert found_in(path.read_bytes().decode("latin-1")) == [], path
        assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0, f"{path} is for others too"


def test_no_command_line_shows_a_secret(run: tuple[subprocess.Popen[bytes], Path, str], said: str) -> None:
    """Not the services', and not rclone's, whose environment holds none but its own random password."""
    process, _, _ = run
    assert said
    children = [pid for pid in map(int, _pids()) if _parent(pid) == process.pid]
    grandchildren = [pid for pid in map(int, _pids()) if _parent(pid) in children]
    assert children, "rclone runs below transfer"
    for pid in (process.pid, *children, *grandchildren):
        assert found_in(Path(f"/proc/{pid}/cmdline").read_text()) == []
    for pid in (*children, *grandchildren):
        assert found_in(Path(f"/proc/{pid}/environ").read_bytes().decode("latin-1")) == []


def _pids() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_other_users_read_no_environment(run: tuple[subprocess.Popen[bytes], Path, str]) -> None:
    """What a service was started with is between it and its own user."""
    process, _, _ = run
    if os.geteuid() != 0:
        assert Path(f"/proc/{process.pid}/environ").stat().st_mode & 0o077 == 0
        return
    look = f"open('/proc/{process.pid}/environ','rb').read()"
    seen = subprocess.run(["python3", "-c", look], user=65534, group=65534, capture_output=True, check=False)
    assert seen.returncode != 0
    assert b"PermissionError" in seen.stderr


def test_no_document_of_the_repository_holds_a_password() -> None:
    """What looks like a secret in the documents is a name or a blank."""
    suspect = re.compile(
        r"(amqps?|redis|rediss|https?)://[\w.-]+:(?!\$|<|…|\*|password|PASSWORD|secret|\{)[^@/\s]{6,}@"
    )
    for path in [*(ROOT / "docs").rglob("*.*"), ROOT / "README.md", *(ROOT / "deploy").rglob("*.*")]:
        if path.is_file() and path.suffix not in (".svg", ".png"):
            assert not suspect.search(path.read_text(encoding="utf-8")), path
