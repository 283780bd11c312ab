"""Parked messages of one cause are one group, however their names and numbers differ."""

from datetime import UTC, datetime, timedelta

import pytest

from datauploader.messaging.parked_groups import EXAMPLES, group, shape
from datauploader.messaging.port import ParkedMessage

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def parked(number: int, reason: str, *, replayable: bool = True) -> ParkedMessage:
    """Return a message that was parked so many seconds after the first."""
    when = NOW + timedelta(seconds=number)
    return ParkedMessage(f"id-{number}", "catalog.work", reason, when, b"", replayable=replayable)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the dataset 'a' is gone", "the dataset 'b c' is gone"),
        ("/data/a.dat cannot be read", "/data/b/c.dat cannot be read"),
        ("3 of 5 files", "4 of 5 files"),
        ("upload 5f0c3f4e5d0c is unknown", "upload 9f0b0d9f5d6f is unknown"),
    ],
)
def test_what_differs_from_message_to_message_makes_no_group_of_its_own(one: str, other: str) -> None:
    """Quoted words, paths, numbers and identifiers."""
    assert shape(one) == shape(other)


def test_groups_are_by_queue_and_reason_and_the_largest_comes_first() -> None:
    """With true numbers, a few examples, and the oldest message's reason."""
    many = [("catalog.work", parked(n, f"file {n} has no dataset", replayable=n != 3)) for n in reversed(range(3000))]
    few = [("catalog.work", parked(5000, "not theirs to say")), ("gateway.view", parked(5001, "file 1 has no dataset"))]
    first, *others = group([*few, *many])
    assert (first.queue, first.reason, len(first.ids), first.replayable) == (
        "catalog.work", "file 0 has no dataset", 3000, 2999,
    )  # fmt: skip
    assert [one.id for one in first.examples] == [f"id-{n}" for n in range(EXAMPLES)]
    assert {(one.queue, len(one.ids)) for one in others} == {("catalog.work", 1), ("gateway.view", 1)}
