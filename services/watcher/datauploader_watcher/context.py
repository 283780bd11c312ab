"""The watcher's context: what all its parts share."""

from dataclasses import dataclass

from datauploader.contracts.address import Station
from datauploader.messaging.claim import StationClaim
from datauploader.reliability import Outbox, Store
from datauploader_watcher.adapters.disk import OpenDisk
from datauploader_watcher.clock import Clock
from datauploader_watcher.settings import WatcherSettings
from datauploader_watcher.uploads.admission import UploadAdmission


@dataclass(frozen=True, slots=True)
class WatcherContext:
    """Context that is handed to every part: the station's state, its settings, its time and its disks."""

    here: Station
    store: Store
    outbox: Outbox
    settings: WatcherSettings
    admission: UploadAdmission
    clock: Clock
    disks: OpenDisk
    claim: StationClaim
