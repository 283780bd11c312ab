"""What others have written: locked with hashes, and above the floors that known vulnerabilities set."""

import re
from pathlib import Path

import pytest

from datauploader.runtime import version_floors

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = dict(re.findall(r"^([a-z0-9.-]+)==([0-9][^ ;\\]*)", LOCK, re.MULTILINE))
ROWS = re.findall(
    r"^\| ([a-z0-9-]+) \| ([0-9.]+) \| CVE", (ROOT / "docs" / "security.md").read_text("utf-8"), re.MULTILINE
)

pytestmark = pytest.mark.attack("S29")


def release(text: str) -> tuple[int, ...]:
    """Read the numbers of a version."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:4])


@pytest.mark.parametrize(("name", "floor"), ROWS)
def test_no_package_is_below_its_floor(name: str, floor: str) -> None:
    """The lock has the version in which the hole was closed, or a later one."""
    assert release(PINS[name]) >= release(floor)


def test_everything_is_locked_with_hashes() -> None:
    """A package that somebody replaced is not installed."""
    assert len(ROWS) >= 10
    entries = re.split(r"\n(?=[a-z0-9.-]+==)", LOCK)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry.split("\n")[0])
    assert "://" not in LOCK


SERVERS = re.findall(
    r"^\| (Redis|RabbitMQ) ([0-9.]+) \| ([0-9.]+) \| (CVE-[0-9-]+) \|",
    (ROOT / "docs" / "security.md").read_text("utf-8"),
    re.MULTILINE,
)


def test_the_table_of_servers_is_the_one_that_doctor_goes_by() -> None:
    """Neither has a row that the other lacks."""
    known = {"Redis": version_floors.REDIS, "RabbitMQ": version_floors.RABBITMQ}
    documented = {(name, release(branch), release(floor), why) for name, branch, floor, why in SERVERS}
    assert documented == {
        (name, branch, floor, why) for name, table in known.items() for branch, (floor, why) in table.items()
    }


@pytest.mark.parametrize(
    ("version", "ok", "says"),
    [
        ("8.0.2", False, "8.0.2 has CVE-2025-49844, which is fixed in 8.0.4"),
        ("8.0.4", True, "8.0.4"),
        ("8.6.3-alpine", True, "8.6.3"),
        ("7.0.15", True, "nothing is known here of its branch"),
        ("12", True, "nothing is known"),
        ("", True, "nothing is known"),
    ],
)
def test_a_server_below_its_floor_is_called_so(version: str, ok: bool, says: str) -> None:
    """What it has, and the release that has it no more."""
    check = version_floors.judge("redis release", version, version_floors.REDIS)
    assert (check.ok, says in check.detail) == (ok, True), check
