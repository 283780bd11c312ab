"""A storage that names a pause gets it, however many batches fail meanwhile."""

from datetime import UTC, datetime

import pytest

from datauploader_transfer.rclone.probes import LONGEST_S, retry_after_s
from datauploader_transfer.remote_breaker import RemoteCircuitBreaker

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.fault("F32")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        (" 120 ", 120.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("9" * 400, LONGEST_S),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_moment(header: str, seconds: float | None) -> None:
    """What a server writes wrongly asks for nothing, and nobody can ask for more than an hour."""
    assert retry_after_s(header, NOW) == seconds


@pytest.mark.fault("F32")
def test_a_longer_pause_that_is_named_later_counts() -> None:
    """Several batches fail at once: the first knows no pause, the second heard of 30 s, the third of none again."""
    breaker = RemoteCircuitBreaker()
    assert breaker.note_failure("store", "away", now=100.0).until == 101.0
    assert breaker.note_failure("store", "busy", now=100.5, retry_after_s=30).until == 130.5
    assert breaker.note_failure("store", "away", now=100.6).until == 130.5
    assert breaker.resting("store", 130.0)
    assert not breaker.resting("store", 131.0)
    assert breaker.note_failure("store", "away", now=131.0).until == 133.0
