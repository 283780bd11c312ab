"""From a delivery to its handler: once for each event, and the memory of that does not grow for ever."""

from concurrent.futures import Future

import pytest

from datauploader.contracts import UploadOpened
from datauploader.errors import Park, Retry
from datauploader.messaging import Delivery, Dispatcher
from datauploader.reliability import Outbox, Store, inbox, outbox
from datauploader_testing import builders

EVENT = builders.event(UploadOpened(upload_id=builders.UPLOAD))


@pytest.fixture
def store(tmp_path):
    """Open a state file."""
    store = Store(tmp_path / "x.sqlite", [inbox.SCHEMA, outbox.SCHEMA])
    yield store
    store.close()


@pytest.mark.fault("F26")
@pytest.mark.parametrize(("again", "times"), [(False, 1), (True, 3)])
def test_a_repeated_event_is_handled_once_unless_its_handler_answers_repetitions(store, again, times) -> None:
    """Three deliveries of one event."""
    calls: list[bool] = []
    dispatcher = Dispatcher(store, Outbox(store, lambda _: Future()), "test")
    dispatcher.on(UploadOpened, lambda unit, _event: calls.append(unit.seen), redeliver=again)
    for _ in range(3):
        dispatcher(Delivery(EVENT))
    assert calls == [False, True, True][:times]


@pytest.mark.fault("F26")
def test_deliveries_that_are_handled_together_are_kept_together_or_not_at_all(store) -> None:
    """Where one of them cannot be handled, no trace of the others is left, and they may be handled one by one."""
    events = [builders.event(UploadOpened(upload_id=f"u-{number:08}")) for number in range(3)]
    calls: list[str] = []
    woken: list[None] = []
    bad = {events[1].data.upload_id}

    def handler(_unit, event) -> None:
        if event.data.upload_id in bad:
            raise Park("not this one")
        calls.append(event.data.upload_id)

    dispatcher = Dispatcher(store, Outbox(store, lambda _: Future()), "test")
    dispatcher.on(UploadOpened, handler)
    dispatcher.after_commit(lambda: woken.append(None))
    deliveries = [Delivery(event) for event in events]
    with pytest.raises(Park):
        dispatcher.handle_all(deliveries)
    with store.reading() as db:
        assert db.execute("SELECT count(*) FROM inbox").fetchone()[0] == 0
    bad.clear()
    calls.clear()
    dispatcher.handle_all([*deliveries, deliveries[0]])
    dispatcher(deliveries[2])
    assert calls == [event.data.upload_id for event in events]
    assert len(woken) == 1


def test_ids_that_nobody_will_deliver_again_are_forgotten_as_events_come(store) -> None:
    """Every service forgets, without having to think of it."""
    with store.transaction() as db:
        db.execute("INSERT INTO inbox VALUES ('old', 0)")
    dispatcher = Dispatcher(store, Outbox(store, lambda _: Future()), "test")
    dispatcher.on(UploadOpened, lambda _unit, _event: None)
    dispatcher(Delivery(EVENT))
    with store.reading() as db:
        assert [row["event_id"] for row in db.execute("SELECT event_id FROM inbox")] == [EVENT.id]


@pytest.mark.fault("F27")
def test_a_full_disk_is_no_fault_of_the_message(store) -> None:
    """It is asked for again, for hours; five errors would have it parked."""
    dispatcher = Dispatcher(store, Outbox(store, lambda _: Future()), "test")
    dispatcher.on(UploadOpened, lambda _unit, _event: None)
    store._write.execute("PRAGMA query_only = ON")
    with pytest.raises(Retry, match="free space"):
        dispatcher(Delivery(EVENT))
    store._write.execute("PRAGMA query_only = OFF")
    dispatcher(Delivery(EVENT))
