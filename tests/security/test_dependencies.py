"""What others have written: locked with hashes, and above the floors that known vulnerabilities set."""

import re
from pathlib import Path

import pytest

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
