"""What a container of the deployment may do, read from the compose file and the image's recipe."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
FRAGMENTS = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("[ch]*ers/*/compose.yml"))]
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"] | {
    name: service for fragment in FRAGMENTS for name, service in fragment["services"].items()
}
"""Those of the server, and the harvesters and consumers that come with a compose file."""
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
ONCE = {"operator", "detector"}
"""Commands that are run by hand and end: nobody watches their health."""

pytestmark = pytest.mark.attack("S27")


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_more_rights_than_it_needs(name: str) -> None:
    """No root, no writable root file system, no capability, no way to gain any, bounded memory and processes."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert str(service["user"]).split(":")[0] not in ("", "0", "root")
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert not {"cap_add", "privileged", "devices", "pid", "ipc", "userns_mode"} & set(service)
    assert service.get("network_mode") in (None, "none")


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_sees_no_more_of_the_host_than_it_needs(name: str) -> None:
    """No socket of the engine, nothing of the system, and configuration read-only."""
    for mount in SERVICES[name].get("volumes", []):
        source = re.sub(r"\$\{[^}]*\}", "SITE", mount).split(":")[0]
        assert "docker.sock" not in mount
        assert not source.startswith(("/etc", "/proc", "/sys", "/var", "/root", "/:"))
        if "/" in source or source.startswith("SITE/"):
            assert mount.endswith(":ro"), f"{name} could write to {mount}"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_to_this_machine_unless_the_site_says_otherwise(name: str) -> None:
    """Broker and Redis are never reachable from outside by default."""
    for port in SERVICES[name].get("ports", []):
        assert re.match(r"(\$\{[A-Z_]+:-127\.0\.0\.1\}|127\.0\.0\.1):", port), f"{name} publishes {port}"
    if name == "redis":
        assert "ports" not in SERVICES[name]
        assert SERVICES[name]["networks"] == ["back"]


def test_the_inner_network_has_no_way_out() -> None:
    """Broker, Redis and the watcher reach nobody."""
    assert COMPOSE["networks"]["back"]["internal"] is True
    assert SERVICES["watcher"]["networks"] == ["back"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONCE))
def test_a_container_is_asked_how_it_is(name: str) -> None:
    """By the compose file or by its image."""
    service = SERVICES[name]
    target = service.get("build", {}).get("target", "")
    assert service.get("healthcheck", {}).get("test") or target in of_base(), f"{name} has no health check"


def of_base() -> set[str]:
    """Name the images that inherit the base's user and health check."""
    found = set(re.findall(r"^FROM base AS (\S+)$", DOCKERFILE, re.MULTILINE))
    without = {stage.split("\n")[0].split()[-1] for stage in DOCKERFILE.split("\nFROM ") if "HEALTHCHECK NONE" in stage}
    return found - without


def test_no_image_runs_as_root() -> None:
    """The last user that a final stage sets is not root, and no stage takes a secret along."""
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    base = next(stage for stage in stages if stage.split("\n")[0].endswith("AS base"))
    assert re.findall(r"^USER (\S+)", base, re.MULTILINE)[-1] == "10001:10001"
    for stage in stages:
        if stage.startswith("base AS"):
            assert re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1:] in ([], ["10001:10001"])
    assert not re.search(r"^(ARG|ENV) .*(PASSWORD|SECRET|TOKEN)", DOCKERFILE, re.MULTILINE)
    assert "COPY .env" not in DOCKERFILE


def test_nothing_secret_is_sent_to_the_builder() -> None:
    """The site's own files stay out of every image."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ".env" in ignored or "*" in ignored or "**/.env" in ignored


@pytest.mark.attack("S14")
def test_the_broker_lets_nobody_in_without_a_name() -> None:
    """No anonymous login; guest is no user of ours, and could come from the broker's own machine alone."""
    text = (ROOT / "deploy" / "rabbitmq.conf").read_text(encoding="utf-8")
    assert "anonymous_login_user = none" in text
    assert "loopback_users.guest = true" in text


@pytest.mark.attack("S14")
def test_no_user_has_a_password_that_anybody_could_know(deployment: tuple[dict[str, str], Path]) -> None:
    """No guest, no user without a hash, no two alike, and in the files of the repository none at all."""
    _, site = deployment
    users = json.loads((site / "broker" / "definitions.json").read_text())["users"]
    hashes = [user["password_hash"] for user in users]
    assert "guest" not in {user["name"] for user in users}
    assert all(hashes)
    assert len(set(hashes)) == len(hashes)
    shipped = json.loads((ROOT / "deploy" / "definitions.json").read_text(encoding="utf-8"))
    assert not [user for user in shipped.get("users", []) if user.get("password_hash")]
