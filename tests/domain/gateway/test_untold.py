"""What a person said is kept from the moment that it is accepted, whatever becomes of it on the way."""

from collections.abc import Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest

from datauploader.contracts import (
    DatasetAnnotated,
    DatasetCompleted,
    DatasetDescribed,
    Event,
    EventData,
    InvestigationAnnotated,
    InvestigationDescribed,
)
from datauploader.contracts.envelope import EncodedEvent, decode
from datauploader.reliability import Outbox, Store
from datauploader.reliability import outbox as outbox_state
from datauploader_gateway.events import pending_requests
from datauploader_gateway.events.pending_requests import PendingRequests
from datauploader_gateway.events.publisher import SCHEMA, CommandPublisher
from datauploader_gateway.events.signing import Signer
from datauploader_testing import builders
from datauploader_testing.waiting import eventually

WORD = builders.event(
    DatasetDescribed(upload_id=builders.UPLOAD, description="text", requested_by=builders.SOMEBODY), id="word-1"
)
ABOUT = builders.event(
    InvestigationDescribed(investigation="1", description="text", requested_by=builders.SOMEBODY), id="word-2"
)


class Bench:
    """An intake whose broker says that it took everything, and loses it."""

    def __init__(self, folder: Path) -> None:
        self.said: list[Event[EventData]] = []
        self.store = Store(folder / "x.sqlite", (outbox_state.SCHEMA, SCHEMA, pending_requests.SCHEMA))
        self.outbox = Outbox(self.store, self._publish)
        self.table = PendingRequests(self.store, self.outbox, patience_s=0.0, kept_s=3600)
        self.intake = CommandPublisher(
            self.store,
            self.outbox,
            self.table,
            Signer("memory://"),
            None,  # type: ignore[arg-type] # nothing is shown
        )
        self.outbox.start()

    def _publish(self, event: EncodedEvent) -> "Future[None]":
        self.said.append(decode(event.body))
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def again(self) -> list[str]:
        """Look once for what is due; return the ids of all that was said so far."""
        eventually(lambda: self.outbox.waiting() == 0)
        self.table.repeat_due()
        eventually(lambda: self.outbox.waiting() == 0)
        return [event.id for event in self.said]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give an intake without patience."""
    made = Bench(tmp_path)
    yield made
    made.outbox.stop()
    made.store.close()


@pytest.mark.fault("F23")
@pytest.mark.parametrize("word", [WORD, ABOUT], ids=["dataset", "investigation"])
def test_a_word_that_nobody_ever_heard_is_said_again(bench: Bench, word: Event[EventData]) -> None:
    """With its first id, until the answer comes; also the view of this gateway did not hear of it."""
    bench.intake.publish_event(word)
    assert bench.again() == [word.id] * 2
    answer: EventData = InvestigationAnnotated(investigation="1", word=word.id, said=word.time)
    if isinstance(word.data, DatasetDescribed):
        answer = DatasetAnnotated(upload_id=builders.UPLOAD, dataset_id="1", word=word.id, said=word.time)
    bench.table.note_answer(builders.event(answer), live=True)
    assert bench.again() == [word.id] * 2


def test_the_end_of_an_upload_is_not_the_end_of_what_was_said_of_it(bench: Bench) -> None:
    """A description is told after the dataset is complete as well."""
    end = DatasetCompleted(upload_id=builders.UPLOAD, dataset_id="1", files=0, bytes=0, manifest_sha256="0" * 64)
    bench.table.note_answer(builders.event(end), live=True)
    bench.intake.publish_event(WORD)
    bench.table.note_answer(builders.event(end), live=True)
    assert bench.again() == ["word-1"] * 2


@pytest.mark.fault("F26")
def test_an_answer_to_an_earlier_word_does_not_end_a_later_one(bench: Bench) -> None:
    """And an earlier word that is heard late is not said instead of the later one."""
    later = Event(WORD.data, WORD.station, "gateway", id="word-9", time=WORD.time + timedelta(seconds=1))
    bench.intake.publish_event(later)
    bench.table.note_answer(WORD, live=True)
    early = DatasetAnnotated(upload_id=builders.UPLOAD, dataset_id="1", word=WORD.id, said=WORD.time)
    bench.table.note_answer(builders.event(early), live=True)
    assert bench.again() == ["word-9"] * 2
