"""Recovery of ownership from the event log, which a lost state file alone knew: whose versions were written where.

Where the broker does not let us read it, the catalog is asked before an object is taken for somebody else's.
"""

from collections.abc import Callable, Collection
from functools import partial

import structlog

from datauploader.contracts import FileReady, Station
from datauploader.contracts.names import escape
from datauploader.errors import BrokerRefused
from datauploader.messaging.catch_up import CatchUp
from datauploader.messaging.port import Bus, Delivery
from datauploader.reliability import Store
from datauploader.reliability.worker import WorkerThread
from datauploader_transfer.ledger import object_path
from datauploader_transfer.owners import ObjectOwners

log = structlog.get_logger()

LOOK_S = 0.1


class _OwnershipReader:
    """Reads ownership from what was announced."""

    def __init__(self, store: Store, stations: Collection[Station]) -> None:
        self._store, self._stations = store, stations

    def take(self, delivery: Delivery) -> None:
        event = delivery.event
        if isinstance(event.data, FileReady) and event.station in self._stations:
            destination = event.data.destination
            versions = [
                (object_path(destination.location, escape(file.raw)), file.digests.values())
                for file in event.data.files
            ]
            with self._store.transaction() as db:
                owners = ObjectOwners(db)
                owners.note_continued(event.data.upload_id, event.data.continues)
                owners.restore_versions(destination.remote, event.data.upload_id, versions)


def recover_ownership(store: Store, bus: Bus, stations: Collection[Station], then: Callable[[], None]) -> None:
    """Read the log in the background, as far as the broker lets us, and go on with `then`."""
    reader = _OwnershipReader(store, stations)
    WorkerThread(partial(_read, store, bus, reader, then), name="recall").start()


def _read(store: Store, bus: Bus, reader: _OwnershipReader, then: Callable[[], None]) -> None:
    reading = CatchUp(bus, reader.take)
    while not reading.done.wait(LOOK_S):
        if isinstance(trouble := reading.problem, BrokerRefused):
            log.warning("event_log_read_failed", problem=str(trouble), effect="the catalog is asked instead")
            break
    reading.stop(2.0)
    store.mark_recovered()
    then()
