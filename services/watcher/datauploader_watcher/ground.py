"""What all parts of the watcher stand on."""

from dataclasses import dataclass

from datauploader.contracts.address import Station
from datauploader.messaging.claim import Claim
from datauploader.state import Outbox, Store
from datauploader_watcher.adapters.disk import Disks
from datauploader_watcher.clock import Clock
from datauploader_watcher.opening import Opening
from datauploader_watcher.settings import WatcherSettings


@dataclass(frozen=True, slots=True)
class Ground:
    """The station's state, its settings, its time and its disks."""

    here: Station
    store: Store
    outbox: Outbox
    settings: WatcherSettings
    opening: Opening
    clock: Clock
    disks: Disks
    claim: Claim
