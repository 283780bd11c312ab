"""What a station says about itself, so that silence can be told from idleness."""

from typing import ClassVar, Literal

from pydantic import Field

from datauploader.contracts.model import EventData, WireModel


class Root(WireModel):
    """A folder that the station allows uploads from."""

    path: str
    present: bool
    free_bytes: int | None = None
    total_bytes: int | None = Field(default=None, ge=0)


class Disk(WireModel):
    """Room on the disk that holds something."""

    free_bytes: int = Field(ge=0)
    total_bytes: int = Field(ge=0)


class Storage(WireModel):
    """A storage as the service that moves files to it has last found it."""

    remote: str
    """Its name in the configuration."""
    trouble: str = ""
    """A sentence: why it takes no files; "" when it does, or when nothing was to be moved."""


class MoverElsewhere(WireModel):
    """A process that moves files in place of transfer, as transfer knows it."""

    name: str
    """The same for as long as it runs."""
    host: str = ""
    """Its computer."""
    files: int = Field(default=0, ge=0)
    """Files that it has been lent and has not said to have ended."""
    bytes: int = Field(default=0, ge=0)
    heard_s: float = Field(default=0, ge=0)
    """Seconds since its last word."""
    gone: bool = False
    """It has said nothing for so long that others move what it was lent."""
    trouble: str = ""
    """A sentence: why it moves nothing, or what went wrong, and what to do."""


class StationReported(EventData):
    """One service of the station is alive, and this is how it is."""

    name: ClassVar[str] = "station.reported"
    said_again: ClassVar[bool] = True

    upload_id: str = ""
    service: str
    version: str
    host: str
    state: Literal["starting", "ok", "degraded", "stopping"]
    troubles: tuple[str, ...] = ()
    """Sentences: what is wrong and what to do."""
    roots: tuple[Root, ...] = ()
    state_disk: Disk | None = None
    """The disk of the service's own state; None where it is not known."""
    backlog_files: int = Field(default=0, ge=0)
    """File versions whose receipts are still missing."""
    backlog_bytes: int = Field(default=0, ge=0)
    oldest_pending_s: float = Field(default=0, ge=0)
    uploads_open: int = Field(default=0, ge=0)
    scanned_entries: int = Field(default=0, ge=0)
    """Directory entries looked at since the start."""
    overflows: int = Field(default=0, ge=0)
    """How often the operating system lost file-system events."""
    storages: tuple[Storage, ...] = ()
    """The storages that the service moves files to."""
    movers: tuple[MoverElsewhere, ...] = ()
    """Processes that move files in place of the service, those included that it has not heard of for a while."""
    forgetful: bool = False
    """The service has lost its state, or never had any: whoever asked something of it must say so again."""
    interval_s: float = Field(gt=0)
    """When the next report is due; a station that is silent for three intervals is away."""
