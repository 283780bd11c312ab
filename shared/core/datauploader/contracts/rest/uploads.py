"""Uploads in REST: what was asked for, how far it is, what is wrong."""

from typing import Literal

from pydantic import Field

from datauploader.contracts.rest.audits import Audit
from datauploader.contracts.rest.model import Needed, RestModel
from datauploader.contracts.transfers import MovingFile
from datauploader.contracts.uploads import Person, RestlessFile

UploadState = Literal["requested", "open", "sealed", "completed", "cancelled", "rejected", "refused"]


class Amount(RestModel):
    """So many files with so many bytes."""

    files: int = 0
    bytes: int = 0


class Counts(RestModel):
    """How many files have come how far; cumulative, of the newest version of each file."""

    found: Amount = Amount()
    """What the station counts, finished or not."""
    ready: Amount = Amount()
    stored: Amount = Amount()
    verified: Amount = Amount()
    unverified: Amount = Amount()
    catalogued: Amount = Amount()
    failed: Amount = Amount()
    retrying: Amount = Amount()
    released: Amount = Amount()
    """Their local copies were removed on request."""
    metadata_lacks: Amount = Field(
        default=Amount(), description="Files whose metadata were not read, or are not taken by the catalogue."
    )
    metadata_unread: Amount = Field(
        default=Amount(), description="Files that a harvester could not read, or not wholly."
    )
    harvested: Amount = Field(default=Amount(), description="Files that a harvester could read.")


class Later(RestModel):
    """What came or changed in the folder after the dataset was complete."""

    files: int
    bytes: int
    first: tuple[str, ...] = Field(description="Some of them.")
    at: str = Field(description="When the station looked.")


class Upload(RestModel):
    """One upload: what was asked for, how far it is, what is wrong."""

    id: Needed[str]
    state: Needed[UploadState]
    over: bool = Field(description="Nothing more will happen.")
    needs_person: bool = Field(description="It waits until a person does something.")
    paused: bool
    closing: bool = Field(description="Somebody has asked to close it; no new files are taken up.")
    mode: Needed[Literal["sync", "batch"]]
    investigation: Needed[str]
    dataset: Needed[str]
    dataset_id: str = ""
    dataset_url: str = ""
    doi: str = ""
    station: Needed[str]
    path: str
    sources: tuple[str, ...]
    remote: str
    location: str
    requested_by: Person
    created: Needed[str]
    updated: str
    sealed: str | None = None
    ended: str | None = None
    counts: Counts
    left_out: int = 0
    settling: int = Field(default=0, description="Files still being written or hashed.")
    restless: tuple[RestlessFile, ...] = Field(
        default=(),
        description="Files that keep the closed upload from being sealed, because a program is still writing them.",
    )
    looked: bool = Field(default=True, description="The station has looked at everything once since it was started.")
    station_silent_since: str | None = Field(
        default=None,
        description="Its watcher has not reported since; what was written later is not known. Null: it reports.",
    )
    waiting: int = Field(default=0, description="File versions that wait for their turn.")
    speed: float = Field(default=0, description="Bytes per second; 0 where none was reported recently.")
    seconds_left: float | None = None
    moving: tuple[MovingFile, ...] = ()
    manifest_sha256: str = ""
    audited: Audit | None = Field(default=None, description="The latest comparison of the storage with the manifest.")
    auditing: bool = Field(default=False, description="The storage is being compared with the manifest.")
    delayed: bool = Field(default=False, description="The catalogue has not accepted this upload for a while.")
    troubles: tuple[str, ...] = ()
    notes: tuple[str, ...] = Field(default=(), description="What belongs to the record: no trouble, but to be known.")
    later: Later | None = Field(default=None, description="Null: nothing, or not checked yet.")


class Uploads(RestModel):
    """A page of uploads, newest first."""

    items: Needed[list[Upload]]
    next: str | None
