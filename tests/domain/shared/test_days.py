"""Which day it is: the facility's zone decides, everywhere by one function."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from datauploader.days import today
from datauploader.runtime.config import Settings

TREE = Path(__file__).parents[3]


@pytest.mark.posix  # `time.tzset`
@pytest.mark.parametrize(
    ("zone", "here", "day"),
    [
        ("Europe/Rome", "UTC", "2026-05-02"),
        ("Asia/Tokyo", "UTC", "2026-05-02"),
        ("America/New_York", "Europe/Rome", "2026-05-01"),
        ("", "Europe/Rome", "2026-05-02"),
        ("", "UTC", "2026-05-01"),
    ],
)
def test_the_day_is_that_of_the_facility_wherever_the_process_runs(
    monkeypatch: pytest.MonkeyPatch, zone: str, here: str, day: str
) -> None:
    """At half past ten in the evening UTC it is the next day in Rome, and still the same in New York."""
    monkeypatch.setenv("TZ", here)
    time.tzset()
    try:
        assert today(zone, datetime(2026, 5, 1, 22, 30, tzinfo=UTC)).isoformat() == day
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_zone_that_there_is_not_is_refused() -> None:
    """With one that there is."""
    with pytest.raises(ValidationError, match="write it like Europe/Rome"):
        Settings(timezone="Rome")


def test_nothing_else_asks_which_day_it_is() -> None:
    """Three definitions of today gave a dataset the date of yesterday."""
    found = [
        f"{path.relative_to(TREE)}: {line.strip()}"
        for folder in ("services", "shared")
        for path in (TREE / folder).rglob("*.py")
        if path.name != "days.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"now\([^)]*\)(\.astimezone\([^)]*\))?\.date\(|date\.today\(", line)
    ]
    assert found == []
