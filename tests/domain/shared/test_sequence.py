"""The numbers of a state file only rise: over a restart, behind what was heard, and whatever the clock does."""

from pathlib import Path

import pytest

from datauploader.contracts import UploadOpened, decode, encode
from datauploader.reliability import Outbox, Store, outbox, sequence
from datauploader_testing import builders

AHEAD = 7200 * 1_000_000


def events_of(store: Store) -> list[int]:
    """Return the numbers of the events that wait."""
    with store.reading() as db:
        return [decode(row["body"]).sequence or 0 for row in db.execute("SELECT body FROM outbox ORDER BY id")]


@pytest.mark.fault("F54")
def test_each_event_gets_a_greater_number_also_after_a_clock_that_was_ahead_is_put_right(tmp_path: Path) -> None:
    """The number that was reached two hours ahead is gone on from, after a restart as well."""
    path = tmp_path / "state.sqlite"
    far = 0
    for _ in range(2):
        store = Store(path, (outbox.SCHEMA,))
        with store.transaction() as db:
            far = far or sequence.draw(db) + AHEAD
            sequence.raise_to(db, far)
            for _ in range(2):
                Outbox.put(db, builders.event(UploadOpened(upload_id=builders.UPLOAD)))
        numbers = events_of(store)
        store.close()
    assert far < numbers[0]
    assert numbers == sorted(set(numbers))


@pytest.mark.attack("S13")
def test_a_number_beyond_all_reason_does_not_use_up_the_numbers(tmp_path: Path) -> None:
    """A station could else make a gateway's own events unreadable."""
    store = Store(tmp_path / "state.sqlite", (outbox.SCHEMA,))
    with store.transaction() as db:
        sequence.raise_to(db, 9_999_999_999_999_999)
        Outbox.put(db, builders.event(UploadOpened(upload_id=builders.UPLOAD)))
    assert len(events_of(store)) == 1
    store.close()


@pytest.mark.fault("F54")
def test_an_event_that_is_said_again_keeps_its_number(tmp_path: Path) -> None:
    """Else an old word that is repeated would overtake a later one."""
    store = Store(tmp_path / "state.sqlite", (outbox.SCHEMA,))
    with store.transaction() as db:
        first = Outbox.put(db, builders.event(UploadOpened(upload_id=builders.UPLOAD)))
        Outbox.put(db, decode(encode(first)))
    one, two = events_of(store)
    store.close()
    assert one == two == first.sequence
