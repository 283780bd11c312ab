"""While more files of an upload are to come, those that come after others are registered together."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import pytest

from datauploader.contracts import EventData, Person
from datauploader.contracts.envelope import EncodedEvent
from datauploader.messaging import Dispatcher
from datauploader.messaging.port import Delivery
from datauploader.plugins.catalogue.port import CatalogueInvestigation, CatalogueUser, Datafile
from datauploader.reliability import Outbox, Store, inbox, outbox
from datauploader_catalog import claims, description_queue, handlers, proposals, schema
from datauploader_catalog.adapters.memory import MemoryCatalogue
from datauploader_catalog.objections import GracePeriod
from datauploader_catalog.persons import RequesterCheck
from datauploader_catalog.worker import CatalogWorker
from datauploader_testing.builders import event, file_stored, file_version, upload_requested, upload_sealed
from datauploader_testing.waiting import eventually

SCHEMAS = [inbox.SCHEMA, outbox.SCHEMA, schema.SCHEMA, description_queue.SCHEMA, claims.SCHEMA, proposals.SCHEMA]
ANYBODY = Person(id="rule:all", name="a")


class Requests(MemoryCatalogue):
    """A catalogue that remembers what it was told together."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[set[str]] = []
        self.seed("session", CatalogueUser("1", "a"), [CatalogueInvestigation("20250001", "20250001", "1", "t", "/e")])

    def register_datafiles(self, dataset_id: str, datafiles: Sequence[Datafile]) -> None:
        """Register them."""
        super().register_datafiles(dataset_id, datafiles)
        self.told.append({one.path for one in datafiles})


class World:
    """Handlers and workers of a catalog that gathers files for as long as more of them are to come."""

    def __init__(self) -> None:
        self.catalogue, store = Requests(), Store(None, SCHEMAS)
        store.mark_recovered()
        box = Outbox(store, _publish)
        self.worker = CatalogWorker(
            store, box, self.catalogue, RequesterCheck((), {"*": "1"}), audit=False, grace=GracePeriod(60),
            gathering_s=1e6,
        )  # fmt: skip
        self._dispatcher = Dispatcher(store, box, "catalog")
        handlers.register(self._dispatcher)
        self._dispatcher.after_commit(self.worker.wake)
        self.worker.start()

    def hear(self, data: EventData) -> None:
        """Hear an event."""
        self._dispatcher(Delivery(event(data), 1))


def _publish(_event: EncodedEvent) -> "Future[None]":
    return Future()


@pytest.fixture
def world() -> Iterator[World]:
    """A catalog at work."""
    made = World()
    yield made
    made.worker.stop(30)


def test_files_that_follow_others_wait_for_more_and_the_last_ones_for_nothing(world: World) -> None:
    """The first file is registered at once; with the seal all are there, and the rest goes in one request."""
    files = [file_version(f"{name}.h5") for name in "abcd"]
    world.hear(upload_requested(requested_by=ANYBODY))
    world.hear(file_stored(files[0]))
    eventually(lambda: world.catalogue.told, what="the first file is registered")
    for file in files[1:]:
        world.hear(file_stored(file))
    world.hear(upload_requested("another-0001", dataset="scan2", requested_by=ANYBODY))
    world.hear(file_stored(file_version("another.h5"), upload_id="another-0001"))
    eventually(
        lambda: {"another.h5"} in world.catalogue.told, what="another upload's first file is registered after that"
    )
    world.hear(upload_sealed(files))
    eventually(lambda: len(world.catalogue.told) > 2, what="the others are registered")
    assert world.catalogue.told == [{"a.h5"}, {"another.h5"}, {"b.h5", "c.h5", "d.h5"}]
