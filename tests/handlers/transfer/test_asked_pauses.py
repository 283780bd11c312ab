"""A storage that asks for a pause gets it from the moment on at which it is known, whatever was taken meanwhile."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datauploader.contracts import Station
from datauploader.contracts.model import Question
from datauploader.contracts.questions import Datafiles
from datauploader_testing.waiting import eventually
from datauploader_transfer.domain import outcomes
from datauploader_transfer.ledger import InterruptedWrites
from datauploader_transfer.memory_mover import MemoryMover, MemoryStorage
from datauploader_transfer.ports import Item, Outcome, Whose

from .test_transfer_service import World

REFUSAL = "429 Too Many Requests"


class BusyMover(MemoryMover):
    """A mover whose storage `store` asks for an hour, and tells of an object that somebody else has put there."""

    def __init__(self, storages: dict[str, MemoryStorage], gate: threading.Event) -> None:
        super().__init__(storages)
        self.given: list[str] = []
        self.swept = threading.Event()
        self._gate = gate

    def move(self, remote: str, items: Sequence[Item], **more: Any) -> list[Outcome]:
        """Refuse everything for `store`: the first as a conflict, so that the catalog is asked."""
        if remote != "store":
            return super().move(remote, items, **more)
        self.given += [item.target for item in items]
        refused = [replace(outcomes.failed(item, REFUSAL), whose=Whose.REMOTE, retry_after_s=3600) for item in items]
        return [outcomes.conflict(items[0], found="0" * 64), *refused[1:]]

    def sweep_leftovers(self, remote: str, targets: Mapping[str, frozenset[str]]) -> None:
        """Take as long as the test wants."""
        self.swept.set()
        self._gate.wait(30)


class BusyWorld(World):
    """A transfer with such a mover, and a catalog that answers when the test says so."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.gate, self.catalog_asked = threading.Event(), threading.Event()
        self.other = MemoryStorage()
        super().__init__(folder, **settings)

    def start(self) -> None:
        """Start the service, and give it the mover."""
        super().start()
        self.busy = BusyMover({"store": self.storage, "other": self.other}, self.gate)
        self.service._worker._batches._mover = self.busy

    def _datafiles(self, question: Question, station: Station) -> Datafiles:
        self.catalog_asked.set()
        self.gate.wait(30)
        return super()._datafiles(question, station)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BusyWorld]:
    """A transfer with two movers."""
    made = BusyWorld(tmp_path, movers=2)
    yield made
    made.gate.set()
    made.stop()
    made.outside.close()


@pytest.mark.fault("F32")
def test_nothing_is_begun_between_the_answer_of_a_storage_and_the_end_of_its_batch(world: BusyWorld) -> None:
    """While the catalog is asked about one file of the batch, another mover is free, and leaves the storage alone."""
    world.announce(world.write("a", b"data"), world.write("b", b"data"))
    assert world.catalog_asked.wait(30)
    assert "429" in world.service._worker.breaker.problem("store"), "the pause is known"
    first = list(world.busy.given)
    world.announce(world.write("c", b"data"))
    world.announce(world.write("d", b"data"), remote="other", upload_id="upload-0002")
    world.stored(1)
    assert len(first) == 2
    assert world.busy.given == first


@pytest.mark.fault("F32")
def test_a_batch_that_was_taken_before_the_storage_asked_for_a_pause_waits(world: BusyWorld) -> None:
    """It is held up by what a former attempt has left; meanwhile another batch hears of the pause."""
    with world.service._store.transaction() as db:
        InterruptedWrites(db).note_cut("store", ["20260101/run1/left"])
    world.announce(world.write("a", b"data"))
    assert world.busy.swept.wait(30)
    breaker = world.service._worker.breaker
    breaker.note_failure("store", REFUSAL, time.time(), retry_after_s=3600)
    world.gate.set()
    eventually(lambda: not world.service._worker.moving(), what="the batch is put back")
    assert world.busy.given == []
    breaker.close_circuit("store")
    world.service._worker.wake()
    eventually(lambda: world.busy.given, what="it is moved after the pause")
