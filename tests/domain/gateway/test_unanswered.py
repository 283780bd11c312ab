"""What people asked for is said again until it is answered, and all of it to a station that has forgotten."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from datauploader.contracts import (
    DatasetCompleted,
    DatasetEnsured,
    Event,
    EventData,
    Person,
    StationReported,
    UploadCancelled,
    UploadControlled,
    UploadOpened,
    UploadRequested,
    UploadSealed,
)
from datauploader.contracts.envelope import EncodedEvent, decode
from datauploader.errors import Retry
from datauploader.reliability import Outbox, Store
from datauploader.reliability import outbox as outbox_state
from datauploader_gateway.events import pending_requests
from datauploader_gateway.events.pending_requests import PendingRequests
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

ANNA = Person(id="1101", name="Anna")
REQUEST = builders.event(builders.upload_requested())
ID = REQUEST.data.upload_id


class Bench:
    """The table, and a broker that takes everything."""

    def __init__(self, store: Store, patience_s: float) -> None:
        """Begin with nothing asked for."""
        self.said: list[Event[EventData]] = []
        self.store, self.outbox = store, Outbox(store, self._publish)
        store.mark_recovered()
        self.table = PendingRequests(store, self.outbox, patience_s=patience_s, kept_s=3600)
        self.outbox.start()

    def _publish(self, event: EncodedEvent) -> "Future[None]":
        self.said.append(decode(event.body))
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def hear(self, *data: EventData, live: bool = True) -> None:
        """Hear events."""
        for one in data:
            self.table.note_answer(builders.event(one), live=live)

    def kinds(self) -> list[type[EventData]]:
        """Look once for what is due, and return the kinds of all that was said so far."""
        self.table.repeat_due()
        eventually(lambda: self.outbox.waiting() == 0)
        return [type(event.data) for event in self.said]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give a table that has no patience."""
    store = Store(tmp_path / "x.sqlite", (outbox_state.SCHEMA, pending_requests.SCHEMA))
    made = Bench(store, patience_s=0.0)
    yield made
    made.outbox.stop()
    store.close()


def control(action: str) -> UploadControlled:
    """Build a person's command."""
    return UploadControlled.model_validate({"upload_id": ID, "action": action, "requested_by": ANNA})


def ensured() -> DatasetEnsured:
    """Build the catalogue's answer."""
    return DatasetEnsured(upload_id=ID, investigation_id="20260101", dataset_id="d1")


def completed() -> DatasetCompleted:
    """Build the end."""
    return DatasetCompleted(upload_id=ID, dataset_id="d1", files=0, bytes=0, manifest_sha256="0" * 64)


def forgetful() -> StationReported:
    """Build what a watcher says that has lost its state."""
    return StationReported(
        service="watcher", version="1", host="ws01", state="starting", forgetful=True, interval_s=10
    )  # fmt: skip


@pytest.mark.fault("F22", "F23")
def test_a_request_is_said_again_with_its_first_id_until_station_and_catalogue_have_answered(bench: Bench) -> None:
    """One answer is not enough, in whatever order they come."""
    bench.table.note_answer(REQUEST, live=True)
    assert bench.kinds() == [UploadRequested]
    bench.hear(ensured())
    assert bench.kinds() == [UploadRequested] * 2
    assert {event.id for event in bench.said} == {REQUEST.id}
    bench.hear(UploadOpened(upload_id=ID))
    assert len(bench.kinds()) == 2


@pytest.mark.fault("F23")
def test_a_close_is_said_again_until_it_is_sealed_and_a_pause_never(bench: Bench) -> None:
    """A pause that came late would undo what was said after it."""
    bench.hear(control("pause"), control("close"))
    assert bench.kinds() == [UploadControlled]
    assert [event.data.action for event in bench.said if isinstance(event.data, UploadControlled)] == ["close"]
    bench.hear(UploadSealed(upload_id=ID, files=0, bytes=0, left_out=0, manifest_sha256="0" * 64))
    assert len(bench.kinds()) == 1


@pytest.mark.fault("F28")
def test_a_station_that_has_forgotten_hears_all_that_is_not_over(bench: Bench) -> None:
    """The request, then the latest word on pausing and closing; nothing when it is over, nothing from the log."""
    bench.table.note_answer(REQUEST, live=True)
    bench.hear(ensured(), UploadOpened(upload_id=ID), control("pause"), control("resume"))
    bench.hear(forgetful(), live=False)
    assert bench.kinds() == []
    bench.hear(forgetful())
    assert bench.kinds() == [UploadRequested, UploadControlled]
    assert bench.said[1].data == control("resume")
    bench.hear(completed(), forgetful())
    assert len(bench.kinds()) == 2


@pytest.mark.fault("F28")
def test_a_gateway_that_has_forgotten_as_well_reads_the_log_before_it_reminds_a_station(tmp_path: Path) -> None:
    """The station's word comes again; it would be answered with nothing now, and never be said a second time."""
    store = Store(tmp_path / "x.sqlite", (outbox_state.SCHEMA, pending_requests.SCHEMA))
    table = PendingRequests(store, Outbox(store, lambda _: Future()), patience_s=60, kept_s=3600)
    with pytest.raises(Retry):
        table.note_answer(builders.event(forgetful()), live=True)
    store.close()


@pytest.mark.fault("F26")
def test_what_is_over_is_not_asked_for_again_by_a_late_copy(bench: Bench) -> None:
    """The request comes once more after the end."""
    bench.hear(completed())
    bench.table.note_answer(REQUEST, live=True)
    bench.hear(forgetful())
    assert bench.kinds() == []


def test_a_station_answers_and_ends_its_own_uploads_alone(bench: Bench) -> None:
    """What another one says about them, under its own name, changes nothing."""
    bench.table.note_answer(REQUEST, live=True)
    other = builders.station("elettra.xrd1.ws02")
    for data in (UploadOpened(upload_id=ID), ensured(), UploadCancelled(upload_id=ID)):
        bench.table.note_answer(builders.event(data, at=other), live=True)
    assert bench.kinds() == [UploadRequested]
    bench.hear(forgetful())
    assert len(bench.kinds()) >= 2


@pytest.mark.fault("F53")
def test_what_a_rule_asks_for_is_the_station_s_own_matter_until_it_has_forgotten(bench: Bench) -> None:
    """It says so again by itself; but which folders it had begun anew it cannot know without its state."""
    rule = REQUEST.data.model_copy(update={"requested_by": Person(id="rule:all")})
    bench.hear(rule)
    assert bench.kinds() == []
    bench.hear(forgetful())
    assert bench.kinds() == [UploadRequested]


def test_a_wish_waits_ever_longer(tmp_path: Path) -> None:
    """The second time is not due when the first one was a moment ago."""
    store = Store(tmp_path / "x.sqlite", (outbox_state.SCHEMA, pending_requests.SCHEMA))
    bench = Bench(store, patience_s=0.2)
    bench.table.note_answer(REQUEST, live=True)
    assert bench.kinds() == []
    eventually(lambda: len(bench.kinds()) == 1, within_s=5)
    began = time.monotonic()
    eventually(lambda: len(bench.kinds()) == 2, within_s=5)
    assert time.monotonic() - began >= 0.3
    bench.outbox.stop()
    store.close()
