"""Stations in REST: what runs on them, and how it is."""

from datauploader.contracts.rest.model import Needed, RestModel
from datauploader.contracts.stations import Disk, MoverElsewhere, Root, Storage


class ServiceReport(RestModel):
    """What one service of a station last said about itself."""

    service: Needed[str]
    state: Needed[str]
    version: str
    host: str
    others: tuple[str, ...] = ()
    """Other computers that have said of late that they are this service of this station."""
    time: str
    age_s: float
    silent: bool
    troubles: tuple[str, ...]
    roots: tuple[Root, ...]
    state_disk: Disk | None
    storages: tuple[Storage, ...] = ()
    """The storages that this service moves files to, and what is wrong with each."""
    movers: tuple[MoverElsewhere, ...] = ()
    """Processes that move files in its place; the seconds since their last word are those of the report's time."""
    backlog_files: int
    backlog_bytes: int
    oldest_pending_s: float
    uploads_open: int
    scanned_entries: int
    overflows: int
    interval_s: float


class StationStatus(RestModel):
    """A station as far as it has been heard of; silent when its watcher has missed three reports.

    A station that is not configured, and has no watcher, is judged by all of its services but the catalog and the
    gateway, which report under the name of their server. `last_report` is by those that it is judged by.
    """

    station: Needed[str]
    silent: Needed[bool]
    last_report: str | None
    services: tuple[ServiceReport, ...]
    has_watcher: bool = True
    """Whether files can be uploaded from here: it is configured, or its watcher has been heard. Elsewhere nobody
    knows folders."""


class Stations(RestModel):
    """All stations that are configured or have reported."""

    items: Needed[list[StationStatus]]
